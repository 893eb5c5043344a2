package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// answer is the response of /api/v1/query, as far as it is used.
type answer struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

type series struct {
	Metric map[string]string `json:"metric"`
	Value  *sample           `json:"value"` // nil for a histogram
}

// sample is a value with its time, such as [1700000000.5, "0.25"].
type sample float64

func (s *sample) UnmarshalJSON(b []byte) error {
	var pair [2]json.RawMessage
	var text string
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64)
	*s = sample(v)
	return err
}

// prometheus returns Bad if any value is above the limit, and Good if there are values and
// none is. NaN is not a value: it is the share of no requests.
func (a *Asker) prometheus(ctx context.Context, j *definition.PrometheusJudge) (rollout.Verdict, string) {
	req, err := queryOf(ctx, j)
	if err != nil {
		return unable("%v", err)
	}
	status, body, err := a.do(req, maxQuery)
	if err != nil {
		return unable("%v", err)
	}
	var got answer
	err = json.Unmarshal(body, &got)
	switch {
	case err == nil && got.Status == "error" && isErrorType(got.ErrorType):
		return unable("%s: %s: %s", host(req.URL), got.ErrorType, got.Error)
	case status/100 != 2:
		return unable("%v", answers(req.URL, status))
	case err != nil || got.Status != "success":
		return unable("what %s answers is not that of a Prometheus", host(req.URL))
	}
	found, err := got.series()
	if err != nil {
		return unable("%s: %v", host(req.URL), err)
	}
	return judged(found, j.Max)
}

// queryOf returns a GET request, which proxies in front of a Prometheus usually allow,
// unless it would be too long.
func queryOf(ctx context.Context, j *definition.PrometheusJudge) (*http.Request, error) {
	u, err := url.Parse(j.URL)
	if err != nil {
		return nil, fmt.Errorf("the URL is none")
	}
	u = u.JoinPath("/api/v1/query")
	form := url.Values{"query": {j.Query}}.Encode()
	if len(form) <= 4096 {
		u.RawQuery = form
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

// isErrorType reports whether Prometheus has errors of this type. Error messages of any
// other server are not shown.
func isErrorType(s string) bool {
	switch s {
	case "bad_data", "execution", "timeout", "canceled", "internal", "unavailable", "not_found", "not_acceptable":
		return true
	}
	return false
}

func (a *answer) series() ([]series, error) {
	switch a.Data.ResultType {
	case "vector":
		var all []series
		if err := json.Unmarshal(a.Data.Result, &all); err != nil {
			return nil, fmt.Errorf("a vector that can't be read")
		}
		for _, s := range all {
			if s.Value == nil {
				return nil, fmt.Errorf("the query gives a histogram, needs numbers")
			}
		}
		return all, nil
	case "scalar":
		var one sample
		if err := json.Unmarshal(a.Data.Result, &one); err != nil {
			return nil, fmt.Errorf("a scalar that can't be read")
		}
		return []series{{Value: &one}}, nil
	}
	return nil, fmt.Errorf("the query gives neither an instant vector nor a scalar")
}

func judged(all []series, limit float64) (rollout.Verdict, string) {
	most, of, any := math.Inf(-1), series{}, false
	for _, s := range all {
		if v := float64(*s.Value); !math.IsNaN(v) && (!any || v > most) {
			most, of, any = v, s, true
		}
	}
	words := "the query gives " + strconv.FormatFloat(most, 'g', -1, 64)
	if len(of.Metric) > 0 {
		words += " for " + metric(of.Metric)
	}
	switch {
	case len(all) == 0:
		return rollout.NoTraffic, "the query gives nothing"
	case !any:
		return rollout.NoTraffic, "the query gives no number"
	case most > limit:
		return rollout.Bad, fmt.Sprintf("%s, more than %v", words, limit)
	}
	return rollout.Good, fmt.Sprintf("%s, no more than %v", words, limit)
}

// metric formats labels as PromQL does.
func metric(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if key != "__name__" {
			all = append(all, key+"="+strconv.Quote(labels[key]))
		}
	}
	return labels["__name__"] + "{" + strings.Join(all, ", ") + "}"
}
