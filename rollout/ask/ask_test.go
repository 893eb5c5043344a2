package ask

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is what a judge said.
type told struct {
	verdict rollout.Verdict
	words   string
}

// ask asks a judge about a change.
func ask(t *testing.T, judge definition.Judge) told {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	return askBy(t.Context(), New(transport), judge)
}

func askBy(ctx context.Context, a *Asker, judge definition.Judge) told {
	verdict, words := a.Ask(ctx, look(judge))
	return told{verdict, words}
}

func look(judge definition.Judge) rollout.Look {
	return rollout.Look{
		Change: "c1", Wave: 2, Ask: &judge, Policy: &definition.Rollout{Name: "careful", Waves: make([]definition.Wave, 5)},
		Definitions: []rollout.DefinitionStatus{{Kind: "filter", Name: "hello", What: "changed"}}, Nodes: []string{"edge-1", "edge-2"}, Reached: 2,
	}
}

func prometheusAt(url string) definition.Judge {
	return definition.Judge{Prometheus: &definition.PrometheusJudge{URL: url, Query: `sum(rate(errors[1m])) > 0 or "a&b"`, Max: 0.5}}
}

func webhookAt(url string) definition.Judge {
	return definition.Judge{Webhook: &definition.WebhookJudge{URL: url}}
}

// check compares a verdict, and checks that the words contain some.
func check(t *testing.T, got told, verdict rollout.Verdict, words string) {
	t.Helper()
	if got.verdict != verdict || !strings.Contains(got.words, words) {
		t.Errorf("%s: %q, want %s: …%q…", got.verdict, got.words, verdict, words)
	}
}

func TestPrometheus(t *testing.T) {
	vector := func(series ...string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
	}
	value := func(v string) string { return `{"metric":{},"value":[1700000000.5,"` + v + `"]}` }
	const scalar = `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.5"]}}`
	for name, c := range map[string]struct {
		status  int
		body    string
		verdict rollout.Verdict
		words   string
	}{
		"below":             {200, vector(value("0.25")), rollout.Good, "the query gives 0.25, no more than 0.5"},
		"at the limit":      {200, vector(value("0.5")), rollout.Good, ""},
		"above":             {200, vector(value("0.51")), rollout.Bad, "the query gives 0.51, more than 0.5"},
		"one of two above":  {200, vector(value("0.1"), `{"metric":{"__name__":"e","pod":"a\"b"},"value":[1,"3"]}`), rollout.Bad, `the query gives 3 for e{pod="a\"b"}, more than 0.5`},
		"a scalar":          {200, scalar, rollout.Good, "the query gives 0.5, no more than 0.5"},
		"infinite":          {200, vector(value("+Inf")), rollout.Bad, "+Inf"},
		"infinitely little": {200, vector(value("-Inf")), rollout.Good, "-Inf"},
		"no data":           {200, vector(), rollout.NoTraffic, "the query gives nothing"},
		"NaN":               {200, vector(value("NaN")), rollout.NoTraffic, "no number"},
		"NaN and a number":  {200, vector(value("NaN"), value("0.1")), rollout.Good, "0.1, "},
		"NaN and above":     {200, vector(value("0.7"), value("NaN")), rollout.Bad, "0.7, "},
		"null":              {200, `{"status":"success","data":{"resultType":"vector","result":null}}`, rollout.NoTraffic, ""},

		"a matrix":              {200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, rollout.Unable, "neither an instant vector nor a scalar"},
		"a histogram":           {200, vector(`{"metric":{},"histogram":[1,{"count":"1"}]}`), rollout.Unable, "histogram"},
		"a value that is none":  {200, vector(value("much")), rollout.Unable, "can't be read"},
		"a value not in quotes": {200, vector(`{"metric":{},"value":[1,2]}`), rollout.Unable, "can't be read"},
		"half a pair":           {200, vector(`{"metric":{},"value":[1]}`), rollout.Unable, "can't be read"},
		"a scalar that is none": {200, `{"status":"success","data":{"resultType":"scalar","result":{}}}`, rollout.Unable, "can't be read"},
		"a wrong query":         {400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error"}`, rollout.Unable, "bad_data: invalid parameter"},
		"long words":            {400, `{"status":"error","errorType":"bad_data","error":"` + strings.Repeat("ä", 5000) + `"}`, rollout.Unable, "…"},
		"an error of others":    {500, `{"status":"error","errorType":"secret","error":"token"}`, rollout.Unable, "answers 500 Internal Server Error"},
		"not found":             {404, "<html>token</html>", rollout.Unable, "answers 404 Not Found"},
		"a value, but an error": {503, vector(value("0.1")), rollout.Unable, "answers 503"},
		"not JSON":              {200, "<html>token</html>", rollout.Unable, "is not that of a Prometheus"},
		"nothing":               {200, "", rollout.Unable, "is not that of a Prometheus"},
		"no content":            {204, "", rollout.Unable, "is not that of a Prometheus"},
		"other JSON":            {200, `["token"]`, rollout.Unable, "is not that of a Prometheus"},
		"no status":             {200, `{"data":{"resultType":"scalar","result":[1,"0"]}}`, rollout.Unable, "is not that of a Prometheus"},
		"JSON and more":         {200, scalar + "x", rollout.Unable, "is not that of a Prometheus"},
		"huge":                  {200, vector(value("0." + strings.Repeat("1", maxQuery))), rollout.Unable, "answers more than 256 KiB"},
		"deep":                  {200, strings.Repeat("[", 100_000), rollout.Unable, "is not that of a Prometheus"},
		"not UTF-8":             {200, vector("{\"metric\":{\"a\":\"\xff\"},\"value\":[1,\"1\"]}"), rollout.Bad, "a="},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/prefix/api/v1/query" || r.FormValue("query") != prometheusAt("").Prometheus.Query {
					t.Errorf("asked by %s %s", r.Method, r.URL)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body) // the client may be gone
			}))
			defer s.Close()
			got := ask(t, prometheusAt(s.URL+"/prefix/"))
			check(t, got, c.verdict, c.words)
			if strings.Contains(got.words, "token") || len([]rune(got.words)) > maxWords+1 {
				t.Errorf("told %+v", got)
			}
		})
	}
}

