package stream

import "wasmxds/module/dryrun/abi"

// Connection is a TCP connection with what each side sends, in the pieces that Envoy reads.
type Connection struct {
	Downstream, Upstream [][]byte
	UpstreamFirst        bool    // the upstream speaks first
	Pieces               []Piece // in this order, after those of Downstream and Upstream
	Closes               Closer  // who closes first; by default the downstream
}

// Piece is what one side sends.
type Piece struct {
	Upstream bool
	Data     []byte
}

// Closer is who closes a connection.
type Closer string

const (
	ClosedDownstream Closer = "downstream" // the client has no more to send
	ClosedUpstream   Closer = "upstream"   // the upstream has no more to send
	ClosedReset      Closer = "reset"      // the client is gone
	ClosedFilter     Closer = "filter"     // in a result: the filter closed it, or Envoy on its behalf
)

// How proxy_on_downstream_connection_close is told who closed (proxy_peer_type_t).
const (
	closedUnknown = 0
	closedLocal   = 1
	closedRemote  = 2
)

// TCP is the state machine of one connection that goes through a network filter, which a
// TCP proxy follows.
type TCP struct {
	vm       VM
	options  Options
	given    Connection
	out      Connection
	steps    []func()
	opened   bool // the upstream has a connection
	created  bool
	finished bool

	failedBefore bool    // the module had trapped before this connection
	reading      *Buffer // what the client has sent and the proxy has not taken yet
	writing      *Buffer // what the upstream has sent and the client has not got yet
	readEnd      bool
	readOut      bool // the end has been passed on
	seen         [2]*Buffer
	received     int64 // bytes from the client
	sent         int64 // bytes to the client
}

// NewTCP returns the state machine of a connection that does not exist yet.
func NewTCP(vm VM, c Connection, options Options) *TCP {
	t := &TCP{vm: vm, options: options, given: c, reading: new(Buffer), writing: new(Buffer)}
	t.steps = append(t.steps, t.open)
	var down, up []func()
	for _, b := range c.Downstream {
		down = append(down, func() { t.read(b, false) })
	}
	for _, b := range c.Upstream {
		up = append(up, func() { t.write(b, false) })
	}
	if c.UpstreamFirst {
		down, up = up, down
	}
	t.steps = append(append(t.steps, down...), up...)
	for _, p := range c.Pieces {
		if p.Upstream {
			t.steps = append(t.steps, func() { t.write(p.Data, false) })
		} else {
			t.steps = append(t.steps, func() { t.read(p.Data, false) })
		}
	}
	switch c.Closes {
	case ClosedReset:
		t.steps = append(t.steps, func() { t.close(closedRemote, ClosedReset) })
	case ClosedUpstream:
		t.steps = append(t.steps, func() { t.write(nil, true) }, func() { t.read(nil, true) }, func() { t.close(closedRemote, ClosedUpstream) })
	default:
		t.steps = append(t.steps, func() { t.read(nil, true) }, func() { t.write(nil, true) }, func() { t.close(closedLocal, ClosedDownstream) })
	}
	return t
}

// Step delivers what comes next, and reports whether there was anything.
func (t *TCP) Step() bool {
	if t.finished || len(t.steps) == 0 || len(t.steps) == 1 && t.Paused() != "" {
		return false
	}
	step := t.steps[0]
	t.steps = t.steps[1:]
	step()
	return true
}

// Finished reports whether the connection has ended.
func (t *TCP) Finished() bool { return t.finished }

// Paused returns what the filter holds up.
func (t *TCP) Paused() string {
	switch {
	case !t.created:
		return ""
	case !t.opened:
		return "connection"
	case len(t.reading.bytes) > 0 || t.readEnd && !t.readOut:
		return "downstream data"
	case len(t.writing.bytes) > 0:
		return "upstream data"
	}
	return ""
}

// GiveUp ends a connection that the filter never continues.
func (t *TCP) GiveUp() {
	if !t.finished {
		t.close(closedRemote, ClosedReset)
	}
}

