package definition

import (
	"strconv"

	"wasmxds/definition/internal/document"
)

type rolloutStop struct {
	Refused   *document.Node `json:"refused,omitempty" jsonschema_description:"So many Envoys refuse the change. Default: 1."`
	Crashes   *document.Node `json:"crashes,omitempty" jsonschema_description:"So many more VMs crash than in the control cohort. Default: 1."`
	Restarts  *document.Node `json:"restarts,omitempty" jsonschema_description:"So many Envoys of the wave come back as new. Default: 2."`
	Errors    *errorRise     `json:"errors,omitempty" jsonschema_description:"The share of 5xx rises above that of the control cohort."`
	Latency   *latencyRise   `json:"latency,omitempty" jsonschema_description:"Requests take longer than in the control cohort."`
	NoTraffic NoTraffic      `json:"noTraffic,omitempty" jsonschema:"enum=wait,enum=go on" jsonschema_description:"What becomes of a wave that has baked with too little traffic to judge it by: wait (default), or go on."`
}

type errorRise struct {
	More       *document.Node `json:"more,omitempty" jsonschema_description:"By so much of all requests, from 0.01%; 100%: errors are not looked at. Default: 1%."`
	Confidence *document.Node `json:"confidence,omitempty" jsonschema_description:"How sure that has to be, from 50%. Default: 99.9%."`
}

type latencyRise struct {
	P          *document.Node `json:"p,omitempty" jsonschema_description:"Percentile that is compared. Default: 99."`
	More       *document.Node `json:"more,omitempty" jsonschema_description:"By so much of what it is there, from 1%; 10000%: latency is not looked at. Default: 25%."`
	Confidence *document.Node `json:"confidence,omitempty" jsonschema_description:"How sure that has to be, from 50%. Default: 99.9%."`
}

func defaultStop() Stop {
	return Stop{
		Refused: 1, Crashes: 1, Restarts: 2,
		Errors:    ErrorRise{More: 0.01, Confidence: 0.999},
		Latency:   LatencyRise{P: 99, More: 0.25, Confidence: 0.999},
		NoTraffic: Wait,
	}
}

func (d *Doc) stop(w *rolloutStop) Stop {
	s := defaultStop()
	if w == nil {
		return s
	}
	for _, c := range []struct {
		field   string
		written *document.Node
		into    *int
	}{{"refused", w.Refused, &s.Refused}, {"crashes", w.Crashes, &s.Crashes}, {"restarts", w.Restarts, &s.Restarts}} {
		if c.written != nil {
			*c.into = d.count("stop."+c.field, c.written, "1: the first one ends it")
		}
	}
	if e := w.Errors; e != nil {
		if e.More != nil {
			s.Errors.More = d.percent("stop.errors.more", e.More, "0.01% to 100%; 100%: errors are not looked at", func(p float64) bool { return p >= 0.01 && p <= 100 })
		}
		d.confidence(&s.Errors.Confidence, "stop.errors.confidence", e.Confidence)
	}
	if l := w.Latency; l != nil {
		d.percentile(&s.Latency.P, "stop.latency.p", l.P)
		if l.More != nil {
			s.Latency.More = d.percent("stop.latency.more", l.More, "1% to 10000%; 10000%: latency is not looked at", func(p float64) bool { return p >= 1 && p <= 10_000 })
		}
		d.confidence(&s.Latency.Confidence, "stop.latency.confidence", l.Confidence)
	}
	if w.NoTraffic != "" {
		s.NoTraffic = w.NoTraffic
	}
	return s
}

func (d *Doc) percentile(into *float64, at string, n *document.Node) {
	if n == nil {
		return
	}
	p, err := strconv.ParseFloat(n.Text, 64)
	if n.Kind != document.Number || err != nil || p <= 0 || p >= 100 {
		d.Problem(at, "99: of 100 requests, 99 are not slower", "%s, needs a number between 0 and 100", shown(n))
		return
	}
	*into = p
}

func (d *Doc) confidence(into *float64, at string, n *document.Node) {
	if n != nil {
		*into = d.percent(at, n, "at least 50% and less than 100%", func(p float64) bool { return p >= 50 && p < 100 })
	}
}
