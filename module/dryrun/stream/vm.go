package stream

// VM is the module that a stream passes.
type VM interface {
	// Create creates the stream's context in the module. It is called once.
	Create()
	// Call calls a callback with the stream's context and these arguments. found is false
	// if the module does not export it.
	Call(name string, args ...uint32) (result uint32, found bool)
	// Failed reports whether the module has trapped. Nothing is called afterwards.
	Failed() bool
	// Stopped reports whether the call that has just ended sent a local reply.
	Stopped() bool
	// After runs what host calls have scheduled for the return of the callback.
	After()
	// Did records the effect of the last callback.
	Did(action string)
}
