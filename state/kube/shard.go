package kube

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/state"
	"wasmxds/state/packed"
)

const (
	// maxSecret is the most data of a Secret, in bytes. The limit of Kubernetes is 1 MiB.
	maxSecret = 1<<20 - 1<<10
	// maxEntry is the most data of one entry, which may be a shard by itself.
	maxEntry = maxSecret - 64
	// shardBytes is the most data of a shard with more than one entry.
	shardBytes = 256 << 10
)

// record is an entry in a shard, with its packed value.
type record struct {
	key   string
	value []byte
	at    state.Revision // 0: it does not exist
}

func (r record) entry() (state.Entry, error) {
	value, err := packed.Unpack(bytes.Clone(r.value)) // records are shared
	return state.Entry{Key: r.key, Value: value, Revision: r.at}, err
}

// find returns the record of a key, or state.ErrNotFound.
func (s *Store) find(ctx context.Context, h *head, key string) (record, error) {
	if op, at, ok := h.newest(key); ok {
		if op.Remove {
			return record{}, state.ErrNotFound
		}
		return record{key, op.Value, at}, nil
	}
	i := h.shardOf(key)
	if i < 0 {
		return record{}, state.ErrNotFound
	}
	all, err := s.readShard(ctx, h.Shards[i].Name)
	if err != nil {
		return record{}, err
	}
	if i, ok := slices.BinarySearchFunc(all, key, func(r record, key string) int { return cmp.Compare(r.key, key) }); ok {
		return all[i], nil
	}
	return record{}, state.ErrNotFound
}

// below returns the records under a prefix, by key.
func (s *Store) below(ctx context.Context, h *head, prefix string) ([]record, error) {
	var all []record
	for i := max(h.shardOf(prefix), 0); i < len(h.Shards); i++ {
		if from := string(h.Shards[i].From); from > prefix && !strings.HasPrefix(from, prefix) {
			break
		}
		some, err := s.readShard(ctx, h.Shards[i].Name)
		if err != nil {
			return nil, err
		}
		for _, r := range some {
			if strings.HasPrefix(r.key, prefix) {
				all = append(all, r)
			}
		}
	}
	return with(all, h.pending(), func(key string) bool { return strings.HasPrefix(key, prefix) }), nil
}

// with returns records after batches are applied, limited to keys that count.
func with(all []record, batches []batch, counts func(key string) bool) []record {
	newer := map[string]record{}
	for _, b := range batches {
		for _, op := range b.ops {
			switch {
			case !counts(op.Key):
			case op.Remove:
				newer[op.Key] = record{key: op.Key}
			default:
				newer[op.Key] = record{op.Key, op.Value, b.at}
			}
		}
	}
	if len(newer) == 0 {
		return all
	}
	all = slices.DeleteFunc(slices.Clone(all), func(r record) bool { _, is := newer[r.key]; return is })
	for _, r := range newer {
		if r.at > 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return all
}

// shardsWith writes new shards in place of those that batches change. It returns all
// shards, the names of the new ones, and the names of those that they replace.
func (s *Store) shardsWith(ctx context.Context, h *head, batches []batch) (all []shard, made, replaced []string, err error) {
	touched := h.touched(batches)
	for i := 0; i < max(len(h.Shards), 1); {
		if i < len(h.Shards) && !touched[i] {
			all = append(all, h.Shards[i])
			i++
			continue
		}
		var found []record
		end := i
		for ; end < len(h.Shards) && touched[end]; end++ {
			some, err := s.readShard(ctx, h.Shards[end].Name)
			if err != nil {
				return nil, made, nil, err
			}
			found = append(found, some...)
			replaced = append(replaced, h.Shards[end].Name)
		}
		end = max(end, i+1)
		found = with(found, batches, func(key string) bool { at := max(h.shardOf(key), 0); return i <= at && at < end })
		for _, part := range split(found) {
			sh, err := s.writeShard(ctx, part)
			if err != nil {
				return nil, made, nil, err
			}
			made = append(made, sh.Name)
			all = append(all, sh)
		}
		i = end
	}
	return all, made, replaced, nil
}

// touched returns the indexes of the shards to be rewritten: those that batches change, and
// small neighbours of small ones.
func (h *head) touched(batches []batch) map[int]bool {
	touched := map[int]bool{}
	for _, b := range batches {
		for _, op := range b.ops {
			touched[max(h.shardOf(op.Key), 0)] = true
		}
	}
	for _, i := range slices.Sorted(maps.Keys(touched)) {
		for _, beside := range []int{i - 1, i + 1} {
			if i < len(h.Shards) && beside >= 0 && beside < len(h.Shards) && h.Shards[i].Bytes+h.Shards[beside].Bytes < shardBytes/2 {
				touched[beside] = true
			}
		}
	}
	return touched
}

// split splits records into shards.
func split(all []record) [][]record {
	var parts [][]record
	first, size := 0, 0
	for i, r := range all {
		more := entrySize(r.key, r.value)
		if i > first && size+more > shardBytes {
			parts, first, size = append(parts, all[first:i]), i, 0
		}
		size += more
	}
	if first < len(all) {
		parts = append(parts, all[first:])
	}
	return parts
}

func appendRecords(b []byte, all []record) []byte {
	for _, r := range all {
		b = binary.AppendUvarint(b, uint64(r.at))
		b = packed.AppendBytes(packed.AppendBytes(b, []byte(r.key)), r.value)
	}
	return b
}

var errNoShard = errors.New("it is not a shard of the state, or it is damaged")

func records(b []byte) ([]record, error) {
	var all []record
	for len(b) > 0 {
		at, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errNoShard
		}
		key, rest, ok := packed.CutBytes(b[size:])
		if !ok {
			return nil, errNoShard
		}
		value, rest, ok := packed.CutBytes(rest)
		if !ok || at == 0 {
			return nil, errNoShard
		}
		all = append(all, record{string(key), value, state.Revision(at)})
		b = rest
	}
	if !slices.IsSortedFunc(all, func(a, b record) int { return cmp.Compare(a.key, b.key) }) {
		return nil, fmt.Errorf("%w: it is not in order", errNoShard)
	}
	return all, nil
}
