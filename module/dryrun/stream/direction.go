package stream

// iteration is whether the filter lets pass what arrives.
type iteration int

const (
	iterating  iteration = iota
	stopped              // until the filter continues; it still sees more of the body
	stoppedAll           // until the filter continues; it sees nothing more
)

// Actions that the filter returns.
const (
	headersContinue     = 0
	headersStop         = 1
	headersStopBuffer   = 3 // stops all
	headersStopAll      = 4
	dataContinue        = 0
	dataStopBuffer      = 1
	dataStopWatermark   = 2
	dataStopNoBuffer    = 3
	trailersContinue    = 0
	trailersStop        = 1
	defaultBufferLimit  = 1 << 20 // bytes that Envoy buffers for a stream by default
	bufferLimitReply413 = "request_payload_too_large"
	bufferLimitReply500 = "response_payload_too_large"
)

// direction is the path of a request to the upstream, or of a response to the client,
// through one filter: Envoy's FilterManager, and the state that its Wasm filter keeps of
// that path.
type direction struct {
	http   *HTTP
	what   string // request, response
	limits string // response code details if too much is buffered
	code   int

	source source // what has not arrived yet
	came   int64  // bytes of the body that have arrived

	headers  *Headers
	trailers *Headers
	buffered *Buffer

	state     iteration
	started   bool // the headers have arrived
	continued bool // the headers have left
	complete  bool // all of it has arrived
	ended     bool // the filter has seen the end
	current   bool // this filter has yet to see the buffered data
	streaming bool // a full buffer pauses the source and is not an error
	aborted   bool // aborted by a local reply
	calling   bool // the filter is being called

	// What the filter can access.
	seenHeaders  *Headers
	seenTrailers *Headers
	seenBody     *Buffer
	buffering    bool // the filter sees all buffered data

	out outgoing
}

// outgoing is what has left the filter.
type outgoing struct {
	started, ended bool
	headers        [][2]string
	body           [][]byte
	trailers       *Headers
}

// arrive delivers headers.
func (d *direction) arrive(headers *Headers, end bool) {
	d.headers, d.complete, d.started = headers, end, true
	d.doHeaders(end)
}

func (d *direction) doHeaders(end bool) {
	d.calling, d.ended = true, end
	status := d.filterHeaders(end)
	d.calling = false
	if d.aborted {
		d.state = stopped
		d.http.executeReply()
		return
	}
	switch status {
	case headersStop:
		d.state = stopped
	case headersStopBuffer:
		d.state, d.streaming = stoppedAll, false
	case headersStopAll:
		d.state, d.streaming = stoppedAll, true
	default:
		d.continued = true
		d.leaveHeaders(end)
	}
}

// arriveData delivers a piece of the body.
func (d *direction) arriveData(data *Buffer, end bool) {
	d.complete = d.complete || end
	d.came += int64(len(data.bytes))
	d.showData(data, end)
}

// showData shows data to the filter.
func (d *direction) showData(data *Buffer, end bool) {
	if d.http.over(d) {
		return
	}
	if d.state == stoppedAll {
		d.buffer(data)
		return
	}
	if d.ended {
		return
	}
	had := d.trailers != nil
	d.ended = end && !had
	d.calling = true
	status := d.filterData(data, d.ended)
	d.calling = false
	if d.aborted {
		d.http.executeReply()
		return
	}
	added := !had && d.trailers != nil
	if d.afterData(status, data) {
		d.leaveData(data, end && d.trailers == nil)
	}
	if added {
		d.doTrailers()
	}
}

// afterData reports whether data continues past the filter.
func (d *direction) afterData(status uint32, data *Buffer) bool {
	if status == dataContinue {
		if d.state != stopped {
			return true
		}
		d.buffer(data)
		d.commonContinue()
		return false
	}
	d.state = stopped
	switch {
	case status == dataStopBuffer || status == dataStopWatermark:
		d.streaming = status == dataStopWatermark
		d.buffer(data)
	case d.complete && d.trailers == nil && d.buffered == nil:
		d.buffered = new(Buffer) // so that its end is sent when the filter continues
	}
	return false
}

