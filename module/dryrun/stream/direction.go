package stream

// iteration says whether the filter lets what comes pass.
type iteration int

const (
	iterating  iteration = iota
	stopped              // until the filter continues; more of the body is shown to it
	stoppedAll           // nothing more is shown to it until it continues
)

// What the filter answers.
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
	defaultBufferLimit  = 1 << 20 // bytes that Envoy buffers for a stream
	bufferLimitReply413 = "request_payload_too_large"
	bufferLimitReply500 = "response_payload_too_large"
)

// direction is the way of a request to the upstream, or of a response to the
// client, through the one filter: Envoy's FilterManager, and what its
// Wasm filter keeps of that way.
type direction struct {
	http   *HTTP
	what   string // request, response
	limits string // details of the reply when too much is buffered
	code   int

	source source // what has not come yet
	came   int64  // bytes of the body

	headers  *Headers
	trailers *Headers
	buffered *Buffer

	state     iteration
	started   bool // the headers have come
	continued bool // the headers have left
	complete  bool // all of it has come
	ended     bool // the filter has been told that this is all
	current   bool // what was buffered is to be shown to this filter as well
	streaming bool // a full buffer holds up its source rather than fail
	aborted   bool // by a local reply
	calling   bool // the filter is being called

	// What the filter can reach.
	seenHeaders  *Headers
	seenTrailers *Headers
	seenBody     *Buffer
	buffering    bool // it sees all that is buffered

	out outgoing
}

// outgoing is what has left the filter.
type outgoing struct {
	started, ended bool
	headers        [][2]string
	body           [][]byte
	trailers       *Headers
}

// arrive has headers come.
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

// arriveData has a piece of the body come.
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

// afterData says whether data goes on.
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
		d.buffered = new(Buffer) // so that its end goes on when the filter continues
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

// checkLimit answers for the filter when too much is buffered.
func (d *direction) checkLimit() {
	if d.full() && !d.streaming && !d.aborted {
		d.http.reply(localReply{code: d.code, body: reason(d.code), details: d.limits})
	}
}

// arriveTrailers has the trailers come.
func (d *direction) arriveTrailers(trailers *Headers) {
	d.trailers, d.complete = trailers, true
	d.showTrailers()
}

// doTrailers goes on with trailers that were added, or held up.
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

// commonContinue goes on with all that was held up.
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

// showBuffered shows what was buffered to the filter, which may change it where
// it is.
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

// message is what has left.
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

// held says what of it the filter holds up.
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
