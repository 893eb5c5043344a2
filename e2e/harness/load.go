package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// LoadConfig says what a [Load] sends.
type LoadConfig struct {
	Address string   // of Envoy's listener; later Load.Target changes it
	Headers []string // each request must reach the upstream with these
	Without []string // and none with these
	// Workers is how many send at once: 0 means two that keep their
	// connection, and one that makes a new one for each request.
	Workers int
	// Pause is a worker's time between requests; 0: 2 ms.
	Pause time.Duration
	// Path is what is asked for; "": "/".
	Path string
	// Send is added to the requests' headers.
	Send http.Header
}

// Load sends requests until it is stopped, and counts.
type Load struct {
	config LoadConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	idle    *sync.Cond // flying is 0
	flying  int
	address string
	counts  Counts
	seen    map[string]time.Time // "name: value" to the answer that had it first
	last    map[string]time.Time // and last
	failed  time.Time            // the last request that did
	took    []time.Duration
}

// Counts are what a load saw.
type Counts struct {
	Requests   int // all that were sent, but for refused ones
	Refused    int // no connection: nothing listens
	Failed     int // an error after the connection, or an answer other than 200
	Unfiltered int // an answer of the upstream to a request without a header that must be there
	Unwanted   int // an answer of the upstream to a request with a header that must not be there
	Errors     []string
}

func (c Counts) String() string {
	s := fmt.Sprintf("%d requests, %d refused, %d failed, %d unfiltered", c.Requests, c.Refused, c.Failed, c.Unfiltered)
	if c.Unwanted > 0 {
		s += fmt.Sprintf(", %d through a filter that is off", c.Unwanted)
	}
	if len(c.Errors) > 0 {
		s += ", such as:\n\t" + strings.Join(c.Errors, "\n\t")
	}
	return s
}

// Bad is how many requests were refused, failed, passed without a filter, or through one
// that is off.
func (c Counts) Bad() int { return c.Refused + c.Failed + c.Unfiltered + c.Unwanted }

// StartLoad sends until ctx is done or the load is stopped.
func StartLoad(ctx context.Context, config LoadConfig) *Load {
	ctx, cancel := context.WithCancel(ctx)
	if config.Workers == 0 {
		config.Workers = 3
	}
	if config.Pause == 0 {
		config.Pause = 2 * time.Millisecond
	}
	if config.Path == "" {
		config.Path = "/"
	}
	l := &Load{config: config, cancel: cancel, address: config.Address, seen: map[string]time.Time{}, last: map[string]time.Time{}}
	l.idle = sync.NewCond(&l.mu)
	for i := range config.Workers {
		l.wg.Go(func() { l.work(ctx, i%3 == 2) })
	}
	return l
}

// Stop ends the load and returns its counts.
func (l *Load) Stop() Counts {
	l.cancel()
	l.wg.Wait()
	return l.Counts()
}

// Counts returns what was counted until now.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.Errors = slices.Clone(c.Errors)
	return c
}

// Target sends the requests to another address from now on.
func (l *Load) Target(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = address
}

// Hold sends no more requests until Target is called, and returns once those
// under way are answered.
func (l *Load) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = ""
	for l.flying > 0 {
		l.idle.Wait()
	}
}

// Seen is when a header first reached the upstream with this value, and nil
// error once it has.
func (l *Load) Seen(header, value string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.seen[textproto.CanonicalMIMEHeaderKey(header)+": "+value]
	if !ok {
		return at, fmt.Errorf("no request had the header %s: %s", header, value)
	}
	return at, nil
}

// LastSeen is when a header last reached the upstream with this value; zero:
// never.
func (l *Load) LastSeen(header, value string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[textproto.CanonicalMIMEHeaderKey(header)+": "+value]
}

// LastFailed is when the last request failed; zero: none has.
func (l *Load) LastFailed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Latency is the request time that the given share of requests did not exceed.
func (l *Load) Latency(share float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Quantile(l.took, share)
}

// Quantile is the smallest of the values that the given share does not exceed.
func Quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func (l *Load) work(ctx context.Context, fresh bool) {
	transport := &http.Transport{DisableKeepAlives: fresh}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	pause := time.NewTicker(l.config.Pause)
	defer pause.Stop()
	for ctx.Err() == nil {
		l.mu.Lock()
		address := l.address
		if address != "" {
			l.flying++
		}
		l.mu.Unlock()
		if address != "" {
			l.request(ctx, client, address)
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// request sends one and counts it. One that ends because the load does is not
// counted.
func (l *Load) request(ctx context.Context, client *http.Client, address string) {
	start := time.Now()
	headers, err := Request(ctx, client, "http://"+address+l.config.Path, l.config.Send)
	end := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flying--; l.flying == 0 {
		l.idle.Broadcast()
	}
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		l.counts.Refused++
		l.note(err)
		return
	}
	l.counts.Requests++
	if err != nil {
		l.counts.Failed++
		l.failed = end
		l.note(err)
		return
	}
	l.took = append(l.took, end.Sub(start))
	for name, values := range headers {
		for _, v := range values {
			key := name + ": " + v
			if _, ok := l.seen[key]; !ok {
				l.seen[key] = end
			}
			l.last[key] = end
		}
	}
	for _, name := range l.config.Headers {
		if headers.Get(name) == "" {
			l.counts.Unfiltered++
			l.note(fmt.Errorf("without %s", name))
			return
		}
	}
	for _, name := range l.config.Without {
		if headers.Get(name) != "" {
			l.counts.Unwanted++
			l.note(fmt.Errorf("with %s: %s", name, headers.Get(name)))
			return
		}
	}
}

// note keeps the first errors for people.
func (l *Load) note(err error) {
	if len(l.counts.Errors) < 5 {
		l.counts.Errors = append(l.counts.Errors, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// Request sends a GET and returns the headers that the upstream saw. An answer
// other than 200 is an error.
func Request(ctx context.Context, client *http.Client, url string, send http.Header) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range send {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the upstream's answer: %w", err)
	}
	headers, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(body, "\r\n"...)))).ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("the upstream's answer %.200q: %w", body, err)
	}
	return http.Header(headers), nil
}

// Dial reports whether something listens at an address.
func Dial(address string) error {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
