package try

import (
	"slices"
	"unicode/utf8"

	"wasmxds/definition"
	"wasmxds/module/dryrun/stream"
)

// Told is an outcome as JSON.
type Told struct {
	Name       string               `json:"name"`
	Ended      string               `json:"ended"` // in words
	Crash      string               `json:"crash,omitempty"`
	Stopped    string               `json:"stopped,omitempty"`
	Hint       string               `json:"hint,omitempty"`
	Paused     string               `json:"paused,omitempty"`
	Received   *ToldMessage         `json:"received,omitempty"` // the request as the filter gets it
	Request    *ToldMessage         `json:"request,omitempty"`  // as the upstream gets it
	Answered   *ToldMessage         `json:"answered,omitempty"` // the response as the filter gets it
	Response   *ToldMessage         `json:"response,omitempty"` // as the client gets it
	LocalReply *ToldMessage         `json:"localReply,omitempty"`
	Connection *ToldConnection      `json:"connection,omitempty"`
	Logs       []ToldLine           `json:"logs,omitempty"`
	Calls      []ToldCall           `json:"calls,omitempty"`
	Metrics    []ToldMetric         `json:"metrics,omitempty"`
	Callbacks  []ToldCallback       `json:"callbacks,omitempty"`
	Missing    []string             `json:"missing,omitempty"`
	Failures   []definition.Problem `json:"failures,omitempty"`
}

// ToldMessage is a message. A body that is not text is in base64.
type ToldMessage struct {
	Headers  [][2]string `json:"headers"`
	Body     string      `json:"body,omitempty"`
	Binary   []byte      `json:"bodyBase64,omitempty"`
	Trailers [][2]string `json:"trailers,omitempty"`
}

// ToldConnection is what each side received, and whether the filter closed it.
type ToldConnection struct {
	Upstream   ToldBytes `json:"upstream"`
	Downstream ToldBytes `json:"downstream"`
	Closed     bool      `json:"closed"`
}

// ToldBytes is a text, or bytes in base64.
type ToldBytes struct {
	Text   string `json:"text,omitempty"`
	Binary []byte `json:"base64,omitempty"`
}

func toldBytes(text string) ToldBytes {
	if utf8.ValidString(text) {
		return ToldBytes{Text: text}
	}
	return ToldBytes{Binary: []byte(text)}
}

// ToldLine is a line of the log.
type ToldLine struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

// ToldCall is a callout.
type ToldCall struct {
	Kind    string `json:"kind"`
	Cluster string `json:"cluster"`
	ToldMessage
	Answer string `json:"answer"`
}

// ToldMetric is a metric.
type ToldMetric struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value int64  `json:"value"`
}

// ToldCallback is a call of the module.
type ToldCallback struct {
	Name         string `json:"name"`
	Action       string `json:"action,omitempty"`
	Nanoseconds  int64  `json:"ns"`
	Instructions uint64 `json:"instructions,omitempty"`
	Memory       uint64 `json:"memory"` // in bytes, after the call
}

// Told returns an outcome in the form that is encoded as JSON.
func (o Outcome) Told() Told {
	r := o.Result
	t := Told{
		Name: o.Name, Ended: ended(r), Crash: r.Crash, Stopped: o.Stopped, Hint: o.Hint, Paused: r.Paused, Missing: r.Missing, Failures: o.Failures,
		Received: toldMessage(&r.Received), Request: toldMessage(r.Request), Answered: toldMessage(r.Answered), Response: toldMessage(r.Response),
		LocalReply: toldMessage(localReply(r)),
	}
	if c := r.Connection; c != nil {
		t.Received = nil
		t.Connection = &ToldConnection{toldBytes(received(c.Downstream)), toldBytes(received(c.Upstream)), closed(r)}
	}
	for _, l := range o.Logs() {
		t.Logs = append(t.Logs, ToldLine(l))
	}
	for _, c := range slices.Concat(o.Start.Calls, r.Calls) {
		m := toldMessage(&stream.Message{Headers: c.Headers, Body: [][]byte{c.Body}, Trailers: c.Trailers})
		t.Calls = append(t.Calls, ToldCall{c.Kind, c.Cluster, *m, c.Answer})
	}
	for _, m := range o.Metrics {
		t.Metrics = append(t.Metrics, ToldMetric{m.Name, m.Type, int64(m.Value)})
	}
	for _, c := range slices.Concat(o.Start.Callbacks, r.Callbacks) {
		t.Callbacks = append(t.Callbacks, ToldCallback{c.Name, c.Action, c.Duration.Nanoseconds(), c.Instructions, c.MemoryAfter})
	}
	return t
}

func toldMessage(m *stream.Message) *ToldMessage {
	if m == nil {
		return nil
	}
	told := &ToldMessage{Headers: m.Headers, Trailers: m.Trailers}
	if body := slices.Concat(m.Body...); utf8.Valid(body) {
		told.Body = string(body)
	} else {
		told.Binary = body
	}
	return told
}
