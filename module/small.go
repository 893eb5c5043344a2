package module

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"
)

// What is kept in memory, in bytes: modules of at most the first, the second in all.
const (
	smallModule = 256 << 10
	smallInAll  = 8 << 20
)

// Small gives the content of a module that is small, from memory; nil: it is not,
// or not there. When a fleet fetches one, to open and close its file for each is
// most of the work. The content is what the name says, whatever its file is by now.
func (s *Store) Small(sum string) []byte {
	content, may := s.inMemory(sum)
	if content != nil || !may {
		return content
	}
	s.filling.Lock()
	defer s.filling.Unlock()
	if content, _ = s.inMemory(sum); content != nil {
		return content // read meanwhile
	}
	f, info, err := s.Open(sum)
	if err != nil {
		return nil // as who opens it is told
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

// inMemory gives the content if it is there, which counts as a use; may: it may be
// small, as far as is known.
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

// remember keeps the content of a module in memory, in place of what was used
// longest ago.
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

// remembered is how many bytes are in memory. The caller holds s.mu.
func (s *Store) remembered() int {
	size := 0
	for _, v := range s.verified {
		size += len(v.content)
	}
	return size
}

// dropOldest forgets the content that was used longest ago. The caller holds s.mu.
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
