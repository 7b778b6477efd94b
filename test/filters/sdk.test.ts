/** The SDK, family by family, through the probe guest. */
import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { loadGuest } from "./guest.ts";
import type { ScriptedHost } from "./scripted-host.ts";

const REQUEST_HEADERS = 0;
const REQUEST_TRAILERS = 1;
const CALL_HEADERS = 6;
const STREAM = 20;

let host: ScriptedHost;
beforeEach(async () => {
  host = await loadGuest("test/guests/probe");
  assert.equal(host.start(), true);
});

function texts(): string[] {
  return host.logs.map((entry) => entry.text);
}

/** One stream whose request headers ask for a command; the answer of the callback. */
function ask(command: string, headers: [string, string][] = []): number {
  host.maps.set(REQUEST_HEADERS, [...headers, ["x-do", command]]);
  host.exports["proxy_on_context_create"]!(STREAM, 1);
  return host.exports["proxy_on_request_headers"]!(STREAM, headers.length + 1, 1);
}

describe("headers", () => {
  const RAW = "\u00ff\u0000\u0080a";

  it("reads, compares, changes and lists, whatever the bytes", () => {
    const long = "v".repeat(20_000);
    const headers: [string, string][] = [
      [":authority", "example.org"],
      ["x-empty", ""],
      ["x-raw", RAW],
      ["x-gone", "1"],
      ["x-long", long],
    ];
    assert.equal(ask("headers", headers), 0);
    assert.deepEqual(texts(), [
      "6 true 6 :authority=example.org",
      "missing",
      "empty 0",
      "example.org",
      "true false true",
      "255,0,128,97",
      "20000",
      "refused",
      "0",
    ]);
    assert.deepEqual(host.maps.get(REQUEST_HEADERS), [
      [":authority", "example.org"],
      ["x-raw", RAW],
      ["x-long", long],
      ["x-do", "headers"],
      ["x-copy", RAW],
      ["x-empty", "full"],
      ["x-last", "1"],
    ]);
  });

  it("asks for memory by the exact size", () => {
    ask("headers", [
      [":authority", "example.org"],
      ["x-raw", RAW],
    ]);
    assert.ok(host.allocations.includes("example.org".length));
    assert.ok(host.allocations.includes(RAW.length));
  });

  it("reads trailers", () => {
    ask("nothing");
    host.maps.set(REQUEST_TRAILERS, [["x-sum", "abc"]]);
    assert.equal(host.exports["proxy_on_request_trailers"]!(STREAM, 1), 0);
    assert.deepEqual(texts(), ["trailers 1 abc"]);
  });
});

describe("bodies", () => {
  for (const [before, after] of [
    ["set", "replaced €"],
    ["append", "append!"],
    ["prepend", "?prepend"],
    ["replace", "r--lace"],
    ["kept ü", "kept ü"],
  ] as const) {
    it(`${before} makes ${after}`, () => {
      ask("nothing");
      host.buffers.set(0, Buffer.from(before));
      const size = Buffer.byteLength(before);
      assert.equal(host.exports["proxy_on_request_body"]!(STREAM, size, 1), 1);
      assert.equal(host.buffers.get(0)!.toString(), after);
      assert.deepEqual(texts(), [`body ${size} true ${before} ${size}`, "no response body"]);
    });
  }
});

describe("properties, metrics, shared data", () => {
  it("types properties and leaves missing ones to the caller", () => {
    host.properties.set("request.path", Buffer.from("/ü"));
    host.properties.set("request.size", Buffer.from([200, 0, 0, 0, 0, 0, 0, 0]));
    host.properties.set("connection.mtls", Buffer.from([1]));
    host.properties.set("a.b.c", Buffer.from("x"));
    ask("properties");
    assert.deepEqual(texts(), ["/ü", "200", "-1", "true", "true", "set"]);
    assert.equal(host.properties.get("wasm.own")!.toString(), "mine");
  });

  it("uses each metric by its own id", () => {
    ask("metrics");
    assert.deepEqual(texts(), ["5 4"]);
    assert.deepEqual(
      host.metrics.map((metric) => [metric.kind, metric.name, metric.value]),
      [
        [0, "probe.count", 5n],
        [1, "probe.level", 4n],
        [2, "probe.time", 12n],
      ],
    );
  });

  it("compares and swaps shared data, and passes queue items", () => {
    ask("shared");
    assert.deepEqual(texts(), ["missing", "true", "one 1", "true", "false", "1 1 0"]);
    assert.equal(host.shared.get("key")!.value.toString(), "two");
    host.exports["proxy_on_queue_ready"]!(1, 1);
    host.exports["proxy_on_queue_ready"]!(1, 1);
    assert.deepEqual(texts().slice(-2), ["queue: item", "queue empty"]);
  });
});

