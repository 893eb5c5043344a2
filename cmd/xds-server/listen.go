package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/google/renameio/v2"
)

// listeners are the addresses of serve, open.
type listeners struct {
	xds, modules, admin net.Listener
	modulesURL          string // at which Envoys reach modules

	peer        net.Listener // nil: the state is local
	peerAddress string       // at which other xds-servers reach it
}

func listen(f *serveFlags) (*listeners, error) {
	// Who is gone is found by HTTP/2's pings, and by deadlines: the kernel need not
	// look as well, which costs four system calls for each of thousands that come.
	looked := net.ListenConfig{KeepAlive: -1}
	ls := &listeners{modulesURL: f.modulesURL}
	for _, l := range []struct {
		flag, address string
		to            *net.Listener
		with          net.ListenConfig
	}{
		{"--xds-listen", f.xdsListen, &ls.xds, looked},
		{"--modules-listen", f.modulesListen, &ls.modules, looked},
		{"--admin-listen", f.adminListen, &ls.admin, net.ListenConfig{}},
	} {
		open, err := l.with.Listen(context.Background(), "tcp", l.address)
		if err != nil {
			ls.close()
			return nil, unreachable(withHint(fmt.Errorf("%s %s: %w", l.flag, l.address, err), listenHint(err, l.flag)))
		}
		*l.to = open
	}
	if f.state.shared() {
		var err error
		if ls.peer, err = net.Listen("tcp", f.peers.listen); err != nil {
			ls.close()
			return nil, unreachable(withHint(fmt.Errorf("--peer-listen %s: %w", f.peers.listen, err), listenHint(err, "--peer-listen")))
		}
		if ls.peerAddress, err = f.peers.reached(ls.peer); err != nil {
			ls.close()
			return nil, misused(err)
		}
	}
	if ls.modulesURL == "" {
		at := ls.modules.Addr().(*net.TCPAddr)
		if at.IP.IsUnspecified() {
			ls.close()
			return nil, misused(fmt.Errorf("--modules-url is required with --modules-listen %s: the URL at which Envoys reach it", f.modulesListen))
		}
		ls.modulesURL = "http://" + at.String()
		if f.secure.ads.Cert != "" {
			ls.modulesURL = "https://" + at.String()
		}
	}
	return ls, nil
}

func (ls *listeners) close() {
	for _, l := range []net.Listener{ls.xds, ls.modules, ls.admin, ls.peer} {
		if l != nil {
			l.Close()
		}
	}
}

// write tells the addresses to whoever reads the file; it is whole whenever it
// is there.
func (ls *listeners) write(file string) error {
	addresses := map[string]string{
		"xds":     ls.xds.Addr().String(),
		"modules": ls.modules.Addr().String(),
		"admin":   ls.admin.Addr().String(),
	}
	if ls.peer != nil {
		addresses["peer"] = ls.peer.Addr().String()
	}
	b, err := json.Marshal(addresses)
	if err == nil {
		err = renameio.WriteFile(file, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write --addresses-file: %w", err)
	}
	return nil
}

// How long a connection stays open on which nothing is asked for. After a change
// for ten thousand Envoys each has one to the module server, of 10 KB, and no
// need of it: the next download opens another.
const (
	modulesIdle = 10 * time.Second
	adminIdle   = 2 * time.Minute
)
