package keypair_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/keypair"
	"wasmxds/resource"
	"wasmxds/state"
	"wasmxds/state/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issued is a certificate with its key.
type issued struct{ cert, key []byte }

func issue(t *testing.T, name string, key any, ca bool, from, to time.Time) issued {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, DNSNames: []string{name}, IsCA: ca, BasicConstraintsValid: true}
	var public any
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		public = &k.PublicKey
	case *rsa.PrivateKey:
		public = &k.PublicKey
	case ed25519.PrivateKey:
		public = k.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return issued{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}

func ec(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	return key
}

func usual(t *testing.T, name string) issued {
	return issue(t, name, ec(t, elliptic.P256()), false, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
}

// world is a folder with the files of a listener.
type world struct {
	t     *testing.T
	dir   string
	tls   definition.TLS
	store *keypair.Store
	mu    sync.Mutex
	told  int
}

func newWorld(t *testing.T, o keypair.Options) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.tls = definition.TLS{Cert: "web.crt", Key: "web.key", Folder: w.dir}
	roots, err := files.NewRoots(w.dir)
	must(t, err)
	o.Roots, o.Every = roots, 20*time.Millisecond
	w.store = keypair.New(t.Context(), o)
	return w
}

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), content, 0o600))
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- w.store.Run(ctx, func() { w.mu.Lock(); w.told++; w.mu.Unlock() })
	}()
	w.t.Cleanup(func() { cancel(); must(w.t, <-done) })
}

func (w *world) pair() *resource.Pair {
	of := &definition.Listener{}
	return w.store.Want(map[*definition.Listener]definition.TLS{of: w.tls})[of]
}

