package peer

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"wasmxds/module"
)

const (
	most  = 8                // modules on their way to other servers at once
	stall = 10 * time.Second // that another server may take for a part of one
	part  = 256 << 10        // bytes
)

// Handler gives what is in a store, at [Folder]. Whoever it serves may have all of it.
func Handler(store *module.Store, log *slog.Logger) http.Handler {
	places := make(chan struct{}, most)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Folder+"{sha256}", func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many modules are on their way", http.StatusServiceUnavailable)
			return
		}
		sha256 := r.PathValue("sha256")
		f, info, err := store.Open(sha256)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				log.Error("a module can't be given to another server", "sha256", sha256, "error", err)
			}
			http.Error(w, "no such module", http.StatusNotFound)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/wasm")
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		control := http.NewResponseController(w)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(stall)) // fails where there are none
			if _, err := io.CopyN(w, f, part); err != nil {
				return // all of it is sent, or who asked is gone
			}
		}
	})
	return mux
}
