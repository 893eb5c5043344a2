package definition

import (
	"math"
	"net/url"
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

func (d *Doc) judge(at string, w rolloutJudge) Judge {
	switch {
	case w.Prometheus != nil && w.Webhook != nil:
		d.Problem(at, "write two entries", "prometheus and webhook can't be together")
	case w.Prometheus != nil:
		return d.prometheusJudge(at+".prometheus", w.Prometheus)
	case w.Webhook != nil:
		d.judgeURL(at+".webhook.url", w.Webhook.URL)
		return Judge{Webhook: &WebhookJudge{URL: w.Webhook.URL}}
	default:
		d.Problem(at, "", "needs prometheus or webhook")
	}
	return Judge{}
}

func (d *Doc) prometheusJudge(at string, w *prometheusJudge) Judge {
	j := &PrometheusJudge{URL: w.URL, Query: w.Query}
	if u := d.judgeURL(at+".url", w.URL); u != nil && (u.RawQuery != "" || strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v1/query")) {
		d.Problem(at+".url", "the query is a field of its own", "needs the server's URL alone, without /api/v1/query")
	}
	switch {
	case w.Query != "" && strings.TrimSpace(w.Query) == "":
		d.Problem(at+".query", "", "is empty")
	case len(w.Query) > maxQuery:
		d.Problem(at+".query", "", "%d bytes, %d at most", len(w.Query), maxQuery)
	}
	if n := w.Max; n != nil {
		limit, err := strconv.ParseFloat(n.Text, 64)
		if n.Kind != document.Number || err != nil || math.IsInf(limit, 0) {
			d.Problem(at+".max", "", "%s, needs a number", shown(n))
		}
		j.Max = limit
	}
	return Judge{Prometheus: j}
}

// judgeURL checks the URL of a judge and returns it, or nil if it is missing or
// invalid.
func (d *Doc) judgeURL(at, written string) *url.URL {
	if written == "" {
		return nil // Decode has reported it
	}
	u, err := url.Parse(written)
	switch {
	case len(written) > maxURL:
		d.Problem(at, "", "%d bytes, %d at most", len(written), maxURL)
	case err != nil:
		d.Problem(at, "", "%q is not a URL", MaskURL(written))
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		d.Problem(at, "", "%q, needs http:// or https:// and a host", MaskURL(written))
	case u.Fragment != "":
		d.Problem(at, "", "a judge is not told what comes after #")
	default:
		return u
	}
	return nil
}
