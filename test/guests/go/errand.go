package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"
)

const tag = "go"

type root struct {
	config, vmConfig                 string
	queue, counter, gauge, histogram uint32
}

type stream struct {
	root   *root
	errand string
	told   string
}

type caller struct {
	id uint32
	// Called with the caller in effect: a is the number of fields or the gRPC status, b the size of what came.
	answer func(a, b uint32)
}

var (
	roots   = map[uint32]*root{}
	streams = map[uint32]*stream{}
	calls   = map[uint32]caller{}
	current uint32
)

// A reactor's main does not run: what it would set up happens in init.
func main() { panic("main of a reactor") }

func init() {
	fmt.Println(tag, "starts")
}

//go:wasmexport proxy_abi_version_0_2_0
func proxyABIVersion() {}

//go:wasmexport proxy_on_context_create
func onContextCreate(id, parent uint32) {
	if _, there := streams[id]; there {
		panic("context id in use")
	}
	if parent == 0 {
		roots[id] = &root{}
		return
	}
	streams[id] = &stream{root: roots[parent]}
}

//go:wasmexport proxy_on_vm_start
func onVMStart(id, size uint32) uint32 {
	// Goroutines and the collector run inside of callbacks, on the host's clocks.
	done := make(chan int)
	go func() { runtime.GC(); time.Sleep(time.Microsecond); done <- 1 }()
	roots[id].vmConfig = buffer(6, 0, size)
	return uint32(<-done)
}

//go:wasmexport proxy_on_configure
func onConfigure(id, size uint32) uint32 {
	self := roots[id]
	self.config = buffer(7, 0, size)
	if self.config == "refuse" {
		return 0
	}
	must(proxySetTickPeriod(20))
	at, n := p(tag)
	var queue uint32
	must(proxyRegisterSharedQueue(at, n, unsafe.Pointer(&queue)))
	self.queue = queue
	self.counter = defineMetric(0, tag+".counter")
	self.gauge = defineMetric(1, tag+".gauge")
	self.histogram = defineMetric(2, tag+".histogram")
	fmt.Println(tag, "configured")
	fmt.Fprintln(os.Stderr, tag, "complains")
	return 1
}

//go:wasmexport proxy_on_tick
func onTick(id uint32) {
	for {
		value, cas, _ := sharedData(tag + ".ticks")
		count, _ := strconv.Atoi(value)
		switch code := setSharedData(tag+".ticks", strconv.Itoa(count+1), cas); code {
		case ok:
			return
		case casMismatch:
		default:
			must(uint32(code))
		}
	}
}

//go:wasmexport proxy_on_queue_ready
func onQueueReady(id, token uint32) {
	if _, there := roots[id]; !there {
		panic("invalid root context")
	}
	if value, there := dequeue(token); there {
		must(uint32(setSharedData(tag+".queued", value, 0)))
	}
}

