// Package trailers exports the callbacks for the trailers of HTTP requests
// and responses, for filters that look at them. See package stdgo.
package trailers
