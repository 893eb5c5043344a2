package har

import (
	"encoding/json"
	"io"
	"time"
)

// Recorded is a request without its body, and the status of its response, or 0 if that is not
// known.
type Recorded struct {
	At          time.Time
	Method, URL string
	Headers     [][2]string
	Status      int
}

// written is an archive with all fields that HAR 1.2 requires.
type written struct {
	Log struct {
		Version string         `json:"version"`
		Creator map[string]any `json:"creator"`
		Entries []writtenEntry `json:"entries"`
	} `json:"log"`
}

type writtenEntry struct {
	Started  time.Time      `json:"startedDateTime"`
	Time     int            `json:"time"`
	Request  writtenMessage `json:"request"`
	Response writtenMessage `json:"response"`
	Cache    struct{}       `json:"cache"`
	Timings  map[string]int `json:"timings"`
}

type writtenMessage struct {
	Method      string          `json:"method,omitempty"`
	URL         string          `json:"url,omitempty"`
	Query       *[]pair         `json:"queryString,omitempty"`
	Status      *int            `json:"status,omitempty"`
	StatusText  *string         `json:"statusText,omitempty"`
	Version     string          `json:"httpVersion"`
	Cookies     []pair          `json:"cookies"`
	Headers     []pair          `json:"headers"`
	Content     *map[string]any `json:"content,omitempty"`
	RedirectURL *string         `json:"redirectURL,omitempty"`
	HeadersSize int             `json:"headersSize"`
	BodySize    int             `json:"bodySize"`
}

// Write writes an archive.
func Write(out io.Writer, requests []Recorded) error {
	var a written
	a.Log.Version, a.Log.Creator, a.Log.Entries = "1.2", map[string]any{"name": "xds-server", "version": "1"}, []writtenEntry{}
	for _, r := range requests {
		empty, content := "", map[string]any{"size": 0, "mimeType": ""}
		message := writtenMessage{Version: "HTTP/1.1", Cookies: []pair{}, Headers: []pair{}, HeadersSize: -1, BodySize: -1}
		e := writtenEntry{Started: r.At, Request: message, Response: message, Timings: map[string]int{"send": -1, "wait": -1, "receive": -1}}
		e.Request.Method, e.Request.URL, e.Request.Query = r.Method, r.URL, &[]pair{}
		for _, h := range r.Headers {
			e.Request.Headers = append(e.Request.Headers, pair{h[0], h[1]})
		}
		e.Response.Status, e.Response.StatusText, e.Response.Content, e.Response.RedirectURL = &r.Status, &empty, &content, &empty
		a.Log.Entries = append(a.Log.Entries, e)
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(a)
}
