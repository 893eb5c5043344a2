package module

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"
)

// Bounds of the modules in memory, in bytes: the size of one, and of all
// together.
const (
	smallModule = 256 << 10
	smallInAll  = 8 << 20
)

// Small returns the content of a small module from memory. It returns nil if
// the module is not small, or doesn't exist. When a fleet fetches a small
// module, opening and closing its file each time is most of the work. The
// content matches the hash, even if the file has changed.
func (s *Store) Small(sum string) []byte {
	content, may := s.inMemory(sum)
	if content != nil || !may {
		return content
	}
	s.filling.Lock()
	defer s.filling.Unlock()
	if content, _ = s.inMemory(sum); content != nil {
		return content // read by another call meanwhile
	}
	f, info, err := s.Open(sum)
	if err != nil {
		return nil // opening it returns the same error
	}
	defer f.Close()
	if info.Size > smallModule {
		return nil
	}
	content, err = io.ReadAll(io.LimitReader(f, smallModule+1))
	if hash := sha256.Sum256(content); err != nil || hex.EncodeToString(hash[:]) != sum {
		return nil
	}
	s.remember(sum, content)
	return content
}

// inMemory returns the content if it is in memory, which counts as a use. It
// returns may if the module may be small, as far as is known.
func (s *Store) inMemory(sum string) (content []byte, may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, known := s.verified[sum]
	if v.content != nil {
		v.used = time.Now()
		s.verified[sum] = v
	}
	return v.content, known && v.info.Size <= smallModule
}

// remember stores the content of a module in memory, and evicts the least
// recently used.
func (s *Store) remember(sum string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, there := s.verified[sum]
	if !there {
		return // removed meanwhile
	}
	for s.remembered()+len(content) > smallInAll {
		s.dropOldest()
	}
	v.content = content
	s.verified[sum] = v
}

// remembered returns the number of bytes in memory. The caller must hold s.mu.
func (s *Store) remembered() int {
	size := 0
	for _, v := range s.verified {
		size += len(v.content)
	}
	return size
}

// dropOldest evicts the least recently used content. The caller must hold s.mu.
func (s *Store) dropOldest() {
	oldest := ""
	for sum, v := range s.verified {
		if v.content != nil && (oldest == "" || v.used.Before(s.verified[oldest].used)) {
			oldest = sum
		}
	}
	v := s.verified[oldest]
	v.content = nil
	s.verified[oldest] = v
}
