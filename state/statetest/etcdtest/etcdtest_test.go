package etcdtest

import (
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestMembers kills, pauses and restarts members of a cluster of three.
func TestMembers(t *testing.T) {
	c := Start(t, 3)
	ready := func(m *Member) bool {
		client := http.Client{Timeout: 2 * time.Second}
		defer client.CloseIdleConnections()
		resp, err := client.Get(m.Endpoint() + "/health")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	until := func(what string, m *Member, want bool) {
		t.Helper()
		for end := time.Now().Add(patience); ready(m) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: ready is %v", what, !want)
			}
		}
	}
	if len(c.Endpoints()) != 3 {
		t.Fatal(c.Endpoints())
	}
	first, second, third := c.Members[0], c.Members[1], c.Members[2]
	pid := first.PID()
	first.Kill()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is there: %v", pid, err)
	}
	until("two of three", third, true)
	second.Pause()
	until("one of three", third, false)
	second.Resume()
	until("two again", third, true)
	first.Restart()
	first.Ready()
	until("started again", first, true)
}
