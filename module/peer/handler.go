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
	most  = 8                // number of concurrent responses
	stall = 10 * time.Second // timeout of writing one part
	part  = 256 << 10        // in bytes
)

// Handler serves the modules of a store at [Folder]. All clients may have all
// of them.
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
				log.Error("can't send a module to another replica", "sha256", sha256, "error", err)
			}
			http.Error(w, "no such module", http.StatusNotFound)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/wasm")
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		control := http.NewResponseController(w)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(stall)) // fails if the connection has no deadlines
			if _, err := io.CopyN(w, f, part); err != nil {
				return // the end, or the client is gone
			}
		}
	})
	return mux
}
