package module

import (
	"slices"
	"strings"

	"wasmxds/definition"
)

// fitsPlace returns an error if a module exports no callback for the place of
// its filter. Envoy does not check this: it would call nothing, as if there
// were no filter. If the exports can't be determined, fitsPlace returns nil.
func (l *resolution) fitsPlace(f *definition.Filter, sha256 string) error {
	w, err := l.Store.Wants(sha256)
	if err != nil {
		return nil
	}
	http, network := w.Requests() || slices.Contains(w.Callbacks, "proxy_on_log"), w.Connections()
	switch {
	case f.Serves(): // the dry run covers what it needs, such as a timer or a queue
	case f.Logs() && !slices.Contains(w.Callbacks, "proxy_on_log"):
		return &ContentError{
			Message: "exports no proxy_on_log: as an access logger it would never be called",
			Hint:    "build it with the callback for logs, or leave place out for an HTTP filter",
		}
	case f.Place.Network && !network:
		return &ContentError{
			Message: "exports no callback for connections, as proxy_on_new_connection or proxy_on_downstream_data, so that, with place: network, all bytes would pass by it",
			Hint:    "leave network out of its place if it is an HTTP filter; in Go, import proxywasm/stdgo/tcp",
		}
	case !f.Place.Network && network && !http:
		return &ContentError{
			Message: "exports callbacks for connections and none for requests, so that all requests would pass by it",
			Hint:    "place: network makes it a network filter",
		}
	}
	return nil
}

// Requests says whether the module has callbacks for requests or responses.
func (w Wants) Requests() bool { return slices.ContainsFunc(w.Callbacks, isHTTP) }

// Connections says whether it has callbacks for connections. Modules of some SDKs have both.
func (w Wants) Connections() bool { return slices.ContainsFunc(w.Callbacks, isNetwork) }

func isHTTP(callback string) bool {
	return strings.HasPrefix(callback, "proxy_on_request_") || strings.HasPrefix(callback, "proxy_on_response_")
}

func isNetwork(callback string) bool {
	switch callback {
	case "proxy_on_new_connection", "proxy_on_downstream_data", "proxy_on_upstream_data",
		"proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close":
		return true
	}
	return false
}
