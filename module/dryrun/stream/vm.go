package stream

// VM is the module that a stream goes through.
type VM interface {
	// Create makes the stream's context in the module, once.
	Create()
	// Call calls a callback with the stream's context and these arguments; it is not
	// found where the module has none of that name.
	Call(name string, args ...uint32) (result uint32, found bool)
	// Failed says that it has trapped: nothing is called any more.
	Failed() bool
	// Stopped says that the call which has just ended sent a local reply.
	Stopped() bool
	// After runs what calls of the module asked to be done when it has returned.
	After()
	// Did tells what the callback that was called last amounts to.
	Did(action string)
}