describe("local responses, logs, clock, foreign functions", () => {
  it("answers with body, headers, details and gRPC status", () => {
    assert.equal(ask("reply"), 1);
    assert.deepEqual(host.localResponse, {
      status: 403,
      details: "probe_details",
      body: "no entry: ü",
      headers: [
        ["x-why", "probe"],
        ["x-why", "twice"],
      ],
      grpcStatus: 7,
    });
  });

  it("knows the log level and writes UTF-8", () => {
    host.foreign.set("reverse", (args) => Buffer.from(args.toString().split("").reverse().join("")));
    ask("misc");
    assert.deepEqual(host.logs, [
      { level: 2, text: "5000000000 117901063" },
      { level: 2, text: "cba" },
      { level: 2, text: "null" },
      { level: 2, text: "false true true" },
      { level: 1, text: "ünï" },
    ]);
  });

  it("says where an assertion failed before it traps", () => {
    assert.throws(() => ask("abort"), WebAssembly.RuntimeError);
    assert.equal(host.logs.length, 1);
    assert.equal(host.logs[0]!.level, 5);
    assert.match(host.logs[0]!.text, /^Index out of range at ~lib\/array.ts:\d+:\d+$/);
  });
});

describe("calls", () => {
  it("gives an HTTP answer to the object that asked, in its context", () => {
    assert.equal(ask("http"), 1);
    const [call] = host.httpCalls;
    assert.equal(call!.upstream, "cluster_a");
    assert.equal(call!.body.toString(), "question");
    assert.equal(call!.timeoutMs, 250);
    assert.deepEqual(call!.headers[1], [":path", "/a"]);
    host.maps.set(CALL_HEADERS, [[":status", "200"]]);
    host.buffers.set(4, Buffer.from("answer"));
    host.exports["proxy_on_http_call_response"]!(1, 101, 1, 6, 0);
    assert.deepEqual(texts(), ["token 101", "stream 20 http 101 1 6 200 answer"]);
    assert.deepEqual(host.effective, [STREAM]);
    assert.deepEqual(host.continued, [0]);
  });

  it("drops the answer when the stream is gone, and answers nobody asked for", () => {
    ask("http");
    host.unknownContexts.add(STREAM);
    host.exports["proxy_on_http_call_response"]!(1, 101, 1, 0, 0);
    host.exports["proxy_on_http_call_response"]!(1, 101, 1, 0, 0);
    host.exports["proxy_on_http_call_response"]!(1, 999, 1, 0, 0);
    assert.deepEqual(texts(), ["token 101"]);
  });

  it("gives a gRPC message or the status with its text", () => {
    ask("grpc");
    assert.deepEqual(host.grpcCalls[0], {
      upstream: "cluster_g",
      service: "pkg.Service",
      method: "Method",
      message: Buffer.from("ask"),
      timeoutMs: 20,
    });
    host.buffers.set(5, Buffer.from("told"));
    host.exports["proxy_on_grpc_receive"]!(1, 201, 4);
    host.exports["proxy_on_grpc_close"]!(1, 201, 0);
    ask("grpc");
    host.exports["proxy_on_grpc_close"]!(1, 202, 14);
    assert.deepEqual(texts(), [
      "token 201",
      "stream 20 grpc 201 4 told",
      "token 202",
      "stream 20 grpc 202 closed 14 unreachable",
    ]);
  });
});