// becomes waits for a certificate and a message.
func (w *world) becomes(cert []byte, trouble string) *resource.Pair {
	w.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		p := w.pair()
		if bytes.Equal(p.Chain, cert) && strings.Contains(p.Trouble, trouble) && (trouble != "" || p.Trouble == "") {
			return p
		}
		if time.Now().After(end) {
			w.t.Fatalf("it has %q, and says %q; want %q", p.Chain, p.Trouble, trouble)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRenewed checks that a pair stays in use until there is a new one that
// matches, whichever file is written first.
func TestRenewed(t *testing.T) {
	w := newWorld(t, keypair.Options{})
	if p := w.pair(); p.Trouble == "" || p.Chain != nil {
		t.Errorf("of files that are not there: %+v", p)
	}
	w.run()
	a, b := usual(t, "a"), usual(t, "b")
	w.write("web.crt", a.cert)
	w.becomes(nil, "key")
	w.write("web.key", a.key)
	p := w.becomes(a.cert, "")
	if !bytes.Equal(p.Key, a.key) {
		t.Error("it has another key")
	}
	w.write("web.crt", b.cert)
	if p := w.becomes(a.cert, "do not go together"); !bytes.Equal(p.Key, a.key) {
		t.Error("the key is another before the certificate is")
	}
	w.write("web.key", b.key[:len(b.key)/2])
	w.becomes(a.cert, "no private key")
	w.write("web.key", append([]byte("# a comment, and a secret\n"), b.key...))
	if p := w.becomes(b.cert, ""); !bytes.Equal(p.Key, b.key) {
		t.Error("more than the key is sent")
	}
	must(t, os.Remove(filepath.Join(w.dir, "web.key")))
	w.becomes(b.cert, "no such file")
	w.write("web.key", b.key)
	w.becomes(b.cert, "")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == 0 {
		t.Error("nobody was told")
	}
}

// TestRefused checks that what Envoy would reject, or what is outside the
// allowed folders, is not sent, and errors reveal nothing of a key.
func TestRefused(t *testing.T) {
	now := time.Now()
	later := now.Add(90 * 24 * time.Hour)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil { // Go may refuse to generate it
		weak = nil
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	good := usual(t, "a")
	cases := map[string]struct {
		issued
		clientCA []byte
		want     string
	}{
		"expired":   {issued: issue(t, "a", ec(t, elliptic.P256()), false, now.Add(-2*time.Hour), now.Add(-time.Hour)), want: "has expired"},
		"not yet":   {issued: issue(t, "a", ec(t, elliptic.P256()), false, now.Add(time.Hour), later), want: "does not hold before"},
		"curve":     {issued: issue(t, "a", ec(t, elliptic.P224()), false, now.Add(-time.Hour), later), want: "P-224"},
		"ed25519":   {issued: issue(t, "a", ed, false, now.Add(-time.Hour), later), want: "RSA and ECDSA"},
		"empty":     {issued: issued{[]byte{}, good.key}, want: "no certificate"},
		"key twice": {issued: issued{good.key, good.key}, want: "no certificate"},
		"encrypted": {issued: issued{good.cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})}, want: "is encrypted"},
		"no CA":     {issued: good, clientCA: good.cert, want: "not that of an authority"},
		"CA empty":  {issued: good, clientCA: []byte("x"), want: "clientCA: there is no"},
		"large":     {issued: issued{bytes.Repeat(good.cert, 1<<20/len(good.cert)+1), good.key}, want: "too large"},
	}
	if weak != nil {
		cases["weak"] = struct {
			issued
			clientCA []byte
			want     string
		}{issued: issue(t, "a", weak, false, now.Add(-time.Hour), later), want: "1024 bits"}
	}
	for name, c := range cases {
		w := newWorld(t, keypair.Options{})
		w.write("web.crt", c.cert)
		w.write("web.key", c.key)
		if c.clientCA != nil {
			w.tls.ClientCA = "ca.crt"
			w.write("ca.crt", c.clientCA)
		}
		p := w.pair()
		if p.Chain != nil || !strings.Contains(p.Trouble, c.want) {
			t.Errorf("%s: %q, want %q", name, p.Trouble, c.want)
		}
		if block, _ := pem.Decode(c.key); block != nil && strings.Contains(p.Trouble, string(block.Bytes)) {
			t.Errorf("%s: the key is told", name)
		}
	}
	w := newWorld(t, keypair.Options{})
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "k"), good.key, 0o600))
	must(t, os.Symlink(filepath.Join(outside, "k"), filepath.Join(w.dir, "web.key")))
	w.write("web.crt", good.cert)
	if p := w.pair(); p.Chain != nil || !strings.Contains(p.Trouble, "outside") {
		t.Errorf("a link out of the folders: %+v", p)
	}
}

// TestExpires checks that there is a warning before a certificate expires.
func TestExpires(t *testing.T) {
	for name, of := range map[string]struct {
		age, left time.Duration
		warns     bool
	}{
		"of three months, in time": {75 * 24 * time.Hour, 15 * 24 * time.Hour, false},
		"of three months":          {77 * 24 * time.Hour, 13 * 24 * time.Hour, true},
		"of a day, new":            {time.Hour, 23 * time.Hour, false},
		"of a day":                 {21 * time.Hour, 3 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, keypair.Options{})
			a := issue(t, "a", ec(t, elliptic.P384()), false, time.Now().Add(-of.age), time.Now().Add(of.left))
			w.write("web.crt", a.cert)
			w.write("web.key", a.key)
			if p := w.pair(); p.Trouble != "" || strings.Contains(p.Warning, "expires on") != of.warns {
				t.Errorf("%q %q", p.Trouble, p.Warning)
			}
		})
	}
}

