package definition

// A filter with place accessLog is not an HTTP filter but an access logger: it
// is called for each request when the request has ended, and can neither reject
// nor change it.

// Logs reports whether the filter is an access logger.
func (f *Filter) Logs() bool { return f.Place.At == Logger }

// onFailure returns the default OnFailure of a filter at p.
func (p Place) onFailure() OnFailure {
	if p.At == Logger || p.At == Service {
		return Open // it guards no request
	}
	return Closed
}

// logger checks the settings of an access logger.
func (d *Doc) logger(f *Filter) {
	if f.Logs() && f.OnFailure == Reload {
		d.Problem("onFailure", "leave it out, or write closed for listeners that wait for their logger",
			"an access logger always gets a new VM after a trap, and refuses no request")
	}
}
