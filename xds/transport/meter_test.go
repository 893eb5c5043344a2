package transport

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"wasmxds/xds/patience"
)

// metering is a meter with its input.
type metering struct {
	*meter
	t   *testing.T
	buf bytes.Buffer
	*http2.Framer
	step int
}

func meteringOf(t *testing.T, step int) *metering {
	c := &Conn{Conn: &net.TCPConn{}, closed: make(chan struct{})}
	c.listener = &Listener{messages: patience.New(1<<20, time.Hour), accepting: newAcceptLimiter(), log: slog.New(slog.DiscardHandler)}
	m := &metering{meter: newMeter(c), t: t, step: step}
	m.buf.WriteString(http2.ClientPreface)
	m.Framer = http2.NewFramer(&m.buf, nil)
	m.AllowIllegalWrites = true
	return m
}

// held checks how many bytes are held once everything written so far was read, in pieces of
// a given size.
func (m *metering) held(what string, want int) {
	m.t.Helper()
	for m.buf.Len() > 0 {
		m.meter.read(m.buf.Next(m.step))
	}
	if got := m.conn.listener.messages.Bytes(); got != want {
		m.t.Errorf("%s, %d bytes at a time: %d are held, want %d", what, m.step, got, want)
	}
}

func (m *metering) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func prefixed(size, n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, n)...)
}

func TestMeterCountsWhatIsHeld(t *testing.T) {
	for _, step := range []int{1, 7, 1 << 20} {
		m := meteringOf(t, step)
		m.must(m.WriteSettings())
		m.must(m.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 100), EndHeaders: true}))
		m.held("a stream that says nothing", streamCost)
		m.must(m.WriteData(1, false, prefixed(10, 4)))
		m.must(m.WriteDataPadded(1, false, make([]byte, 5), make([]byte, 200)))
		m.held("a part of its first message", streamCost+2*frameCost+4+5)
		m.must(m.WriteData(1, false, append(make([]byte, 1), prefixed(0, 0)...)))
		m.held("all of it, and an empty one", 0)
		m.must(m.WriteData(1, false, prefixed(1000, 500)))
		m.must(m.WritePing(false, [8]byte{}))
		m.held("half a message", messageCost+500)
		m.must(m.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: make([]byte, 100), EndHeaders: true}))
		m.must(m.WriteData(5, false, prefixed(1000, 500))) // of no stream
		m.held("and another stream", messageCost+500+streamCost)
		m.must(m.WriteData(3, true, nil))
		m.held("which ends", messageCost+500)
		m.must(m.WriteRSTStream(1, http2.ErrCodeCancel))
		m.held("and is reset", 0)

		m.must(m.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: make([]byte, 100), EndHeaders: true}))
		m.held("a third", streamCost)
		var out bytes.Buffer
		server := http2.NewFramer(&out, nil)
		m.must(server.WriteSettings())
		m.must(server.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: make([]byte, 10), EndHeaders: true}))
		m.must(server.WriteData(7, false, make([]byte, 1000)))
		for range 2 {
			for out.Len() > 0 {
				m.wrote(out.Next(step))
			}
			if m.conn.listener.messages.Bytes() != streamCost {
				t.Error("an answer ended it")
			}
			m.held("which is answered", streamCost)
		}
		m.must(server.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: make([]byte, 10), EndHeaders: true, EndStream: true}))
		for out.Len() > 0 {
			m.wrote(out.Next(step))
		}
		m.held("and ended by the server", 0)

		m.must(m.WriteHeaders(http2.HeadersFrameParam{StreamID: 9, BlockFragment: make([]byte, 100), EndHeaders: true}))
		m.held("a fourth", streamCost)
		m.meter.close()
		m.held("and the end", 0)
	}
}

// TestMeterCostsWholeMessagesNothing checks that a message that arrives whole, as most do,
// is not delayed.
func TestMeterCostsWholeMessagesNothing(t *testing.T) {
	m := meteringOf(t, 1<<20)
	m.must(m.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 100), EndHeaders: true}))
	m.must(m.WriteData(1, false, prefixed(10, 10)))
	m.held("a stream with its first message", 0)
	m.must(m.WriteData(1, false, append(prefixed(100, 100), prefixed(0, 0)...)))
	whole := bytes.Clone(m.buf.Bytes())
	if n := testing.AllocsPerRun(100, func() { m.meter.read(whole) }); n != 0 {
		t.Errorf("it costs %v allocations", n)
	}
	m.held("whole messages", 0)
}

// FuzzMeter checks that a meter never fails, whatever it reads, and holds nothing in the
// end.
func FuzzMeter(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 4, 0, 0, 0, 1, 0, 0, 5, 0, 8, 0, 0, 0, 1, 9, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		m := meteringOf(t, min(max(step, 1), 1<<10))
		m.buf.Write(b)
		for m.buf.Len() > 0 {
			m.meter.read(m.buf.Next(m.step))
		}
		m.meter.close()
		m.held("in the end", 0)
	})
}
