package ask

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"unicode/utf8"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// constant is a judge that always answers the same.
type constant struct {
	status int
	body   []byte
}

func (a constant) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// says asks a judge that answers so, and checks that this gives a verdict in a bounded
// number of words.
func (a constant) says(t *testing.T, judge definition.Judge) told {
	t.Helper()
	got := askBy(t.Context(), New(a), judge)
	if !slices.Contains([]rollout.Verdict{rollout.Good, rollout.Bad, rollout.NoTraffic, rollout.Unable}, got.verdict) {
		t.Errorf("the verdict is %q", got.verdict)
	}
	if n := utf8.RuneCountInString(got.words); n == 0 || n > maxWords+1 || !utf8.ValidString(got.words) {
		t.Errorf("%d words: %q", n, got.words)
	}
	if got.verdict != rollout.Unable && a.status/100 != 2 {
		t.Errorf("with status %d it says %s: %s", a.status, got.verdict, got.words)
	}
	return got
}

// FuzzPrometheus has a judge answer anything, and what a Prometheus answers for two values:
// the verdict must be the one of these.
func FuzzPrometheus(f *testing.F) {
	for _, body := range []string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1700000000.5,"0.25"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`,
		`{"status":"success","data":{"resultType":"scalar","result":[1700000000,"NaN"]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		`{"status":"error","errorType":"bad_data","error":"parse error"}`,
		`{"status":"success","data":{"resultType":"vector","result":[null]}}`, `[]`, ``,
	} {
		f.Add(200, []byte(body), 0.25, 0.75, "web", 0.5)
	}
	f.Add(503, []byte("<html>"), math.NaN(), math.Inf(1), "\xff\"\n", math.Inf(-1))
	f.Fuzz(func(t *testing.T, status int, body []byte, a, b float64, label string, limit float64) {
		judge := prometheusAt("http://prometheus")
		judge.Prometheus.Max = limit
		constant{status, body}.says(t, judge)

		type sampled struct {
			Metric map[string]string `json:"metric"`
			Value  []any             `json:"value"`
		}
		var all []sampled
		for _, v := range []float64{a, b} {
			all = append(all, sampled{map[string]string{"job": label, label: "x"}, []any{1700000000.123, strconv.FormatFloat(v, 'f', -1, 64)}})
		}
		result, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		body = []byte(`{"status":"success","data":{"resultType":"vector","result":` + string(result) + `}}`)
		if len(body) > maxQuery {
			return
		}
		want := rollout.Good
		switch {
		case a > limit || b > limit:
			want = rollout.Bad
		case math.IsNaN(a) && math.IsNaN(b):
			want = rollout.NoTraffic
		}
		if got := (constant{200, body}).says(t, judge); got.verdict != want {
			t.Errorf("for %v and %v, at most %v: %s: %s", a, b, limit, got.verdict, got.words)
		}
	})
}

// FuzzWebhook has a webhook answer anything, and each of its verdicts with a reason.
func FuzzWebhook(f *testing.F) {
	for _, body := range []string{`{"verdict":"good"}`, `{"verdict":"bad","reason":"orders are fewer"}`, `{"verdict":"none"}`, `{"verdict":7}`, `{"verdict":"great"}`, `null`, `"good"`, ``} {
		f.Add(200, []byte(body), "why")
	}
	f.Add(302, []byte{0xff}, "\xff\x00\u202e")
	f.Fuzz(func(t *testing.T, status int, body []byte, reason string) {
		judge := webhookAt("http://hook")
		got := constant{status, body}.says(t, judge)
		if len(body) > maxWebhook && got.verdict != rollout.Unable {
			t.Errorf("to %d bytes it says %s", len(body), got.verdict)
		}
		for said, want := range map[string]rollout.Verdict{"good": rollout.Good, "bad": rollout.Bad, "none": rollout.NoTraffic} {
			body, err := json.Marshal(opinion{said, reason})
			if err != nil {
				t.Fatal(err)
			}
			if len(body) > maxWebhook {
				return
			}
			if got := (constant{status: 200, body: body}).says(t, judge); got.verdict != want {
				t.Errorf("for %s: %s: %s", body, got.verdict, got.words)
			}
		}
	})
}
