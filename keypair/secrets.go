package keypair

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"wasmxds/definition"
)

// followed is a Secret that is followed.
type followed struct {
	end  context.CancelFunc
	told bool
	data map[string][]byte
	err  error // why there is no data
}

// follow follows the Secrets that are needed until ctx ends, and calls tell on
// changes. The passing of time also causes changes, when certificates expire.
func (s *Store) follow(ctx context.Context, tell func()) {
	var all sync.WaitGroup
	defer all.Wait()
	again(ctx, s.fresh, func() time.Duration {
		s.mu.Lock()
		needed := map[string]bool{}
		for t := range s.known {
			for _, name := range []string{t.Secret, t.ClientSecret} {
				if name != "" {
					needed[name] = true
				}
			}
		}
		for name, f := range s.followed {
			if !needed[name] {
				f.end()
				delete(s.followed, name)
			}
		}
		for name := range needed {
			if s.followed[name] != nil || s.Follow == nil {
				continue
			}
			ctx, end := context.WithCancel(ctx)
			f := &followed{end: end}
			s.followed[name] = f
			all.Go(func() {
				s.Follow(ctx, name, func(data map[string][]byte, err error) {
					s.mu.Lock()
					f.told, f.data, f.err = true, data, err
					changed := s.takeSecrets()
					s.mu.Unlock()
					if changed {
						tell()
					}
				})
			})
		}
		changed := s.takeSecrets()
		s.mu.Unlock()
		if changed {
			tell()
		}
		return 5 * s.Every
	})
}

// takeSecrets uses the current content of Secrets, and reports whether this
// changes any pair. The Store must be locked.
func (s *Store) takeSecrets() bool {
	changed := false
	for t, k := range s.known {
		if t.Secret == "" {
			continue
		}
		m, known, err := s.secret(t)
		if !known {
			continue
		}
		k.seen = m // a Secret is written atomically
		changed = s.take(t, k, m, err, time.Now()) || changed
	}
	return changed
}

// secret returns the content of Secrets in place of files. It returns false if
// this is not known yet.
func (s *Store) secret(t definition.TLS) (m material, known bool, err error) {
	if s.Follow == nil {
		return m, true, errors.New("secret: there is no Kubernetes cluster to read it from")
	}
	of := s.followed[t.Secret]
	switch {
	case of == nil || !of.told:
		return m, false, nil
	case of.err != nil:
		return m, true, fmt.Errorf("secret: %w", of.err)
	}
	m.cert, m.key = of.data["tls.crt"], of.data["tls.key"]
	if t.ClientSecret == "" {
		return m, true, nil
	}
	switch of = s.followed[t.ClientSecret]; {
	case of == nil || !of.told:
		return material{}, false, nil
	case of.err != nil:
		return material{}, true, fmt.Errorf("clientSecret: %w", of.err)
	}
	m.clientCA = of.data["ca.crt"]
	return m, true, nil
}
