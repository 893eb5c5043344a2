package stream

// filterHeaders shows headers to the filter.
func (d *direction) filterHeaders(end bool) uint32 {
	h := d.http
	if d == &h.request {
		h.failedBefore = h.vm.Failed()
		h.vm.Create()
		h.created = true
	} else if !h.created || h.failureReplied {
		return headersContinue
	}
	d.seenHeaders, h.endOfStream = d.headers, end
	status := h.checked(headersContinue, headersStopAll, func() uint32 {
		args := []uint32{uint32(d.headers.Len()), bit(end)}
		result, found := h.vm.Call("proxy_on_"+d.what+"_headers", args...)
		return h.decided(found, headersStatus(result, h.vm.Stopped(), h.options.StopIteration), headersActions)
	})
	if status == headersContinue {
		d.seenHeaders = nil
	}
	return status
}

// headersStatus is how Envoy interprets the action that a filter returns for headers.
func headersStatus(result uint32, replied, mayStop bool) uint32 {
	switch {
	case replied, result > headersStopAll, result == headersStop && !mayStop:
		return headersStopAll
	case result == 2:
		return headersContinue
	}
	return result
}

// filterData shows a piece of the body to the filter, or all that is buffered.
func (d *direction) filterData(data *Buffer, end bool) uint32 {
	h := d.http
	if !h.created || d == &h.response && h.failureReplied {
		return dataContinue
	}
	if d.buffering {
		d.streaming = false
		d.buffer(data)
		if h.finished {
			return dataStopBuffer
		}
	}
	d.seenBody, h.endOfStream = data, end
	size := len(d.Body().Bytes())
	status := h.checked(dataContinue, dataStopNoBuffer, func() uint32 {
		result, found := h.vm.Call("proxy_on_"+d.what+"_body", uint32(size), bit(end))
		if h.vm.Stopped() || result > dataStopNoBuffer {
			result = dataStopNoBuffer
		}
		return h.decided(found, result, dataActions)
	})
	d.buffering = status == dataStopBuffer
	if status == dataContinue {
		d.seenBody = nil
	}
	return status
}

// Body returns what the filter can access of the body.
func (d *direction) Body() *Buffer {
	if d.buffering {
		return d.buffered
	}
	return d.seenBody
}

// filterTrailers shows trailers to the filter.
func (d *direction) filterTrailers() uint32 {
	h := d.http
	if !h.created || d == &h.response && h.failureReplied {
		return trailersContinue
	}
	d.seenTrailers = d.trailers
	status := h.checked(trailersContinue, trailersStop, func() uint32 {
		result, found := h.vm.Call("proxy_on_"+d.what+"_trailers", uint32(d.trailers.Len()))
		if h.vm.Stopped() || result > trailersStop {
			result = trailersStop
		}
		return h.decided(found, result, trailersActions)
	})
	if status == trailersContinue {
		d.seenTrailers = nil
	}
	return status
}

var (
	headersActions  = []string{"continue", "stop", "", "pause", "pause"}
	dataActions     = []string{"continue", "pause, buffer", "pause, stream", "pause, drop"}
	trailersActions = []string{"continue", "pause"}
)

// decided records the effect of a callback, and returns it. A callback that the module does
// not export continues.
func (h *HTTP) decided(found bool, status uint32, actions []string) uint32 {
	if !found {
		return 0
	}
	if !h.vm.Failed() {
		h.vm.Did(actions[status])
	}
	return status
}

// checked calls a callback and then does what the callback has requested. If the module
// traps, the stream is refused. If it had trapped before, the stream may pass.
func (h *HTTP) checked(open, closed uint32, call func() uint32) uint32 {
	if h.vm.Failed() {
		return h.failed(open, closed)
	}
	status := call()
	defer h.vm.After()
	if h.vm.Failed() {
		return h.failed(open, closed) // even with FailOpen, because Envoy lets only later streams pass
	}
	return status
}

func (h *HTTP) failed(open, closed uint32) uint32 {
	if h.options.FailOpen && h.failedBefore {
		return open
	}
	if !h.streamFailed {
		h.streamFailed = true
		if !h.failureReplied {
			unavailable := 14
			h.reply(localReply{code: 503, grpc: &unavailable, details: "wasm_fail_stream"})
			h.failureReplied = true
		}
	}
	return closed
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
