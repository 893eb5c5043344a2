package module

import (
	"context"
	"slices"

	"wasmxds/definition"
)

// regain fetches modules of filters in force that are missing on this disk. The
// definition of such a filter may be gone, except for its URL.
func (l *resolution) regain() {
	begun := map[string]bool{}
	for _, f := range l.InForce {
		m, sum := f.Definition.Module, f.Module.SHA256
		if sum == "" || begun[sum] || m.Fetch == definition.Direct {
			continue
		}
		if _, err := l.Store.Stat(sum); err == nil {
			continue
		}
		begun[sum] = true
		key := originKey{url: m.URL, sha256: sum, pull: m.Pull, secret: m.PullSecret}
		l.group.Go(func() error { l.regainOne(l.ctx, key); return nil })
	}
}

// regainOne retries until the module is present, or no longer needed.
func (l *resolution) regainOne(ctx context.Context, key originKey) {
	failing := l.BackOff()
	for {
		var known knowledge
		err := l.fetch(ctx, key, &known)
		if err == nil || ctx.Err() != nil {
			return
		}
		wait := pause(failing, err)
		l.Logger.Warn("a module that is in force is not on this disk: new Envoys can't have it", "url", key.String(), "sha256", key.sha256, "error", err, "again in", wait)
		if !l.sleep(ctx, wait) || !slices.Contains(l.Needed(), key.sha256) {
			return
		}
	}
}