describe("the end of a stream", () => {
  it("cancels its gRPC calls that are still open, and no others", () => {
    ask("grpc");
    host.exports["proxy_on_request_headers"]!(STREAM, 1, 1);
    host.exports["proxy_on_request_headers"]!(STREAM, 1, 1);
    host.exports["proxy_on_grpc_close"]!(1, 202, 14);
    host.exports["proxy_on_context_create"]!(STREAM + 1, 1);
    host.exports["proxy_on_request_headers"]!(STREAM + 1, 1, 1);
    host.exports["proxy_on_delete"]!(STREAM);
    assert.deepEqual(host.cancelled, [203, 201]);
    host.exports["proxy_on_grpc_close"]!(1, 201, 1);
    host.exports["proxy_on_grpc_close"]!(1, 204, 14);
    assert.deepEqual(texts().slice(4), ["token 204", "stream 21 grpc 204 closed 14 unreachable"]);
    host.exports["proxy_on_delete"]!(STREAM + 1);
    assert.deepEqual(host.cancelled, [203, 201]);
  });
});

describe("memory", () => {
  it("stays bounded when every callback makes garbage", () => {
    const { exports } = host;
    host.maps.set(REQUEST_HEADERS, [["x-do", "garbage"]]);
    const run = (count: number): number => {
      for (let id = 2; id < count; id++) {
        exports["proxy_on_context_create"]!(id, 1);
        exports["proxy_on_request_headers"]!(id, 1, 1);
        exports["proxy_on_delete"]!(id);
        host.logs.length = 0;
      }
      return exports.memory.buffer.byteLength;
    };
    const settled = run(2000);
    assert.ok(settled <= 4 * 1024 * 1024, `${settled} bytes`);
    assert.equal(run(20_000), settled);
  });
});

describe("extensions of our host", () => {
  it("covers timers, route configuration, descriptors, flags, buckets, runtime", () => {
    host.routeConfigurationId = 3;
    host.routeConfigurations.set(3, Buffer.from("12345"));
    host.descriptors = [Buffer.from("first"), Buffer.from("second")];
    ask("extensions");
    assert.equal(host.timerMs, 30);
    assert.deepEqual(host.flags, [11]);
    assert.deepEqual(host.fractions, [{ key: "some.key", numerator: 3, denominator: 10 }]);
    assert.deepEqual(texts(), ["3 5", "null", "first", "second", "true 1 false 1 2500", "false"]);
    host.exports["sluice_on_timer"]!(STREAM);
    assert.deepEqual(texts().at(-1), "timer of stream 20");
    assert.deepEqual(host.continued, [0]);
  });
});

describe("contexts", () => {
  it("tolerates ids that it does not know", () => {
    const { exports } = host;
    assert.equal(exports["proxy_on_request_headers"]!(77, 0, 1), 0);
    assert.equal(exports["proxy_on_request_body"]!(77, 0, 1), 0);
    assert.equal(exports["proxy_on_request_trailers"]!(77, 0), 0);
    assert.equal(exports["proxy_on_done"]!(77), 1);
    exports["proxy_on_log"]!(77);
    exports["proxy_on_delete"]!(77);
    exports["sluice_on_timer"]!(77);
    exports["proxy_on_tick"]!(77);
    exports["proxy_on_context_create"]!(78, 77);
    assert.equal(exports["proxy_on_request_headers"]!(78, 0, 1), 0);
    assert.deepEqual(texts(), []);
  });

  it("refuses a configuration, ticks, and lets the root defer its end", () => {
    assert.equal(host.tickMs, 50);
    host.exports["proxy_on_tick"]!(1);
    assert.equal(host.exports["proxy_on_done"]!(1), 0);
    assert.deepEqual(texts(), ["tick", "root done"]);
    assert.equal(host.start(Buffer.from("refuse")), false);
  });

  it("keeps 5,000 streams apart while they come and go in any order", () => {
    const { exports } = host;
    host.maps.set(REQUEST_HEADERS, [["x-do", "nothing"]]);
    const live = new Set<number>();
    let seed = 1;
    for (let i = 0; i < 20_000; i++) {
      seed = (seed * 48_271) % 2_147_483_647;
      const id = 100 + (seed % 5000) * 16;
      if (live.delete(id)) exports["proxy_on_delete"]!(id);
      else {
        live.add(id);
        exports["proxy_on_context_create"]!(id, 1);
        exports["proxy_on_request_headers"]!(id, 1, 1);
      }
    }
    for (let id = 100; id < 100 + 5000 * 16; id += 16) {
      host.logs.length = 0;
      exports["proxy_on_log"]!(id);
      assert.deepEqual(texts(), live.has(id) ? [`log of stream ${id}`] : []);
    }
  });
});
