// Package body exports the callbacks for the bodies of HTTP requests and
// responses, for filters that look at them. See package stdgo.
package body
