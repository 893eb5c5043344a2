package definition

// A filter at the place accessLog is no HTTP filter but an access logger: it is told of
// each request when that is over, and can neither refuse nor change one.

// Logs says whether the filter is an access logger.
func (f *Filter) Logs() bool { return f.Place.At == Logger }

// onFailure is what counts where nothing is written.
func (p Place) onFailure() OnFailure {
	if p.At == Logger || p.At == Service {
		return Open // no request is guarded by it
	}
	return Closed
}

// logger checks what is written of an access logger.
func (d *Doc) logger(f *Filter) {
	if f.Logs() && f.OnFailure == Reload {
		d.Problem("onFailure", "leave it out, or write closed for listeners that wait for their logger",
			"an access logger always gets a new VM after a trap, and refuses no request")
	}
}
