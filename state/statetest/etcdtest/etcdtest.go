// Package etcdtest starts real etcds for tests, as child processes on free loopback ports,
// and stops them when the test ends.
//
// Start with [Start]. A [Member] can be killed, paused and restarted with what it has on
// disk.
package etcdtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/exectest"
)

// patience is how long members may take to become ready on a busy machine.
const patience = 60 * time.Second

// Cluster is an etcd with one or more members.
type Cluster struct {
	Members []*Member
}

// Start starts a cluster with this number of members, and returns when all of them serve.
// Args are additional flags of each member, such as --quota-backend-bytes=16777216.
func Start(t testing.TB, members int, args ...string) *Cluster {
	t.Helper()
	path, err := exectest.Find("etcd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for try := 1; ; try++ {
		c, err := start(t, path, filepath.Join(dir, fmt.Sprint(try)), members, args)
		if err == nil {
			return c
		}
		if try == 3 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
}

// start starts a cluster on ports that were free a moment ago.
func start(t testing.TB, path, dir string, members int, args []string) (*Cluster, error) {
	c := &Cluster{}
	free := func() string {
		address, err := exectest.FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		return address
	}
	var initial []string
	for i := range members {
		m := &Member{t: t, path: path, dir: filepath.Join(dir, fmt.Sprint(i))}
		peer := "http://" + free()
		m.address, m.health = free(), "http://"+free()
		scheme := "http"
		for _, arg := range args {
			if strings.HasPrefix(arg, "--cert-file") {
				scheme = "https"
			}
		}
		m.endpoint = scheme + "://" + m.address
		name := fmt.Sprintf("etcd-%d", i)
		initial = append(initial, name+"="+peer)
		m.args = []string{"--name=" + name, "--data-dir=" + filepath.Join(m.dir, "data"),
			"--listen-client-urls=" + m.endpoint, "--advertise-client-urls=" + m.endpoint,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--listen-metrics-urls=" + m.health, "--log-level=warn",
			"--unsafe-no-fsync"} // members are killed, the machine is not
		c.Members = append(c.Members, m)
	}
	for _, m := range c.Members {
		m.args = append(append(m.args, "--initial-cluster="+strings.Join(initial, ",")), args...)
		if err := m.run(); err != nil {
			c.end()
			return nil, err
		}
	}
	for _, m := range c.Members {
		if err := m.ready(); err != nil {
			c.end()
			return nil, err
		}
	}
	t.Cleanup(c.end)
	return c, nil
}

// Endpoints returns the client URLs of the members.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.endpoint)
	}
	return all
}

func (c *Cluster) end() {
	for _, m := range c.Members {
		if m.process != nil {
			m.process.Kill()
		}
	}
}
