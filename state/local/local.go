// Package local implements state.Store in one file on this machine, for the one process
// that has the file open.
//
// The file is a bbolt database: each write is a transaction that is either on disk or has
// not happened, even if the process is killed or the disk is full. A damaged file is set
// aside and replaced by an empty one. Envoys keep what they run, and the lost state is
// rediscovered.
package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"wasmxds/state"
)

// Store implements state.Store. See Open.
type Store struct {
	db *bolt.DB

	mu      sync.Mutex
	history []state.Event  // newest last
	bytes   int            // of the values in history
	first   state.Revision // history has all events after this revision
	watched chan struct{}  // closed and replaced with each write
	leads   map[string]*term
}

var (
	entries = []byte("entries") // key → revision, 8 bytes big endian, and value
	terms   = []byte("terms")   // name → number of the newest term
)

// Limits of the history that Watch reads.
const (
	kept      = 4096    // events
	keptBytes = 1 << 20 // total size of their values
)

// Open opens the file at path, or creates it. Only one process may have it open. The caller
// must call Close.
func Open(path string, log *slog.Logger) (*Store, error) {
	db, err := open(path)
	if errors.Is(err, errDamaged) {
		aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405"))
		log.Error("the state file is damaged: renamed it and starting with an empty state", "file", path, "now", aside, "error", err)
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("set a damaged state file aside: %w", err)
		}
		db, err = open(path)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, watched: make(chan struct{}), leads: map[string]*term{}}
	err = db.View(func(tx *bolt.Tx) error {
		s.first = state.Revision(tx.Bucket(entries).Sequence())
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// errDamaged means that a file is damaged or is not a state file.
var errDamaged = errors.New("not a whole state file")

func open(path string) (*bolt.DB, error) {
	if err := readAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := furnish(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

// furnish creates the buckets that are missing. If none is, it writes nothing, because the
// disk may be full.
func furnish(db *bolt.DB) error {
	whole := false
	err := db.View(func(tx *bolt.Tx) error {
		whole = tx.Bucket(entries) != nil && tx.Bucket(terms) != nil
		return nil
	})
	if err != nil || whole {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{entries, terms} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close waits for writes in progress and closes the file.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the state file: %w", err)
	}
	return nil
}

// Get implements state.Store.
func (s *Store) Get(_ context.Context, key string) (e state.Entry, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(entries).Get([]byte(key))
		if b == nil {
			return state.ErrNotFound
		}
		var whole bool
		if e, whole = decode(key, b); !whole {
			return state.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return state.Entry{}, fmt.Errorf("get %s: %w", key, err)
	}
	return e, nil
}

// List implements state.Store.
func (s *Store) List(_ context.Context, prefix string) (out []state.Entry, at state.Revision, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		at = state.Revision(tx.Bucket(entries).Sequence())
		c := tx.Bucket(entries).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			if e, whole := decode(string(k), v); whole {
				out = append(out, e)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	return out, at, nil
}

// Put implements state.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, was state.Revision) (state.Revision, error) {
	return s.swap(ctx, state.Op{Key: key, Value: value}, was, nil)
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string, was state.Revision) error {
	_, err := s.swap(ctx, state.Op{Key: key, Remove: true}, was, nil)
	return err
}

// swap applies op if its entry is at revision was.
func (s *Store) swap(ctx context.Context, op state.Op, was state.Revision, in *term) (state.Revision, error) {
	at, err := s.write(ctx, []state.Op{op}, &was, in)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	return at, nil
}

// Apply implements state.Store.
func (s *Store) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	return s.apply(ctx, ops, nil)
}

func (s *Store) apply(ctx context.Context, ops []state.Op, in *term) (state.Revision, error) {
	at, err := s.write(ctx, ops, nil, in)
	if err != nil {
		return 0, fmt.Errorf("write %d entries: %w", len(ops), err)
	}
	return at, nil
}

// write applies all ops in one transaction and returns the revision of the store after it.
// If was is not nil, each entry must be at that revision; if in is not nil, that term must
// not be over.
func (s *Store) write(ctx context.Context, ops []state.Op, was *state.Revision, in *term) (state.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var done []state.Event
	var at state.Revision
	s.mu.Lock() // so that events are in the order of their revisions
	defer s.mu.Unlock()
	if in != nil && s.leads[in.name] != in {
		return 0, state.ErrDeposed
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		done = done[:0]
		b := tx.Bucket(entries)
		for _, op := range ops {
			key := []byte(op.Key)
			old := b.Get(key)
			if was != nil && revision(old) != *was {
				return state.ErrConflict
			}
			if op.Remove && old == nil {
				continue
			}
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			e := state.Event{Entry: state.Entry{Key: op.Key, Value: op.Value, Revision: state.Revision(n)}, Gone: op.Remove}
			if op.Remove {
				err = b.Delete(key)
			} else {
				err = b.Put(key, encode(e.Revision, op.Key, op.Value))
			}
			if err != nil {
				return err
			}
			done = append(done, e)
		}
		at = state.Revision(b.Sequence())
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.remember(done)
	return at, nil
}

// remember adds the events of one batch to the history. The caller holds s.mu.
func (s *Store) remember(events []state.Event) {
	for i := range len(events) - 1 {
		events[i].More = true
	}
	s.history = append(s.history, events...)
	for _, e := range events {
		s.bytes += len(e.Value)
	}
	over := 0
	for ; len(s.history)-over > kept || s.bytes > keptBytes; over++ {
		s.bytes -= len(s.history[over].Value)
		s.first = s.history[over].Revision
	}
	if over > 0 {
		s.history = append([]state.Event(nil), s.history[over:]...)
	}
	close(s.watched)
	s.watched = make(chan struct{})
}

// Watch implements state.Store.
func (s *Store) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		for {
			s.mu.Lock()
			compacted, more := from < s.first, s.watched
			var events []state.Event
			if !compacted && len(s.history) > 0 {
				from, events = s.history[len(s.history)-1].Revision, s.since(prefix, from)
			}
			s.mu.Unlock()
			if compacted {
				yield(state.Event{}, fmt.Errorf("watch %s from revision %d: %w", prefix, from, state.ErrCompacted))
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// since returns the events under prefix after a revision. The caller holds s.mu.
func (s *Store) since(prefix string, from state.Revision) []state.Event {
	var events []state.Event
	same := false // batch as the previous event, whatever its key
	for _, e := range s.history {
		if e.Revision > from && strings.HasPrefix(e.Key, prefix) {
			if n := len(events); n > 0 {
				events[n-1].More = same
			}
			events = append(events, e)
			same = true
		}
		same = same && e.More
	}
	if n := len(events); n > 0 {
		events[n-1].More = false
	}
	return events
}

// A stored entry is its revision and a checksum of key and value, both big endian, and then
// the value. bbolt has no checksums of its own; an entry that a bad disk has changed is
// treated as missing.
const header = 8 + 4

func revision(b []byte) state.Revision {
	if len(b) < header {
		return 0
	}
	return state.Revision(binary.BigEndian.Uint64(b))
}

func encode(r state.Revision, key string, value []byte) []byte {
	b := make([]byte, 0, header+len(value))
	b = binary.BigEndian.AppendUint64(b, uint64(r))
	b = binary.BigEndian.AppendUint32(b, checksum(key, value))
	return append(b, value...)
}

// decode copies the value, because bbolt's memory is valid only within the transaction.
func decode(key string, b []byte) (e state.Entry, whole bool) {
	if len(b) < header || binary.BigEndian.Uint32(b[8:]) != checksum(key, b[header:]) {
		return state.Entry{}, false
	}
	return state.Entry{Key: key, Revision: revision(b), Value: bytes.Clone(b[header:])}, true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}
