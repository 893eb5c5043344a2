package module

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wasmxds/definition"
)

// originKey identifies an origin. Filters with the same key share one.
type originKey struct {
	url    string
	sha256 string // "": any content
	pull   definition.PullPolicy
	secret string
	script bool   // a Lua script, which is not stored as a module
	signed string // required signer, from Signed.String; "": not in the definition
}

func keyOf(f *definition.Filter) originKey {
	return originKey{f.Module.URL, f.Module.SHA256, f.Module.Pull, f.Module.PullSecret, f.Lua != nil, f.Module.Signed.String()}
}

// String returns the origin for messages, without passwords and tokens.
func (k originKey) String() string {
	if file, ok := (definition.Module{URL: k.url}).Path(); ok {
		return file
	}
	return definition.MaskURL(k.url)
}

func (k originKey) scheme() string {
	u, err := url.Parse(k.url)
	if err != nil {
		return ""
	}
	return u.Scheme
}

// settled reports whether content that was fetched once isn't fetched again
// when the program or the definition is loaded: if the definition says so and,
// by default, for tags of images other than latest.
func (k originKey) settled() bool {
	if k.pull != definition.PullDefault || k.scheme() != "oci" {
		return k.pull == definition.PullIfNotPresent
	}
	_, tag, tagged := strings.Cut(path.Base(k.url), ":")
	return tagged && tag != "latest"
}

// origin is the origin of a module, and the latest result. Its fields are owned
// by the resolution.
type origin struct {
	key  originKey
	stop context.CancelFunc
	wake chan struct{} // ends a sleep
	asks atomic.Bool   // the next outcome is reported even if nothing has changed

	info  Info   // latest module; zero: none yet
	text  string // latest script
	err   error  // why there is none, or no newer one
	slow  bool   // there was no outcome for SlowAfter
	stale bool   // err is from a check for updates: info may still be current
	news  int    // number of outcomes so far
	round uint
}

// knowledge is what is known about the content of an origin. Each copy has one
// owner.
type knowledge struct {
	Validators
	info Info
	text string // content of a script
	err  error  // a *ContentError: the content is unusable
}

// origin returns the origin of a filter's module, and starts to follow it.
func (l *resolution) origin(f *definition.Filter) *origin {
	key := keyOf(f)
	if o := l.origins[key]; o != nil {
		return o
	}
	ctx, stop := context.WithCancel(l.ctx)
	o := &origin{key: key, stop: stop, wake: make(chan struct{}, 1)}
	l.origins[key] = o
	known := l.known(key)
	if key.scheme() != "file" && (known.info.Signed == "" || l.has(known.info)) { // a module whose signature is known may not be in this store
		o.info = known.info // used while the origin is checked
	}
	l.group.Go(func() error {
		defer stop()
		l.follow(ctx, o, known)
		return nil
	})
	l.tellSlow(ctx, func() {
		if o.news == 0 {
			o.slow = true
			o.news++
		}
	})
	return o
}

// follow fetches, and fetches again when there may be newer content.
func (l *resolution) follow(ctx context.Context, o *origin, known knowledge) {
	regular, again := l.Poll, func() {}
	switch {
	case o.key.scheme() == "file":
		regular = l.LookAt
		if file, err := filePath(o.key.url); err == nil {
			w := &fileWatch{file, o.look}
			defer l.watcher.remove(w)
			again = func() { // its folder may have been replaced
				if l.Policy.holds(filepath.Dir(file)) {
					l.watcher.add(w)
				}
			}
		}
	case o.key.sha256 != "" || o.key.pull == definition.PullIfNotPresent:
		regular = 0
	}
	if o.key.settled() && l.has(known.info) && !o.sleep(ctx, regular) {
		return
	}
	for _, path := range l.keyFiles(o.key) {
		w := &fileWatch{path, o.look}
		l.watcher.add(w)
		defer l.watcher.remove(w)
	}
	failing := l.BackOff()
	var last outcome
	for {
		again()
		asked := o.asks.Swap(false)
		err := l.fetch(ctx, o.key, &known)
		if ctx.Err() != nil {
			return
		}
		if now := (outcome{known, fmt.Sprint(err)}); now != last || asked {
			last = now
			l.post(ctx, func() { l.heard(o, now.knowledge, err) })
		}
		wait := regular
		if err == nil {
			failing.Reset()
		} else if o.key.scheme() != "file" {
			wait = pause(failing, err)
		}
		if !o.sleep(ctx, wait) || o.key.scheme() == "file" && !o.settle(ctx) {
			return
		}
	}
}

// settle waits for a definition that may be written together with a file, until
// it asks for the origin, but not long.
func (o *origin) settle(ctx context.Context) bool {
	for until := time.Now().Add(quiet); !o.asks.Load(); {
		wait := time.Until(until)
		if wait <= 0 {
			break
		}
		if !o.sleep(ctx, wait) {
			return false
		}
	}
	return true
}

// outcome is the outcome of an attempt, which is only reported when it differs
// from the last one.
type outcome struct {
	knowledge
	err string
}

