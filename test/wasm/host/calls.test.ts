import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as grpc from "@grpc/grpc-js";
import * as BufferType from "../../../abi/buffer.ts";
import * as Status from "../../../abi/status.ts";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import { CALL_FUEL, FREE_COPY_BYTES, KEPT_COPY_FUEL_PER_BYTE, MAX_OPEN_CALL_BYTES } from "../../../runtime/limits.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { clusterConfig, endpoint } from "../../upstream/fixtures.ts";
import { callback, clustersOf, httpOrigin } from "../origins.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;
const HEADERS = encodePairs([
  ":method",
  "POST",
  ":path",
  "/check?x=1",
  ":authority",
  "auth.example",
  "x-from",
  "guest",
]);

function httpCall(
  puppet: Puppet,
  token: number,
  cluster = "origin",
  headers: Uint8Array = HEADERS,
  timeoutMs = 60_000,
): Call {
  return puppet.call(
    "proxy_http_call",
    ...puppet.text(cluster),
    ...puppet.text(headers),
    ...puppet.text("hello"),
    0,
    0,
    timeoutMs,
    token,
  );
}

describe("http_call", () => {
  test("the request goes out whole; the answer comes to the root and can resume the stream", async (t) => {
    const seen: string[] = [];
    const port = await httpOrigin(t, (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        seen.push(
          `${request.method} ${request.url} ${request.headers.host} ${String(request.headers["x-from"])} ${body}`,
        );
        response.writeHead(202, { "x-answer": "yes" });
        response.end("granted");
      });
    });
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    const [token, bp, bs, hp, hs] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
    const call = httpCall(puppet, token);
    const body = puppet.call("proxy_get_buffer_bytes", BufferType.HTTP_CALL_RESPONSE_BODY, 0, 100, bp, bs);
    const header = puppet.call("proxy_get_header_map_value", 6, ...puppet.text("x-answer"), hp, hs);
    const write = puppet.call("proxy_add_header_map_value", 6, ...puppet.text("x"), ...puppet.text("1"));
    puppet.on("proxy_on_request_headers", 1, call);
    puppet.on(
      "proxy_on_http_call_response",
      0,
      puppet.call("proxy_set_effective_context", 2),
      body,
      header,
      write,
      puppet.call("proxy_continue_stream", 0),
    );
    const stage = Stage.started(puppet, { upstreams });
    const stream = stage.stream();
    stream.requestHead();
    assert.equal(stage.status(call), Status.OK);
    assert.deepEqual(stream.events, []);
    const args = await callback(stage, "proxy_on_http_call_response");
    assert.deepEqual(args.slice(0, 2), [1, stage.u32(token)]);
    assert.equal(stage.given(bp, bs).toString(), "granted");
    assert.equal(stage.given(hp, hs).toString(), "yes");
    assert.equal(stage.status(write), Status.BAD_ARGUMENT);
    assert.deepEqual(stream.events, ["continueRequest"]);
    assert.deepEqual(seen, ["POST /check?x=1 auth.example guest hello"]);
    // Outside of its callback the answer is gone.
    const late = puppet.call("proxy_get_buffer_bytes", BufferType.HTTP_CALL_RESPONSE_BODY, 0, 100, bp, bs);
    puppet.on("proxy_on_queue_ready", 0, late);
    stage.plugin.root!.onQueueReady(1);
    assert.equal(stage.status(late), Status.NOT_FOUND);
  });

  test("what cannot be started is told at once, with token 0", async (t) => {
    const upstreams = await clustersOf(t, clusterConfig([]));
    const puppet = new Puppet();
    const token = puppet.text(Buffer.alloc(8, 0xff))[0];
    const without = (name: string): Uint8Array => {
      const list = [":method", "GET", ":path", "/", ":authority", "a"];
      list.splice(list.indexOf(name), 2);
      return encodePairs(list);
    };
    const calls = [
      httpCall(puppet, token, "nowhere"),
      httpCall(puppet, token, ""),
      ...[":method", ":path", ":authority"].map((name) => httpCall(puppet, token, "origin", without(name))),
      httpCall(puppet, token, "origin", Buffer.from("garbage!")),
      httpCall(
        puppet,
        token,
        "origin",
        encodePairs([":method", "GET", ":path", "/", ":authority", "a", "x", "1\r\ny: 2"]),
      ),
      httpCall(puppet, token, "origin", HEADERS, -1),
    ];
    const badPointers = [
      httpCall(puppet, OUTSIDE),
      puppet.call("proxy_http_call", OUTSIDE, 6, ...puppet.text(HEADERS), 0, 0, 0, 0, 100, token),
      puppet.call("proxy_http_call", ...puppet.text("origin"), OUTSIDE, 8, 0, 0, 0, 0, 100, token),
      puppet.call("proxy_http_call", ...puppet.text("origin"), ...puppet.text(HEADERS), OUTSIDE, 8, 0, 0, 100, token),
    ];
    puppet.on("proxy_on_request_headers", 0, ...calls, ...badPointers);
    const stage = Stage.started(puppet, { upstreams });
    stage.stream().requestHead();
    for (const [n, call] of calls.entries()) assert.equal(stage.status(call), Status.BAD_ARGUMENT, String(n));
    for (const call of badPointers) assert.equal(stage.status(call), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.u32(token), 0);
  });

  test("what open calls keep is bounded, and paid for", async (t) => {
    const upstreams = await clustersOf(t, clusterConfig([]));
    const puppet = new Puppet();
    const token = puppet.cell();
    const size = 100_000;
    puppet.on(
      "proxy_on_request_headers",
      0,
      puppet.call("proxy_http_call", ...puppet.text("origin"), ...puppet.text(HEADERS), 0, size, 0, 0, 1000, token),
    );
    const stage = Stage.started(puppet, { upstreams });
    stage.stream().requestHead();
    assert.ok(stage.instance.fuelUsed > BigInt(CALL_FUEL + (size - FREE_COPY_BYTES) * KEPT_COPY_FUEL_PER_BYTE));
    const { calls } = stage.plugin.root!;
    const request = {
      headers: new HeaderMap([":method", "POST", ":path", "/", ":authority", "a"]),
      body: new Uint8Array(MAX_OPEN_CALL_BYTES / 2),
      trailers: new HeaderMap(),
      timeoutMs: 1000,
    };
    assert.notEqual(calls.http("origin", request), 0);
    assert.equal(calls.http("origin", request), 0);
    calls.cancelAll();
    assert.notEqual(calls.http("origin", request), 0);
    calls.cancelAll();
  });

  test("a call that no host answers still gets its callback, after the guest has its token", async (t) => {
    const upstreams = await clustersOf(t, clusterConfig([]));
    const puppet = new Puppet();
    const token = puppet.cell();
    const call = httpCall(puppet, token);
    puppet.on("proxy_on_configure", 1, call);
    const stage = Stage.started(puppet, { upstreams });
    assert.equal(stage.status(call), Status.OK);
    assert.equal(stage.names.includes("proxy_on_http_call_response"), false);
    const args = await callback(stage, "proxy_on_http_call_response");
    assert.equal(args[1], stage.u32(token));
  });

  test("answers for an instance that is gone reach nobody", async (t) => {
    let asked = false;
    const port = await httpOrigin(t, (_request, response) => {
      asked = true;
      void setTimeout(20).then(() => response.end("late"));
    });
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1, httpCall(puppet, puppet.cell()));
    puppet.on("proxy_on_request_body", 0, puppet.trap());
    const stage = Stage.started(puppet, { upstreams });
    const stream = stage.stream();
    stream.requestHead(false);
    while (!asked) await setTimeout(2);
    const { instance } = stage;
    stream.requestData(bodyOf("x"), true);
    const calls = instance.memory.bytes.readUInt32LE(1024);
    await setTimeout(60);
    assert.equal(instance.memory.bytes.readUInt32LE(1024), calls);
    assert.deepEqual(stream.events, ["reply 503"]);
  });
});

