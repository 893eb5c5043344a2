package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wasmxds/etcdconn"
	"wasmxds/state/statetest/etcdtest"
)

// etcdCommand is for scripts:
//
//	etcd PREFIX         starts an etcd, and sets $XDS_SERVER_ETCD and $XDS_SERVER_ETCD_PREFIX
//	etcd put KEY FILE   puts a file at a key below the prefix
//	etcd delete KEY     deletes one
//
// All scripts of a test share one etcd, so each has a prefix of its own.
func etcdCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	start := sync.OnceValue(func() string { return etcdtest.Start(t, 1).Endpoints()[0] })
	return func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) == 1 {
			ts.Setenv("XDS_SERVER_ETCD", start())
			ts.Setenv("XDS_SERVER_ETCD_PREFIX", args[0])
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		client, err := (&etcdconn.Options{Endpoints: []string{start()}}).Dial(ctx)
		ts.Check(err)
		defer client.Close()
		key := strings.TrimRight(ts.Getenv("XDS_SERVER_ETCD_PREFIX"), "/") + "/" + args[1]
		switch args[0] {
		case "put":
			_, err = client.Put(ctx, key, ts.ReadFile(args[2]))
		case "delete":
			_, err = client.Delete(ctx, key)
		default:
			ts.Fatalf("etcd %s", args[0])
		}
		ts.Check(err)
	}
}