// buffer keeps data until the filter continues.
func (d *direction) buffer(data *Buffer) {
	if d.buffered == data {
		return
	}
	if d.buffered == nil {
		d.buffered = new(Buffer)
	}
	d.buffered.move(data)
	d.checkLimit()
}

func (d *direction) full() bool { return len(d.buffered.Bytes()) > defaultBufferLimit }

// checkLimit sends a local reply if too much is buffered.
func (d *direction) checkLimit() {
	if d.full() && !d.streaming && !d.aborted {
		d.http.reply(localReply{code: d.code, body: reason(d.code), details: d.limits})
	}
}

// arriveTrailers delivers the trailers.
func (d *direction) arriveTrailers(trailers *Headers) {
	d.trailers, d.complete = trailers, true
	d.showTrailers()
}

// doTrailers continues with trailers that were added or held up.
func (d *direction) doTrailers() {
	if d.current {
		d.showTrailers()
	} else if !d.http.over(d) {
		d.leaveTrailers()
	}
}

func (d *direction) showTrailers() {
	if d.http.over(d) || d.state == stoppedAll {
		return
	}
	d.calling = true
	status := d.filterTrailers()
	d.calling, d.ended = false, true
	if d.aborted {
		d.http.executeReply()
		status = trailersStop
	}
	switch {
	case status == trailersStop:
		if d.state == iterating {
			d.state = stopped
		}
	case d.state == stopped:
		d.commonContinue()
	default:
		d.leaveTrailers()
	}
}

// commonContinue continues with everything that was held up.
func (d *direction) commonContinue() {
	if d.http.finished || !d.started || d.http.replied(d) || d.state == iterating && d.continued {
		return
	}
	if d.state == stoppedAll {
		d.current = true
	}
	d.state = iterating
	if !d.continued {
		d.continued = true
		d.leaveHeaders(d.complete && d.buffered == nil && d.trailers == nil)
	}
	had := d.trailers != nil
	if d.buffered != nil {
		data, end := d.buffered, d.complete && !had
		if d.current {
			d.showBuffered(end)
		} else {
			d.buffered = nil
			d.leaveData(data, end)
		}
	}
	if had {
		d.doTrailers()
	}
	d.current = false
}

// showBuffered shows the buffered data to the filter, which may change it in place.
func (d *direction) showBuffered(end bool) {
	data := d.buffered
	d.showData(data, end)
	if d.state == iterating && d.buffered == data {
		d.buffered = nil
	}
}

func (d *direction) leaveHeaders(end bool) {
	if !d.out.started && d.http.checkHeaders(d) {
		d.out.started, d.out.ended = true, end
		d.out.headers = d.http.sent(d)
		d.http.leftHeaders(d)
		d.http.left(d)
	}
}

func (d *direction) leaveData(data *Buffer, end bool) {
	if !d.out.started || d.out.ended {
		return
	}
	if len(data.bytes) > 0 {
		d.out.body = append(d.out.body, data.bytes)
	}
	d.out.ended = end
	d.http.left(d)
}

func (d *direction) leaveTrailers() {
	if !d.out.started || d.out.ended {
		return
	}
	d.out.trailers, d.out.ended = d.trailers, true
	d.http.left(d)
}

// message returns what has left the filter.
func (d *direction) message() *Message {
	if !d.out.started {
		return nil
	}
	m := &Message{Headers: d.out.headers, Body: d.out.body}
	if d.out.trailers != nil {
		m.Trailers = d.out.trailers.copy()
	}
	return m
}

// held returns which part the filter holds up.
func (d *direction) held() string {
	switch {
	case !d.started || d.out.ended:
		return ""
	case !d.continued:
		return d.what + " headers"
	case d.trailers != nil && d.ended && d.buffered == nil:
		return d.what + " trailers"
	}
	return d.what + " body"
}
