package main

import "testing"

func TestShareFiles(t *testing.T) {
	for _, c := range []struct {
		files, ads int
		want       shares
	}{
		{512, 0, shares{224, 168, 56, 0}},
		{1 << 20, 0, shares{524256, 10000, 1000, 0}},
		{1024, 100, shares{100, 360, 120, 0}},
		{8, 0, shares{8, 4, 4, 0}}, // less than it takes to do anything
	} {
		got := shareFiles(c.files, c.ads, false)
		if got != c.want {
			t.Errorf("of %d files: %+v, want %+v", c.files, got, c.want)
		}
		with := shareFiles(c.files, c.ads, true)
		if with.peers < 4 || with.peers > peerConnections {
			t.Errorf("of %d files %d are for other servers", c.files, with.peers)
		}
		if c.ads == 0 && c.files > 100 && with.ads+with.modules+with.admin+with.peers+ownFiles > c.files {
			t.Errorf("of %d files more are promised than there are, with other servers", c.files)
		}
		if n := got.logs(); n < 1 || n > got.ads/2 || n > logsConnections {
			t.Errorf("of %d connections %d are for access logs", got.ads, n)
		}
		if c.ads == 0 && c.files > 100 && got.ads+got.modules+got.admin+ownFiles > c.files {
			t.Errorf("of %d files more are promised than there are", c.files)
		}
	}
	if n := openFiles(); n < 64 {
		t.Errorf("%d files may be open", n)
	}
}