// TestKept checks that the last good pair is available after a restart, even if
// its files are gone, and is removed when it is no longer needed.
func TestKept(t *testing.T) {
	disk, err := local.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, disk.Close()) })
	kept := state.NewWriter(disk, slog.New(slog.DiscardHandler))
	w := newWorld(t, keypair.Options{State: kept})
	ca := issue(t, "ca", ec(t, elliptic.P256()), true, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	w.tls.ClientCA = "ca.crt"
	a := usual(t, "a")
	w.write("web.crt", a.cert)
	w.write("web.key", a.key)
	w.write("ca.crt", ca.cert)
	if p := w.pair(); p.Trouble != "" || !bytes.Equal(p.ClientCA, ca.cert) {
		t.Fatalf("%+v", p)
	}
	must(t, kept.Flush(t.Context()))
	w.write("web.key", []byte("half"))
	roots, err := files.NewRoots(w.dir)
	must(t, err)
	w.store = keypair.New(t.Context(), keypair.Options{Roots: roots, State: kept})
	for _, p := range w.store.Want(map[*definition.Listener]definition.TLS{{Name: "one"}: w.tls, {Name: "two"}: w.tls}) {
		if !bytes.Equal(p.Chain, a.cert) || !bytes.Equal(p.Key, a.key) || !bytes.Equal(p.ClientCA, ca.cert) || p.Trouble == "" {
			t.Errorf("after a restart: %+v", p)
		}
	}
	w.store.Want(nil)
	must(t, kept.Flush(t.Context()))
	entries, _, err := disk.List(t.Context(), "keypairs/")
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("%d keys are kept that nobody needs", len(entries))
	}
}

// secrets are the Secrets of a cluster.
type secrets struct {
	mu   sync.Mutex
	of   map[string]map[string][]byte
	tell map[string]func(map[string][]byte, error) // callbacks of followers, by name
}

func (s *secrets) follow(ctx context.Context, name string, tell func(map[string][]byte, error)) {
	s.mu.Lock()
	s.tell[name] = tell
	s.mu.Unlock()
	s.mu.Lock()
	data := s.of[name]
	s.mu.Unlock()
	s.set(name, data)
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tell, name)
}

func (s *secrets) set(name string, data map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[name] = data
	switch tell := s.tell[name]; {
	case tell == nil:
	case data == nil:
		tell(nil, errors.New("is not there"))
	default:
		tell(data, nil)
	}
}

func (s *secrets) followed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tell)
}

// TestSecrets checks that Secrets are followed as long as they are needed, and
// that an unavailable one changes nothing.
func TestSecrets(t *testing.T) {
	of := &secrets{of: map[string]map[string][]byte{}, tell: map[string]func(map[string][]byte, error){}}
	w := newWorld(t, keypair.Options{Log: slog.New(slog.DiscardHandler), Follow: of.follow})
	w.tls = definition.TLS{Secret: "shop/web", ClientSecret: "shop/clients"}
	w.pair()
	w.run()
	w.becomes(nil, "is not there")
	a, b := usual(t, "a"), usual(t, "b")
	ca := issue(t, "ca", ec(t, elliptic.P256()), true, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	set := of.set
	set("shop/web", map[string][]byte{"tls.crt": a.cert, "tls.key": a.key})
	w.becomes(nil, "clientSecret: is not there")
	set("shop/clients", map[string][]byte{"ca.crt": ca.cert})
	w.becomes(a.cert, "")
	set("shop/web", map[string][]byte{"tls.crt": b.cert, "tls.key": a.key})
	w.becomes(a.cert, "do not go together")
	set("shop/web", map[string][]byte{"tls.crt": b.cert, "tls.key": b.key})
	w.becomes(b.cert, "")
	set("shop/web", nil)
	w.becomes(b.cert, "is not there")
	w.store.Want(nil)
	for end := time.Now().Add(20 * time.Second); of.followed() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d Secrets are followed that nobody needs", of.followed())
		}
	}
}

// TestNoCluster checks that Secrets are reported as unavailable without a
// cluster.
func TestNoCluster(t *testing.T) {
	w := newWorld(t, keypair.Options{})
	w.tls = definition.TLS{Secret: "shop/web"}
	w.run()
	w.becomes(nil, "there is no Kubernetes cluster")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
