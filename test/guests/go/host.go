// The errand filter in Go (test/languages/errands.ts says what an errand is): a reactor for wasip1, built as Go filters
// are. This file has the host functions; like Go's SDK it lets the host write pointers into Go variables, and its
// allocator takes the address of a slice's first byte, so that it panics for a size of 0.
package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

type status uint32

const (
	ok status = iota
	notFound
	badArgument
	empty       status = 7
	casMismatch status = 8
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, text unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriod(ms uint32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path unsafe.Pointer, pathSize uint32, value unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_property
func proxySetProperty(path unsafe.Pointer, pathSize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_continue_stream
func proxyContinueStream(kind uint32) uint32

//go:wasmimport env proxy_close_stream
func proxyCloseStream(kind uint32) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(code uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(kind uint32, key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_add_header_map_value
func proxyAddHeaderMapValue(kind uint32, key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(kind uint32, key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(kind uint32, key unsafe.Pointer, keySize uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(kind uint32, pairs unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_header_map_pairs
func proxySetHeaderMapPairs(kind uint32, pairs unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(kind uint32, start uint32, max uint32, bytes unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(kind uint32, start uint32, length uint32, bytes unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_http_call
func proxyHTTPCall(upstream unsafe.Pointer, upstreamSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize uint32, timeout uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_grpc_call
func proxyGrpcCall(target unsafe.Pointer, targetSize uint32, service unsafe.Pointer, serviceSize uint32, method unsafe.Pointer, methodSize uint32, metadata unsafe.Pointer, metadataSize uint32, message unsafe.Pointer, messageSize uint32, timeout uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size unsafe.Pointer, cas unsafe.Pointer) uint32

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32, cas uint32) uint32

//go:wasmimport env proxy_register_shared_queue
func proxyRegisterSharedQueue(name unsafe.Pointer, size uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_resolve_shared_queue
func proxyResolveSharedQueue(vm unsafe.Pointer, vmSize uint32, name unsafe.Pointer, size uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func proxyEnqueueSharedQueue(token uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func proxyDequeueSharedQueue(token uint32, value unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name unsafe.Pointer, size uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, offset int64) uint32

//go:wasmimport env proxy_record_metric
func proxyRecordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_get_metric
func proxyGetMetric(id uint32, value unsafe.Pointer) uint32

//go:wasmimport env proxy_done
func proxyDone() uint32

//go:wasmimport env proxy_call_foreign_function
func proxyCallForeignFunction(name unsafe.Pointer, nameSize uint32, argument unsafe.Pointer, size uint32, result unsafe.Pointer, resultSize unsafe.Pointer) uint32

//go:wasmexport proxy_on_memory_allocate
func proxyOnMemoryAllocate(size uint32) unsafe.Pointer {
	bytes := make([]byte, size)
	return unsafe.Pointer(&bytes[0])
}

func must(code uint32) {
	if status(code) != ok {
		panic(fmt.Sprintf("unexpected status %d", code))
	}
}

func p(text string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))
}

// What the host gave: it is Go's memory already.
func given(at *byte, size uint32) string {
	if at == nil {
		return ""
	}
	return string(unsafe.Slice(at, size))
}

func logAt(level uint32, text string) {
	at, size := p(text)
	must(proxyLog(level, at, size))
}

func property(path string) (string, bool) {
	var value *byte
	var size uint32
	at, n := p(path)
	code := proxyGetProperty(at, n, unsafe.Pointer(&value), unsafe.Pointer(&size))
	return given(value, size), status(code) == ok
}

func field(kind uint32, key string) (string, bool) {
	var value *byte
	var size uint32
	at, n := p(key)
	code := proxyGetHeaderMapValue(kind, at, n, unsafe.Pointer(&value), unsafe.Pointer(&size))
	return given(value, size), status(code) == ok
}

func addField(kind uint32, key, value string) {
	k, kn := p(key)
	v, vn := p(value)
	must(proxyAddHeaderMapValue(kind, k, kn, v, vn))
}

func setField(kind uint32, key, value string) {
	k, kn := p(key)
	v, vn := p(value)
	must(proxyReplaceHeaderMapValue(kind, k, kn, v, vn))
}

func removeField(kind uint32, key string) {
	k, kn := p(key)
	must(proxyRemoveHeaderMapValue(kind, k, kn))
}

func fields(kind uint32) [][2]string {
	var at *byte
	var size uint32
	must(proxyGetHeaderMapPairs(kind, unsafe.Pointer(&at), unsafe.Pointer(&size)))
	bytes := given(at, size)
	number := func(at int) int { return int(binary.LittleEndian.Uint32([]byte(bytes[at:]))) }
	list := make([][2]string, number(0))
	next := 4 + 8*len(list)
	for n := range list {
		for side := range 2 {
			size := number(4 + 8*n + 4*side)
			list[n][side] = bytes[next : next+size]
			next += size + 1
		}
	}
	return list
}

func encode(list ...[2]string) string {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, pair := range list {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(pair[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(pair[1])))
	}
	for _, pair := range list {
		out = append(append(append(append(out, pair[0]...), 0), pair[1]...), 0)
	}
	return string(out)
}

func setFields(kind uint32, list ...[2]string) {
	at, size := p(encode(list...))
	must(proxySetHeaderMapPairs(kind, at, size))
}

func buffer(kind uint32, start, max uint32) string {
	var at *byte
	var size uint32
	if status(proxyGetBufferBytes(kind, start, max, unsafe.Pointer(&at), unsafe.Pointer(&size))) != ok {
		return ""
	}
	return given(at, size)
}

func setBuffer(kind uint32, start, length uint32, value string) {
	at, size := p(value)
	must(proxySetBufferBytes(kind, start, length, at, size))
}

func httpCall(cluster, path string) (uint32, status) {
	var token uint32
	u, un := p(cluster)
	h, hn := p(encode([2]string{":method", "POST"}, [2]string{":path", path}, [2]string{":authority", "side"}))
	b, bn := p("question")
	t, tn := p(encode())
	code := proxyHTTPCall(u, un, h, hn, b, bn, t, tn, 60000, unsafe.Pointer(&token))
	return token, status(code)
}

func grpcCall(method string) uint32 {
	var token uint32
	u, un := p("side-grpc")
	s, sn := p("errand.Side")
	m, mn := p(method)
	d, dn := p(encode())
	b, bn := p("ask")
	must(proxyGrpcCall(u, un, s, sn, m, mn, d, dn, b, bn, 60000, unsafe.Pointer(&token)))
	return token
}

func sharedData(key string) (string, uint32, bool) {
	var at *byte
	var size, cas uint32
	k, kn := p(key)
	code := proxyGetSharedData(k, kn, unsafe.Pointer(&at), unsafe.Pointer(&size), unsafe.Pointer(&cas))
	return given(at, size), cas, status(code) == ok
}

func setSharedData(key, value string, cas uint32) status {
	k, kn := p(key)
	v, vn := p(value)
	return status(proxySetSharedData(k, kn, v, vn, cas))
}

func dequeue(token uint32) (string, bool) {
	var at *byte
	var size uint32
	code := proxyDequeueSharedQueue(token, unsafe.Pointer(&at), unsafe.Pointer(&size))
	return given(at, size), status(code) == ok
}

func defineMetric(kind uint32, name string) uint32 {
	var id uint32
	at, size := p(name)
	must(proxyDefineMetric(kind, at, size, unsafe.Pointer(&id)))
	return id
}

func metric(id uint32) uint64 {
	var value uint64
	must(proxyGetMetric(id, unsafe.Pointer(&value)))
	return value
}