const identity = { serialize: (value: Buffer): Buffer => value, deserialize: (value: Buffer): Buffer => value };
const ECHO: grpc.ServiceDefinition = {
  Say: {
    path: "/test.Echo/Say",
    requestStream: false,
    responseStream: false,
    requestSerialize: identity.serialize,
    requestDeserialize: identity.deserialize,
    responseSerialize: identity.serialize,
    responseDeserialize: identity.deserialize,
  },
};

async function grpcOrigin(t: TestContext): Promise<{ port: number; metadata: string[] }> {
  const server = new grpc.Server();
  const metadata: string[] = [];
  server.addService(ECHO, {
    Say(request: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
      metadata.push(String(request.metadata.get("x-meta")[0]));
      const text = request.request.toString();
      if (text === "refuse") done({ code: grpc.status.PERMISSION_DENIED, details: "not you" });
      else if (text !== "hang") done(null, Buffer.from(`echo ${text}`));
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.after(() => server.forceShutdown());
  return { port, metadata };
}

function grpcCall(
  puppet: Puppet,
  message: string,
  token: number,
  target: Uint8Array | string = "origin",
  timeoutMs = 60_000,
): Call {
  const metadata = encodePairs(["x-meta", "data"]);
  return puppet.call(
    "proxy_grpc_call",
    ...puppet.text(target),
    ...puppet.text("test.Echo"),
    ...puppet.text("Say"),
    ...puppet.text(metadata),
    ...puppet.text(message),
    timeoutMs,
    token,
  );
}

describe("grpc_call", () => {
  test("a message comes back once; the target may be a GrpcService message", async (t) => {
    const { port, metadata } = await grpcOrigin(t);
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)], { protocol: "HTTP2" }));
    // GrpcService { envoy_grpc { cluster_name: "origin" } timeout { nanos: 1 } }
    const service = Buffer.concat([
      Buffer.from("0a080a06", "hex"),
      Buffer.from("origin"),
      Buffer.from("1a021001", "hex"),
    ]);
    for (const target of ["origin", service]) {
      const puppet = new Puppet();
      const [token, pp, sp] = [puppet.cell(), puppet.cell(), puppet.cell()];
      const call = grpcCall(puppet, "hi", token, target);
      puppet.on("proxy_on_request_headers", 1, call);
      puppet.on(
        "proxy_on_grpc_receive",
        0,
        puppet.call("proxy_get_buffer_bytes", BufferType.GRPC_RECEIVE_BUFFER, 0, 100, pp, sp),
      );
      const stage = Stage.started(puppet, { upstreams });
      stage.stream().requestHead();
      assert.equal(stage.status(call), Status.OK);
      assert.equal(stage.u32(token) % 4, 1);
      assert.deepEqual(await callback(stage, "proxy_on_grpc_receive"), [1, stage.u32(token), 7]);
      assert.equal(stage.given(pp, sp).toString(), "echo hi");
      assert.equal(stage.names.includes("proxy_on_grpc_close"), false);
    }
    assert.deepEqual(metadata, ["data", "data"]);
  });

  test("failure and timeout close with a status and a message", async (t) => {
    const { port } = await grpcOrigin(t);
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)], { protocol: "HTTP2" }));
    for (const [message, timeoutMs, expected] of [
      ["refuse", 60_000, grpc.status.PERMISSION_DENIED],
      ["hang", 30, grpc.status.DEADLINE_EXCEEDED],
    ] as const) {
      const puppet = new Puppet();
      const [token, code, pp, sp] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
      puppet.on("proxy_on_request_headers", 1, grpcCall(puppet, message, token, "origin", timeoutMs));
      puppet.on("proxy_on_grpc_close", 0, puppet.call("proxy_get_status", code, pp, sp));
      const stage = Stage.started(puppet, { upstreams });
      stage.stream().requestHead();
      assert.deepEqual(await callback(stage, "proxy_on_grpc_close"), [1, stage.u32(token), expected]);
      assert.equal(stage.u32(code), expected);
      if (message === "refuse") assert.equal(stage.given(pp, sp).toString(), "not you");
    }
  });

  test("cancel silences; tokens of other kinds and unknown ones are told apart", async (t) => {
    const { port } = await grpcOrigin(t);
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)], { protocol: "HTTP2" }));
    const puppet = new Puppet();
    const token = puppet.cell();
    const calls = [
      grpcCall(puppet, "hang", token),
      puppet.call("proxy_grpc_cancel", { load: token }),
      puppet.call("proxy_grpc_cancel", { load: token }),
      puppet.call("proxy_grpc_close", 4),
      grpcCall(puppet, "x", token, "nowhere"),
      grpcCall(puppet, "x", token, ""),
      grpcCall(puppet, "x", OUTSIDE),
    ];
    puppet.on("proxy_on_request_headers", 1, ...calls);
    const stage = Stage.started(puppet, { upstreams });
    stage.stream().requestHead();
    const { BAD_ARGUMENT, INVALID_MEMORY_ACCESS, NOT_FOUND, PARSE_FAILURE } = Status;
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      [0, 0, NOT_FOUND, BAD_ARGUMENT, PARSE_FAILURE, PARSE_FAILURE, INVALID_MEMORY_ACCESS],
    );
    await setTimeout(30);
    assert.equal(
      stage.names.some((name) => name.includes("grpc")),
      false,
    );
  });
});