// Result returns the outcome.
func (t *TCP) Result(paused string) Result { return Result{Connection: &t.out, Paused: paused} }

func (t *TCP) open() {
	t.failedBefore = t.vm.Failed()
	t.vm.Create()
	t.created = true
	status := t.checked(func() uint32 {
		result, found := t.vm.Call("proxy_on_new_connection")
		return t.decided(found, result)
	})
	if status == 0 && !t.finished {
		t.opened = true
	}
}

// read delivers what the client sends.
func (t *TCP) read(b []byte, end bool) {
	t.reading.bytes = append(t.reading.bytes, b...)
	t.received += int64(len(b))
	t.readEnd = end
	if !t.opened {
		return // Envoy reads nothing from a connection that is held up
	}
	t.seen[0] = t.reading
	status := t.checked(func() uint32 {
		result, found := t.vm.Call("proxy_on_downstream_data", uint32(len(t.reading.bytes)), bit(end))
		return t.decided(found, result)
	})
	if status == 0 {
		t.seen[0] = nil
		t.passOn()
	}
}

// passOn passes to the TCP proxy what was read.
func (t *TCP) passOn() {
	if t.finished {
		return
	}
	t.opened = true
	if b := t.reading.bytes; len(b) > 0 {
		t.out.Downstream = append(t.out.Downstream, b)
		t.reading.bytes = nil
	}
	t.readOut = t.readEnd
}

// write delivers what the upstream sends, if it has a connection.
func (t *TCP) write(b []byte, end bool) {
	if !t.opened {
		return
	}
	t.writing.bytes = append(t.writing.bytes, b...)
	t.seen[1] = t.writing
	status := t.checked(func() uint32 {
		result, found := t.vm.Call("proxy_on_upstream_data", uint32(len(t.writing.bytes)), bit(end))
		return t.decided(found, result)
	})
	if status == 0 && !t.finished {
		t.seen[1] = nil
		if len(t.writing.bytes) > 0 {
			t.out.Upstream = append(t.out.Upstream, t.writing.bytes)
			t.sent += int64(len(t.writing.bytes))
			t.writing.bytes = nil
		}
	}
	if end && !t.finished {
		t.tell("proxy_on_upstream_connection_close", closedUnknown)
	}
}

// Continue does what proxy_continue_stream does for data of the client, when the host call
// has returned.
func (t *TCP) Continue() { t.passOn() }

// Close does what proxy_close_stream does, when the host call has returned.
func (t *TCP) Close() {
	if !t.finished {
		t.close(closedLocal, ClosedFilter)
	}
}

func (t *TCP) close(how uint32, by Closer) {
	t.finished, t.out.Closes = true, by
	if !t.created {
		return
	}
	t.tell("proxy_on_downstream_connection_close", how)
	t.tell("proxy_on_done")
	t.tell("proxy_on_log")
	t.tell("proxy_on_delete")
}

// Data returns what the module can access of the data, or nil if it can't access any now.
func (t *TCP) Data(b abi.Buffer) *Buffer { return t.seen[b-abi.DownstreamData] }

func (t *TCP) tell(callback string, args ...uint32) {
	if t.vm.Failed() {
		return
	}
	t.vm.Call(callback, args...)
	t.vm.After()
}

func (t *TCP) decided(found bool, status uint32) uint32 {
	if !found {
		return 0
	}
	status = min(status, 1)
	if !t.vm.Failed() {
		t.vm.Did(trailersActions[status])
	}
	return status
}

// checked calls a callback and then does what the callback has requested. If the module
// traps, the connection is closed. If it had trapped before, the connection may pass.
func (t *TCP) checked(call func() uint32) uint32 {
	if t.vm.Failed() {
		return t.failed()
	}
	status := call()
	defer t.vm.After()
	if t.vm.Failed() {
		return t.failed()
	}
	return status
}

func (t *TCP) failed() uint32 {
	if t.options.FailOpen && t.failedBefore {
		return 0
	}
	t.Close()
	return 1
}
