package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// readAll reads every page of a file before it is used, so that damage shows now, when the
// file can still be set aside, and not during a write. bbolt maps files into memory and
// panics at a page that makes no sense; reading beyond the end of a truncated file is a
// fault.
func readAll(path string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case info.Size() == 0:
		return nil // the process that created it was killed
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	var sys *fs.PathError
	switch {
	case err == nil:
	case errors.As(err, &sys), errors.Is(err, berrors.ErrTimeout):
		return err
	default:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				_ = checksum(string(k), v) // which touches each of its pages
				return nil
			})
		})
	})
}
