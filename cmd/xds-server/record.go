package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/admin"
	"wasmxds/signal/recording"
	"wasmxds/try/har"
)

const recordHelp = `Record requests that an Envoy serves, and write them as FilterTests or as a HAR file, for
xds-server try to play them through another version of a filter.

The requests come from the access loggers that xds-server adds to listeners (--signals of
serve). For the time of the recording the Envoy reports all requests instead of a sample;
no listener changes. A recording has method, host, path, the headers user-agent and
referer, and the status of the upstream's response. serve --record-headers adds other
request headers. Bodies and responses are not recorded, nor are methods that Envoy's
access logs have no name for. Envoy logs requests as they left its filters, with headers
that filters set.

Values that may be secret are masked on the server: headers and query parameters whose
names contain words such as auth, cookie, token, key or session, and values that look like
credentials or tokens, also in the path.

Recording is an operation: it needs the token of operators. It ends after --for or --count,
or when this command ends, and "xds-server status" shows it meanwhile. With several
replicas, ask any of them. If no request has been reported after 10 seconds, this command
says what may be wrong, and goes on.`

const recordExample = `  xds-server record --node edge-1 --for 30s --filter auth --admin-token-file operate.token > recorded.yaml
  xds-server try definitions/auth.yaml recorded.yaml

  xds-server record --node edge-1 --headers 'x-tenant,accept*' -o har --admin-token-file operate.token > recorded.har
  xds-server try auth-1.4.wasm --har recorded.har --with auth-1.3.wasm`

type recordFlags struct {
	adminFlags
	options admin.RecordOptions
	limit   time.Duration
	filter  string
	output  string
}

func newRecord() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use: "record --node ID", Short: "Record requests of an Envoy, to try filters with", Long: recordHelp, Example: recordExample,
		Args: positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.add(flags, "token `file` for the admin address; recording needs the token of operators")
	flags.StringVar(&f.options.Node, "node", "", "node `ID` of the Envoy")
	flags.DurationVar(&f.limit, "for", 30*time.Second, "`time` to record, at most "+recording.MaxTime.String())
	flags.IntVar(&f.options.Count, "count", 100, fmt.Sprintf("`number` of requests to end after, at most %d", recording.MaxCount))
	flags.StringSliceVar(&f.options.Headers, "headers", []string{"*"}, "`names` of request headers to record, or patterns such as x-*; comma-separated")
	flags.StringVar(&f.filter, "filter", "", "`name` of the filter that the FilterTest is for")
	flags.StringVarP(&f.output, "output", "o", "filtertest", "output `format`: filtertest or har")
	completeValues(cmd, "output", "filtertest", "har")
	return cmd
}

func (f *recordFlags) run(ctx context.Context, out, errs io.Writer) error {
	switch {
	case f.output != "filtertest" && f.output != "har":
		return misused(fmt.Errorf("--output %s: must be filtertest or har", f.output))
	case f.options.Node == "":
		return misused(errors.New("--node is missing: xds-server status lists the Envoys"))
	case f.output == "filtertest" && f.filter == "":
		return misused(errors.New("--filter is missing: a FilterTest names its filter; or write a HAR file with -o har"))
	case f.limit <= 0 || f.limit > recording.MaxTime:
		return misused(fmt.Errorf("--for %v: must be more than 0 and at most %v", f.limit, recording.MaxTime))
	}
	client, err := f.client(f.limit + time.Minute)
	if err != nil {
		return err
	}
	f.options.Seconds = f.limit.Seconds()
	noting, stop := context.WithCancel(ctx)
	var noted sync.WaitGroup
	noted.Go(func() { f.note(noting, client, errs) })
	done, err := client.Record(ctx, f.options)
	stop()
	noted.Wait()
	if err != nil {
		return asked(err)
	}
	if len(done.Requests) == 0 {
		return wrong(fmt.Errorf("%s has reported no request in %v: %s", f.options.Node, f.limit, mayBeWrong))
	}
	if f.output == "har" {
		return har.Write(out, archived(done.Requests))
	}
	return printTests(out, f.filter, done.Requests)
}

// mayBeWrong says why an Envoy that can be told to report requests reports none, and how to find out.
const mayBeWrong = "it had none; or its listeners are static or of another control plane, or from before --signals (xds-server status -o json lists its listeners); " +
	"or it can't reach --signals-cluster (see cluster.xds_cluster.upstream_cx_connect_fail in its admin interface)"

// silence is how long a recording may have no request before that is told.
const silence = 10 * time.Second

// note says what may be wrong if no request is reported for a while.
func (f *recordFlags) note(ctx context.Context, client *admin.Client, errs io.Writer) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(silence):
	}
	st, err := client.Status(ctx)
	if err != nil {
		return // the recording itself tells what is wrong
	}
	for _, r := range st.Recordings {
		if r.Node == f.options.Node && r.Taken == 0 {
			fmt.Fprintf(errs, "%s has reported no request in %v: %s; waiting until %s\n", r.Node, silence, mayBeWrong, r.Until.Local().Format(time.TimeOnly))
		}
	}
}

// recordedTest is a FilterTest as it is written.
type recordedTest struct {
	Kind   string         `json:"kind"`
	Filter string         `json:"filter"`
	Cases  []recordedCase `json:"cases"`
}

type recordedCase struct {
	Name    string `json:"name"`
	Request struct {
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Headers map[string]string `json:"headers"`
	} `json:"request"`
	Response *recordedResponse `json:"response,omitempty"`
}

type recordedResponse struct {
	Status int `json:"status"`
}

func printTests(out io.Writer, filter string, requests []recording.Request) error {
	t := recordedTest{Kind: "FilterTest", Filter: filter}
	for i, q := range requests {
		c := recordedCase{Name: fmt.Sprintf("%d: %s %s", i+1, q.Method, q.Path)}
		c.Name = strings.ToValidUTF8(c.Name[:min(len(c.Name), 100)], "")
		c.Request.Method, c.Request.Path = q.Method, q.Path
		c.Request.Headers = map[string]string{"host": q.Host}
		for _, h := range q.Headers {
			c.Request.Headers[h[0]] = h[1]
		}
		if q.Status != 0 {
			c.Response = &recordedResponse{q.Status}
		}
		t.Cases = append(t.Cases, c)
	}
	doc, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return printYAML(out, doc)
}

func archived(requests []recording.Request) []har.Recorded {
	var all []har.Recorded
	for _, q := range requests {
		all = append(all, har.Recorded{
			At: q.At, Method: q.Method, URL: "http://" + q.Host + q.Path, Status: q.Status,
			Headers: append([][2]string{{"host", q.Host}}, q.Headers...),
		})
	}
	return all
}