// TestLongQuery checks that a query that is too long for a URL is sent by POST.
func TestLongQuery(t *testing.T) {
	query := strings.Repeat("a+b ", 2000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.RawQuery != "" || r.FormValue("query") != query {
			t.Errorf("asked by %s %.100s", r.Method, r.URL)
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}`)
	}))
	defer s.Close()
	check(t, ask(t, definition.Judge{Prometheus: &definition.PrometheusJudge{URL: s.URL, Query: query}}), rollout.Good, "")
}

func TestWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		verdict rollout.Verdict
		words   string
	}{
		"good":               {200, `{"verdict":"good"}`, rollout.Good, "the webhook says good"},
		"bad":                {200, `{"verdict":"bad","reason":"orders are down by half"}`, rollout.Bad, "the webhook says bad: orders are down by half"},
		"none":               {201, `{"verdict":"none","reason":"ask later","more":1}`, rollout.NoTraffic, "ask later"},
		"long":               {200, `{"verdict":"bad","reason":"` + strings.Repeat("x", 10_000) + `"}`, rollout.Bad, "…"},
		"another word":       {200, `{"verdict":"token"}`, rollout.Unable, "no verdict of good, bad and none"},
		"no word":            {200, `{}`, rollout.Unable, "no verdict"},
		"upper case":         {200, `{"verdict":"GOOD"}`, rollout.Unable, "no verdict"},
		"another type":       {200, `{"verdict":true}`, rollout.Unable, "not JSON"},
		"not JSON":           {200, "token", rollout.Unable, "not JSON"},
		"nothing":            {204, "", rollout.Unable, "not JSON"},
		"half":               {200, `{"verdict":"good"`, rollout.Unable, "not JSON"},
		"a list":             {200, `[{"verdict":"good"}]`, rollout.Unable, "not JSON"},
		"refused":            {403, `{"verdict":"good","reason":"token"}`, rollout.Unable, "answers 403 Forbidden"},
		"broken":             {500, `{"verdict":"good"}`, rollout.Unable, "answers 500"},
		"huge":               {200, `{"verdict":"good","reason":"` + strings.Repeat("x", maxWebhook) + `"}`, rollout.Unable, "answers more than 64 KiB"},
		"huge, and no end":   {200, strings.Repeat(" ", 50<<20), rollout.Unable, "answers more than 64 KiB"},
		"another white word": {200, ` {"verdict" : "good"} ` + "\n", rollout.Good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var told Change
				body, err := io.ReadAll(r.Body)
				if err != nil || json.Unmarshal(body, &told) != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("asked by %s %v: %s (%v)", r.Method, r.Header, body, err)
				}
				if want := `{"id":"c1","policy":"careful","wave":2,"waves":5,"definitions":[{"kind":"filter","name":"hello","what":"changed"}],"nodes":["edge-1","edge-2"],"reached":2}`; string(body) != want {
					t.Errorf("told %s, want %s", body, want)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body) // the client may be gone
			}))
			defer s.Close()
			got := ask(t, webhookAt(s.URL+"/gate?a=b"))
			check(t, got, c.verdict, c.words)
			if strings.Contains(got.words, "token") || len([]rune(got.words)) > maxWords+1 {
				t.Errorf("told %+v", got)
			}
		})
	}
}

// TestNobody checks that a change without Envoys is described with empty lists.
func TestNobody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if want := `{"id":"c1","policy":"careful","wave":2,"waves":5,"definitions":[],"nodes":[],"reached":0}`; err != nil || string(body) != want {
			t.Errorf("told %s, want %s (%v)", body, want, err)
		}
		fmt.Fprint(w, `{"verdict":"good"}`)
	}))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	l := look(webhookAt(s.URL))
	l.Definitions, l.Nodes, l.Reached = nil, nil, 0
	verdict, words := New(transport).Ask(t.Context(), l)
	check(t, told{verdict, words}, rollout.Good, "")
}

// TestBomb checks that a compressed answer is limited by its decompressed size.
func TestBomb(t *testing.T) {
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	if _, err := z.Write(make([]byte, 100<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(small.Bytes()) // the client may be gone
	}))
	defer s.Close()
	check(t, ask(t, webhookAt(s.URL)), rollout.Unable, "answers more than 64 KiB")
	check(t, ask(t, prometheusAt(s.URL)), rollout.Unable, "answers more than 256 KiB")
}

// TestRedirects checks that redirects of a judge are not followed.
func TestRedirects(t *testing.T) {
	var followed atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed.Store(true)
		fmt.Fprint(w, `{"verdict":"good"}`)
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		check(t, ask(t, webhookAt(s.URL)), rollout.Unable, fmt.Sprintf("answers %d, and redirects are not followed", status))
		check(t, ask(t, prometheusAt(s.URL)), rollout.Unable, fmt.Sprintf("answers %d, and redirects are not followed", status))
		s.Close()
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	gone := strings.TrimPrefix(s.URL, "http://")
	s.Close()
	got := ask(t, webhookAt("http://user:secret@"+gone+"/?token=secret"))
	check(t, got, rollout.Unable, "ask "+gone+": ")
	if strings.Contains(got.words, "secret") {
		t.Errorf("told a secret: %s", got.words)
	}
	check(t, ask(t, webhookAt("http://["+gone)), rollout.Unable, "the URL is none") // no Rollout has it
	check(t, ask(t, prometheusAt("http://["+gone)), rollout.Unable, "the URL is none")

	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"verdict":"good"}`) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	check(t, ask(t, webhookAt(secure.URL)), rollout.Unable, "certificate")
}

// TestAddresses checks that judges are subject to the address rules of module downloads
// when they use the same transport.
func TestAddresses(t *testing.T) {
	asker := New(module.Policy{}.Transport())
	for _, url := range []string{"http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://0.0.0.0:9901/"} {
		for _, judge := range []definition.Judge{webhookAt(url), prometheusAt(url)} {
			check(t, askBy(t.Context(), asker, judge), rollout.Unable, "modules may not come from")
		}
	}
}

// TestCredentials checks that credentials in a URL are used.
func TestCredentials(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			t.Errorf("as %q, %q", user, password)
		}
		fmt.Fprint(w, `{"verdict":"good"}`)
	}))
	defer s.Close()
	check(t, ask(t, webhookAt("http://me:secret@"+strings.TrimPrefix(s.URL, "http://"))), rollout.Good, "")
}

// TestConnectionCut checks that an incomplete answer is not used.
func TestConnectionCut(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"verdict":"good"}`)
	}))
	defer s.Close()
	check(t, ask(t, webhookAt(s.URL)), rollout.Unable, "read the answer of")
}

// TestEnds checks that a call ends with its context, whatever the judge does.
func TestEnds(t *testing.T) {
	asked := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not notice that the client leaves
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	check(t, askBy(ctx, New(transport), webhookAt(s.URL)), rollout.Unable, "context canceled") // not: no answer
}
