package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// TCPConfig says what a [TCP] does.
type TCPConfig struct {
	Address string // of a listener before an upstream that sends back what it gets
	Kept    int    // connections that are kept open; one more is opened, used and closed all the time
}

// TCP speaks on connections until it is stopped: a line, and the same line back,
// behind what filters have put before it.
type TCP struct {
	config TCPConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	counts TCPCounts
	kept   map[int]string // what is put before the lines of each that is kept
	seen   map[string]time.Time
}

// TCPCounts are what it saw.
type TCPCounts struct {
	Connections int // all that were opened
	Lines       int // that came back
	Dropped     int // connections that were refused, or ended by the other side
	Unfiltered  int // lines with nothing before them
	Changed     int // lines with something else before them than the one before on that connection
	Errors      []string
}

// Bad counts what must not be.
func (c TCPCounts) Bad() int { return c.Dropped + c.Unfiltered + c.Changed }

func (c TCPCounts) String() string {
	return fmt.Sprintf("%d connections, %d lines: %d dropped, %d unfiltered, %d changed %s",
		c.Connections, c.Lines, c.Dropped, c.Unfiltered, c.Changed, strings.Join(c.Errors, "; "))
}

// StartTCP begins.
func StartTCP(ctx context.Context, config TCPConfig) *TCP {
	ctx, cancel := context.WithCancel(ctx)
	t := &TCP{config: config, cancel: cancel, kept: map[int]string{}, seen: map[string]time.Time{}}
	for n := range config.Kept {
		t.wg.Go(func() { t.connection(ctx, n, -1) })
	}
	t.wg.Go(func() {
		for pause(ctx, 5*time.Millisecond) {
			t.connection(ctx, -1, 2)
		}
	})
	return t
}

// Stop ends all and gives the counts.
func (t *TCP) Stop() TCPCounts {
	t.cancel()
	t.wg.Wait()
	return t.Counts()
}

// Counts are what it saw so far.
func (t *TCP) Counts() TCPCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Errors = slices.Clone(c.Errors)
	return c
}

// Plus is the sum of both.
func (c TCPCounts) Plus(o TCPCounts) TCPCounts {
	return TCPCounts{c.Connections + o.Connections, c.Lines + o.Lines, c.Dropped + o.Dropped, c.Unfiltered + o.Unfiltered,
		c.Changed + o.Changed, slices.Concat(c.Errors, o.Errors)}
}

// Seen is when something was first put before a line of a new connection.
func (t *TCP) Seen(tag string) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.seen[tag]; ok {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("no connection has %q; seen: %v", tag, t.seen)
}

// Kept is what is put before the lines of the connections that are kept.
func (t *TCP) Kept() map[int]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.kept)
}

// connection opens one and speaks so many lines; below 0: until ctx ends.
func (t *TCP) connection(ctx context.Context, kept, lines int) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.config.Address)
	if ctx.Err() != nil {
		return
	}
	t.count(func(c *TCPCounts) { c.Connections++ })
	if err != nil {
		t.dropped(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	from, last := bufio.NewReader(conn), ""
	for n := 0; lines < 0 || n < lines; n++ {
		tag, err := exchangeLine(conn, from, fmt.Sprintf("line %d\n", n))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.dropped(fmt.Errorf("line %d: %w", n, err))
			return
		}
		t.line(kept, tag, n > 0 && tag != last)
		last = tag
		if lines < 0 && !pause(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// exchangeLine gives what stands before a line that comes back.
func exchangeLine(conn net.Conn, from *bufio.Reader, line string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(line)); err != nil {
		return "", err
	}
	back, err := from.ReadString('\n')
	if err != nil {
		return "", err
	}
	tag, ok := strings.CutSuffix(back, line)
	if !ok {
		return "", fmt.Errorf("%q came back for %q", back, line)
	}
	return tag, nil
}

func (t *TCP) line(kept int, tag string, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Lines++
	if tag == "" {
		t.counts.Unfiltered++
	}
	if changed {
		t.counts.Changed++
	}
	if kept >= 0 {
		t.kept[kept] = tag
	} else if _, known := t.seen[tag]; !known {
		t.seen[tag] = time.Now()
	}
}

func (t *TCP) dropped(err error) {
	t.count(func(c *TCPCounts) {
		c.Dropped++
		if len(c.Errors) < 5 && !errors.Is(err, net.ErrClosed) {
			c.Errors = append(c.Errors, err.Error())
		}
	})
}

func (t *TCP) count(add func(*TCPCounts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add(&t.counts)
}
