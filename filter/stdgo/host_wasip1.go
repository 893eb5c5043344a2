//go:build !tinygo

package stdgo

import (
	"runtime"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal"
)

// The SDK holds a lock from here on, which keeps a second host away.
func init() { internal.RegisterMockWasmHost(host{}) }

// host is the proxy, as the SDK calls it outside TinyGo. All that the SDK
// hands over stays valid until a method returns; where the proxy calls back
// for memory meanwhile, KeepAlive says so to the collector.
type host struct{}

var _ internal.ProxyWasmHost = host{}

func (host) ProxyLog(level internal.LogLevel, message *byte, messageSize int) internal.Status {
	return internal.Status(proxyLog(uint32(level), message, uint32(messageSize)))
}

func (host) ProxySetProperty(path *byte, pathSize int, value *byte, valueSize int) internal.Status {
	return internal.Status(proxySetProperty(path, uint32(pathSize), value, uint32(valueSize)))
}

func (host) ProxyGetProperty(path *byte, pathSize int, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyGetProperty(path, uint32(pathSize), &r.data, &r.size)
	runtime.KeepAlive(path)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxySendLocalResponse(code uint32, details *byte, detailsSize int, body *byte, bodySize int, headers *byte, headersSize int, grpcStatus int32) internal.Status {
	return internal.Status(proxySendLocalResponse(code, details, uint32(detailsSize), body, uint32(bodySize), headers, uint32(headersSize), grpcStatus))
}

func (host) ProxyGetSharedData(key *byte, keySize int, returnData **byte, returnSize *int, returnCas *uint32) internal.Status {
	var r returned
	status := proxyGetSharedData(key, uint32(keySize), &r.data, &r.size, returnCas)
	runtime.KeepAlive(key)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxySetSharedData(key *byte, keySize int, value *byte, valueSize int, cas uint32) internal.Status {
	return internal.Status(proxySetSharedData(key, uint32(keySize), value, uint32(valueSize), cas))
}

func (host) ProxyRegisterSharedQueue(name *byte, nameSize int, returnID *uint32) internal.Status {
	return internal.Status(proxyRegisterSharedQueue(name, uint32(nameSize), returnID))
}

func (host) ProxyResolveSharedQueue(vmID *byte, vmIDSize int, name *byte, nameSize int, returnID *uint32) internal.Status {
	return internal.Status(proxyResolveSharedQueue(vmID, uint32(vmIDSize), name, uint32(nameSize), returnID))
}

func (host) ProxyDequeueSharedQueue(queueID uint32, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyDequeueSharedQueue(queueID, &r.data, &r.size)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxyEnqueueSharedQueue(queueID uint32, value *byte, valueSize int) internal.Status {
	return internal.Status(proxyEnqueueSharedQueue(queueID, value, uint32(valueSize)))
}

func (host) ProxyGetHeaderMapValue(mapType internal.MapType, key *byte, keySize int, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyGetHeaderMapValue(uint32(mapType), key, uint32(keySize), &r.data, &r.size)
	runtime.KeepAlive(key)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxyAddHeaderMapValue(mapType internal.MapType, key *byte, keySize int, value *byte, valueSize int) internal.Status {
	return internal.Status(proxyAddHeaderMapValue(uint32(mapType), key, uint32(keySize), value, uint32(valueSize)))
}

func (host) ProxyReplaceHeaderMapValue(mapType internal.MapType, key *byte, keySize int, value *byte, valueSize int) internal.Status {
	return internal.Status(proxyReplaceHeaderMapValue(uint32(mapType), key, uint32(keySize), value, uint32(valueSize)))
}

func (host) ProxyRemoveHeaderMapValue(mapType internal.MapType, key *byte, keySize int) internal.Status {
	return internal.Status(proxyRemoveHeaderMapValue(uint32(mapType), key, uint32(keySize)))
}

func (host) ProxyGetHeaderMapPairs(mapType internal.MapType, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyGetHeaderMapPairs(uint32(mapType), &r.data, &r.size)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxySetHeaderMapPairs(mapType internal.MapType, pairs *byte, pairsSize int) internal.Status {
	return internal.Status(proxySetHeaderMapPairs(uint32(mapType), pairs, uint32(pairsSize)))
}

func (host) ProxyGetBufferBytes(bufferType internal.BufferType, start, maxSize int, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyGetBufferBytes(uint32(bufferType), uint32(start), uint32(maxSize), &r.data, &r.size)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxySetBufferBytes(bufferType internal.BufferType, start, maxSize int, buffer *byte, bufferSize int) internal.Status {
	return internal.Status(proxySetBufferBytes(uint32(bufferType), uint32(start), uint32(maxSize), buffer, uint32(bufferSize)))
}

func (host) ProxyContinueStream(streamType internal.StreamType) internal.Status {
	return internal.Status(proxyContinueStream(uint32(streamType)))
}

func (host) ProxyCloseStream(streamType internal.StreamType) internal.Status {
	return internal.Status(proxyCloseStream(uint32(streamType)))
}

func (host) ProxyHttpCall(upstream *byte, upstreamSize int, headers *byte, headersSize int, body *byte, bodySize int, trailers *byte, trailersSize int, timeout uint32, returnID *uint32) internal.Status {
	return internal.Status(proxyHTTPCall(upstream, uint32(upstreamSize), headers, uint32(headersSize), body, uint32(bodySize), trailers, uint32(trailersSize), timeout, returnID))
}

func (host) ProxyCallForeignFunction(name *byte, nameSize int, param *byte, paramSize int, returnData **byte, returnSize *int) internal.Status {
	var r returned
	status := proxyCallForeignFunction(name, uint32(nameSize), param, uint32(paramSize), &r.data, &r.size)
	runtime.KeepAlive(name)
	runtime.KeepAlive(param)
	r.take(returnData, returnSize)
	return internal.Status(status)
}

func (host) ProxySetTickPeriodMilliseconds(period uint32) internal.Status {
	return internal.Status(proxySetTickPeriodMilliseconds(period))
}

func (host) ProxySetEffectiveContext(contextID uint32) internal.Status {
	return internal.Status(proxySetEffectiveContext(contextID))
}

func (host) ProxyDone() internal.Status { return internal.Status(proxyDone()) }

func (host) ProxyDefineMetric(metricType internal.MetricType, name *byte, nameSize int, returnID *uint32) internal.Status {
	return internal.Status(proxyDefineMetric(uint32(metricType), name, uint32(nameSize), returnID))
}

func (host) ProxyIncrementMetric(metricID uint32, offset int64) internal.Status {
	return internal.Status(proxyIncrementMetric(metricID, offset))
}

func (host) ProxyRecordMetric(metricID uint32, value uint64) internal.Status {
	return internal.Status(proxyRecordMetric(metricID, value))
}

func (host) ProxyGetMetric(metricID uint32, returnValue *uint64) internal.Status {
	return internal.Status(proxyGetMetric(metricID, returnValue))
}
