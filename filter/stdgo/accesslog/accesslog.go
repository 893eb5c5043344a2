// Package accesslog tells plugins of requests that are over, as access loggers of Envoy
// are told of them (envoy.access_loggers.wasm). The SDK tells only the contexts of
// requests, and an access logger has none.
//
// A plugin says in NewPluginContext what is to be called:
//
//	accesslog.Register(id, p.log)
//
// Whatever is called may read the request's and response's headers and properties, and call
// other services.
package accesslog

// logs are what plugins have registered, by their contexts. A VM has one thread.
var logs = map[uint32]func(){}

// Register has log called for each request that is over, where the plugin of this context
// is an access logger.
func Register(context uint32, log func()) { logs[context] = log }

// Log calls what a context has registered, and tells whether it has. Package stdgo calls
// it for the proxy.
func Log(context uint32) bool {
	log, ok := logs[context]
	if ok {
		log()
	}
	return ok
}

// Forget drops what a context that has ended has registered. Package stdgo calls it.
func Forget(context uint32) { delete(logs, context) }