// pause returns how long to wait after a failed attempt.
func pause(b BackOff, err error) time.Duration {
	const longest = 10 * time.Minute
	wait := b.NextBackOff()
	if wait == backoff.Stop {
		wait = longest
	}
	if d, ok := errors.AsType[delayed](err); ok {
		wait = max(wait, d.RetryAfter())
	}
	return min(wait, longest)
}

// sleep waits for a duration (0: indefinitely) or until the origin is woken.
func (o *origin) sleep(ctx context.Context, d time.Duration) bool {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer:
	case <-o.wake:
	}
	return true
}

// look ends sleep.
func (o *origin) look() {
	select {
	case o.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// ask makes the origin fetch now, and report the outcome even if nothing has
// changed.
func (o *origin) ask() {
	o.asks.Store(true)
	o.look()
}

// heard processes the outcome of an attempt.
func (l *resolution) heard(o *origin, known knowledge, err error) {
	if l.origins[o.key] != o {
		return // it is no longer wanted
	}
	o.news++
	o.err = err
	if err == nil {
		o.info, o.text = known.info, known.text
		if !o.key.script {
			l.prove(o.info)
			l.memory.learn(o.key, known)
		}
	} else if known.info.Signed != o.info.Signed {
		o.info = Info{} // another signer is required now
	}
	_, content := errors.AsType[*ContentError](err)
	o.stale = err != nil && !content && o.key.scheme() != "file" && l.has(o.info)
	if o.stale {
		o.err = fmt.Errorf("%w; it is not known whether it has changed", err)
	}
}

// has reports whether a module is in the store.
func (l *resolution) has(m Info) bool {
	if m.SHA256 == "" {
		return false
	}
	_, err := l.Store.Stat(m.SHA256)
	return err == nil
}

// fetch makes one attempt to update known.
func (l *resolution) fetch(ctx context.Context, key originKey, known *knowledge) error {
	must, err := l.requirement(key)
	if err != nil || idOf(must) != known.info.Signed {
		*known = knowledge{} // another signature was verified than is required
	}
	if err != nil {
		return err
	}
	byContent := key.sha256 != "" && (must == nil || known.info.SHA256 == key.sha256)
	if byContent {
		if info, err := l.Store.Stat(key.sha256); err == nil {
			*known = knowledge{info: info.signedAs(known.info)}
			return nil
		} else if errors.Is(err, ErrCorrupt) {
			l.Logger.Error("module is fetched again", "url", key.String(), "error", err)
		}
	}
	if err := l.Policy.CheckURL(key.url); err != nil {
		return err
	}
	if key.script {
		return l.readScript(ctx, key, known)
	}
	scheme := key.scheme()
	var fetcher Fetcher = moduleFiles{l.Policy.Roots, "module"}
	if scheme != "file" {
		if byContent {
			if info, err := l.fromPeers(ctx, key.sha256); err == nil {
				*known = knowledge{info: info.signedAs(known.info)}
				return nil
			}
		}
		if fetcher = l.Fetchers[scheme]; fetcher == nil {
			return &ContentError{Message: fmt.Sprintf("%s: modules can't be fetched by %q", key, scheme)}
		}
		if err := l.fetching.Acquire(ctx, 1); err != nil {
			return err
		}
		defer l.fetching.Release(1)
	}
	start, before := time.Now(), known.info
	timed, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	err = l.transfer(timed, fetcher, key, must, known)
	if _, content := errors.AsType[*ContentError](err); err != nil && !content && scheme == "file" {
		if info, failed := l.fromPeers(timed, key.sha256); failed == nil {
			*known, err = knowledge{info: info}, nil
		}
	}
	if timed.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("fetch %s: it took longer than %v", key, l.Timeout)
	}
	if l.Observer.Fetched != nil && ctx.Err() == nil {
		l.Observer.Fetched(Fetch{
			Scheme: scheme, URL: key.String(), SHA256: known.info.SHA256,
			New: known.info != before, Took: time.Since(start), Err: err,
		})
	}
	return err
}

func (l *resolution) transfer(ctx context.Context, fetcher Fetcher, key originKey, must Requirement, known *knowledge) error {
	if known.err == nil && !l.has(known.info) {
		*known = knowledge{} // validators are useless if the content is lost
	}
	response, err := fetcher.Fetch(ctx, Request{URL: key.url, PullSecret: key.secret, Known: known.Validators, Signed: must})
	if err != nil {
		return err
	}
	if response.Body == nil {
		return known.err
	}
	defer response.Body.Close()
	info, err := l.Store.Put(response.Body, l.Limit)
	if err == nil && key.sha256 != "" && info.SHA256 != key.sha256 {
		err = &ContentError{
			Message: fmt.Sprintf("has sha256 %s, the definition pins %s", info.SHA256, key.sha256),
			Hint:    "if the new content is intended, pin its sha256; if not, find out who changed the origin",
		}
	}
	if content, ok := errors.AsType[*ContentError](err); ok {
		err = &ContentError{Message: key.String() + " " + content.Message, Hint: content.Hint}
		*known = knowledge{Validators: response.Validators, err: err}
		return err
	}
	if err != nil {
		return err
	}
	*known = knowledge{Validators: response.Validators, info: info.signedAs(Info{Signer: response.Signer, Signed: idOf(must)})}
	return nil
}
