package scale

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/source/kube"
	"wasmxds/source/kube/kubetest"
)

// cluster is an API server with WasmFilter objects, five in each namespace.
type cluster struct {
	*kubetest.Server
	t      *testing.T
	module string // its URL
	client *http.Client
}

const perNamespace = 5

func (c *cluster) object(i, revision int) string {
	return fmt.Sprintf("---\n{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: f-%d, namespace: ns-%d}, spec: {module: {url: %q}, config: %q}}\n",
		i, i/perNamespace, c.module, config(revision))
}

// TestObjects: of a thousand objects in two hundred namespaces one changes. The first
// Envoy is told of it at once, and what is written of it to the API server does not
// grow with the number of Envoys.
func TestObjects(t *testing.T) {
	objects, few, many, rounds := size(1000, 20), 1, size(1000, 20), size(11, 3)
	c := startCluster(t, objects)
	dir := t.TempDir()
	program := build(t, dir)
	began := time.Now()
	s, err := harness.StartServer(t.Context(), harness.ServerConfig{Program: program, Dir: dir, Definitions: t.TempDir(), Data: filepath.Join(dir, "data"),
		Args: []string{"--kubernetes", "--kubernetes-status", "--kubeconfig", c.Kubeconfig("admin")}})
	must(t, err)
	t.Cleanup(s.Kill)
	ready := func() time.Duration {
		eventually(t, func() error { return c.get("http://"+s.Addresses.Admin+"/readyz", nil) })
		return time.Since(began)
	}
	first := ready()
	must(t, s.Stop())
	began = time.Now()
	must(t, s.Start(t.Context()))
	again := ready()

	options := fleet.Options{Address: s.Addresses.XDS, Delta: true, Namespace: "ns-0"}
	t.Logf("start %v, again %v", first.Round(time.Millisecond), again.Round(time.Millisecond))
	revision, writes := 1, map[int]float64{}
	var firsts []time.Duration
	for _, clients := range []int{few, many} {
		options.First, options.Clients = options.First+options.Clients, clients-options.Clients
		f := start(t, options, revision, "ns-0.f-0")
		c.settle()
		before := c.writes()
		t.Logf("%d Envoys: settled after %v and %v writes", clients, time.Since(began).Round(time.Second), before)
		for range rounds {
			revision++
			g := f.Watch(revision, "ns-0.f-0")
			c.Apply(c.object(0, revision))
			wait(t, g)
			firsts = append(firsts, g.First())
			c.settle()
		}
		writes[clients] = (c.writes()-before)/float64(rounds) - 1 // the object itself
	}
	t.Logf("%d objects in %d namespaces: start %v, again %v (target 3s); one changes, first byte after %v at the median, at most %v (target 100ms); "+
		"writes a change %.1f with %d Envoys, %.1f with %d", objects, objects/perNamespace, first.Round(time.Millisecond), again.Round(time.Millisecond),
		median(firsts).Round(time.Millisecond), slices.Max(firsts).Round(time.Millisecond), writes[few], few, writes[many], many)
	if more := writes[many] - writes[few]; more > 1 {
		t.Errorf("%.1f more writes a change with %d Envoys than with %d", more, many, few)
	}
}

func startCluster(t *testing.T, objects int) *cluster {
	c := &cluster{Server: kubetest.Start(t), t: t}
	origin, err := harness.StartOrigin()
	must(t, err)
	t.Cleanup(func() { must(t, origin.Close()) })
	c.module = origin.Put("hello.wasm", wasmtest.Filter{Header: "x-hello", FromConfig: true}.Module())
	c.client, err = rest.HTTPClientFor(c.Config)
	must(t, err)
	t.Cleanup(c.client.CloseIdleConnections)
	c.Apply(kubetest.CRDs(t))
	c.Namespace(kube.DefaultRoot)
	for i := range objects / perNamespace {
		c.Namespace(fmt.Sprintf("ns-%d", i))
	}
	for i := range objects {
		c.Apply(c.object(i, 1))
	}
	c.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: web, namespace: ns-0}, spec: {address: '127.0.0.1:8080', routes: [{prefix: /, upstream: '127.0.0.1:9000'}]}}")
	return c
}

// get gives the body of an answer to read.
func (c *cluster) get(url string, read func(io.Reader) error) error {
	answer, err := c.client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	if read == nil {
		return nil
	}
	return read(answer.Body)
}

// writes counts the requests by which our objects, and Events, were written.
func (c *cluster) writes() (n float64) {
	c.t.Helper()
	must(c.t, c.get(c.Config.Host+"/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := lines.Text()
			labels, ours := strings.CutPrefix(line, "apiserver_request_total{")
			ours = ours && (strings.Contains(labels, `group="wasmxds.dev"`) || strings.Contains(labels, `resource="events"`))
			if !ours || !slices.ContainsFunc([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, func(verb string) bool { return strings.Contains(labels, `verb="`+verb+`"`) }) {
				continue
			}
			value, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
			if err != nil {
				return err
			}
			n += value
		}
		return lines.Err()
	}))
	return n
}

// settle waits until nothing has been written for two seconds: conditions are written
// at most once a second.
func (c *cluster) settle() {
	c.t.Helper()
	seen, since := math.NaN(), time.Now()
	eventually(c.t, func() error {
		if n := c.writes(); n != seen {
			seen, since = n, time.Now()
		}
		if quiet := time.Since(since); quiet < 2*time.Second {
			return fmt.Errorf("something was written %v ago", quiet)
		}
		return nil
	})
}
