package wasmtest

// connection is what a network filter exports of its own.
func (f Filter) connection(word func(string) (int, int)) []function {
	const size = 1 // a parameter of data callbacks
	ignore := push(0)
	tag := ops(
		get(size), op(opEqz, opIf, noResult), push(0), op(opReturn, opEnd), // the end of the stream alone
		f.withValue(ops(push(downstreamData), push(0), push(0)), ops(op(opCall, setBuffer), op(opDrop), push(0)), word))
	return []function{
		{name: "proxy_on_new_connection", params: 1, results: 1, locals: 3, body: ops(f.request(word), push(0))},
		{name: "proxy_on_downstream_data", params: 3, results: 1, locals: 1, body: tag},
		{name: "proxy_on_upstream_data", params: 3, results: 1, body: ignore},
		{name: "proxy_on_downstream_connection_close", params: 2},
		{name: "proxy_on_upstream_connection_close", params: 2},
	}
}