func answered(root, token uint32, a, b uint32) {
	if _, there := roots[root]; !there {
		panic("invalid root context")
	}
	call, there := calls[token]
	if !there {
		panic("invalid token")
	}
	delete(calls, token)
	if _, there := streams[call.id]; !there {
		return
	}
	must(proxySetEffectiveContext(call.id))
	current = call.id
	call.answer(a, b)
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(id, token, fields, size, trailers uint32) { answered(id, token, fields, size) }

//go:wasmexport proxy_on_grpc_receive
func onGrpcReceive(id, token, size uint32) { answered(id, token, 0, size) }

//go:wasmexport proxy_on_grpc_close
func onGrpcClose(id, token, code uint32) { answered(id, token, code, 0) }

func tell(name, value string) { setField(0, name, value) }

func (s *stream) call(cluster, path string, then func()) status {
	token, code := httpCall(cluster, path)
	if code == ok {
		calls[token] = caller{current, func(_, size uint32) {
			code, _ := field(6, ":status")
			s.told += code + " " + buffer(4, 0, size)
			then()
		}}
	}
	return code
}

func resume() { must(proxyContinueStream(0)) }

func edit(kind uint32, added, replaced, removed string) {
	addField(kind, added, tag)
	setField(kind, replaced, "new")
	removeField(kind, removed)
	if _, there := field(kind, removed); there {
		panic("still there")
	}
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(id, count, end uint32) uint32 {
	s := streams[id]
	current = id
	s.errand, _ = field(0, "x-do")
	switch s.errand {
	case "headers":
		edit(0, "x-added", "x-replace", "x-remove")
	case "pairs":
		all := fields(0)
		setFields(0, append(all, [2]string{"x-pairs", strconv.Itoa(len(all))})...)
	case "body", "edges":
		removeField(0, "content-length")
	case "reply":
		h, hn := p(encode([2]string{"x-reply", tag}))
		b, bn := p(tag + " is a teapot")
		must(proxySendLocalResponse(418, nil, 0, b, bn, h, hn, -1))
		return 1
	case "call":
		must(uint32(s.call("side", "/first", func() {
			s.told += " "
			must(uint32(s.call("side", "/second", func() {
				tell("x-call", s.told)
				resume()
			})))
		})))
		return 1
	case "call-nowhere":
		if s.call("nowhere", "/", nil) == badArgument {
			tell("x-call", "refused")
		}
	case "grpc", "grpc-fails":
		method := map[string]string{"grpc": "Ask", "grpc-fails": "Fail"}[s.errand]
		calls[grpcCall(method)] = caller{id, func(code, size uint32) {
			if code == 0 {
				tell("x-grpc", buffer(5, 0, size))
			} else {
				tell("x-grpc", fmt.Sprint("status ", code))
			}
			resume()
		}}
		return 1
	case "ticks":
		value, _, _ := sharedData(tag + ".ticks")
		tell("x-ticks", value)
	case "queue":
		value, _ := field(0, "x-in")
		at, n := p(value)
		must(proxyEnqueueSharedQueue(s.root.queue, at, n))
	case "queued":
		value, _, _ := sharedData(tag + ".queued")
		tell("x-queued", value)
	case "metrics":
		must(proxyIncrementMetric(s.root.counter, 5))
		must(proxyRecordMetric(s.root.gauge, 7))
		must(proxyIncrementMetric(s.root.gauge, -2))
		must(proxyRecordMetric(s.root.histogram, 3))
		tell("x-metrics", fmt.Sprint(metric(s.root.counter), " ", metric(s.root.gauge)))
	case "properties":
		s.properties()
	case "config":
		tell("x-config", s.root.config+"|"+s.root.vmConfig)
	case "log":
		for level := range uint32(6) {
			logAt(level, fmt.Sprint(tag, " level ", level))
		}
	case "library":
		fine := "fine"
		if time.Now().Year() < 2020 {
			fine = "broken"
		}
		tell("x-library", fmt.Sprint(os.Getenv("ERRAND"), " ", len(os.Environ()), " ", fine))
	case "trap":
		panic("asked to")
	}
	return 0
}

func (s *stream) properties() {
	k, kn := p("errand.mark")
	v, vn := p(tag)
	must(proxySetProperty(k, kn, v, vn))
	path, _ := property("request\x00path")
	rootID, _ := property("plugin_root_id")
	port, _ := property("source\x00port")
	own, _ := property("errand.mark")
	none, there := property("no\x00such")
	if !there {
		none = "none"
	}
	tell("x-properties", fmt.Sprint(path, "|", rootID, "|", binary.LittleEndian.Uint64([]byte(port)), "|", own, "|", none))
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(id, count, end uint32) uint32 {
	switch streams[id].errand {
	case "headers":
		edit(2, "x-out", "x-server", "x-secret")
	case "body", "edges":
		removeField(2, "content-length")
	}
	return 0
}

func (s *stream) body(kind uint32, verb string, size, end uint32) uint32 {
	if s.errand != "body" && s.errand != "edges" {
		return 0
	}
	if end == 0 {
		return 1
	}
	if s.errand == "body" {
		setBuffer(kind, 0, size, tag+verb+buffer(kind, 0, size))
	} else {
		setBuffer(kind, 0, 0, "[")
		setBuffer(kind, 0x7fffffff, 0, "]")
	}
	return 0
}

//go:wasmexport proxy_on_request_body
func onRequestBody(id, size, end uint32) uint32 { return streams[id].body(0, " got ", size, end) }

//go:wasmexport proxy_on_response_body
func onResponseBody(id, size, end uint32) uint32 { return streams[id].body(1, " sent ", size, end) }

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(id, count uint32) uint32 { return 0 }

//go:wasmexport proxy_on_response_trailers
func onResponseTrailers(id, count uint32) uint32 { return 0 }

//go:wasmexport proxy_on_log
func onLog(id uint32) {
	s := streams[id]
	bytes, there := property("response\x00code")
	code := uint64(0)
	if there {
		code = binary.LittleEndian.Uint64([]byte(bytes))
	}
	logAt(2, fmt.Sprint(tag, " done ", code, " ", s.errand))
}

//go:wasmexport proxy_on_done
func onDone(id uint32) uint32 { return 1 }

//go:wasmexport proxy_on_delete
func onDelete(id uint32) {
	delete(streams, id)
	delete(roots, id)
}
