/** Buffered HTTP calls, over both protocols. */
import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { ResetReason } from "../../runtime/errors.ts";
import { HTTP_CALL_RESPONSE_BYTES } from "../../runtime/limits.ts";
import { httpCall, type HttpCallRequest } from "../../runtime/upstream/http-call.ts";
import type { Call, HttpCallHandler, Upstream } from "../../runtime/upstream/request.ts";
import { DEAD_PORT } from "../ports.ts";
import { StillClock } from "../still-clock.ts";
import {
  clusterConfig,
  clusterUnderTest,
  endpoint,
  onRequests,
  origin,
  requestHeaders,
  turn,
  until,
} from "./fixtures.ts";

class Answer implements HttpCallHandler {
  count = 0;
  headers = new HeaderMap();
  body = "";
  bodyBytes = 0;
  trailers = new HeaderMap();
  failure: ResetReason | null = null;
  #resolve: () => void = () => {};
  readonly finished = new Promise<void>((resolve) => (this.#resolve = resolve));
  onHttpCallResponse(headers: HeaderMap, body: Buffer, trailers: HeaderMap): void {
    this.count++;
    this.headers = headers;
    this.body = body.toString("latin1", 0, 1000);
    this.bodyBytes = body.length;
    this.trailers = trailers;
    this.#resolve();
  }
  onHttpCallFailure(reason: ResetReason): void {
    this.count++;
    this.failure = reason;
    this.#resolve();
  }
}

function start(upstream: Upstream, over: Partial<HttpCallRequest> = {}): { answer: Answer; call: Call } {
  const answer = new Answer();
  const request = {
    headers: requestHeaders("GET", "/"),
    body: new Uint8Array(0),
    trailers: new HeaderMap(),
    timeoutMs: 60_000,
    ...over,
  };
  const call = httpCall(upstream, request, answer);
  assert.equal(answer.count, 0, "never from within the call");
  return { answer, call };
}

async function call(upstream: Upstream, over: Partial<HttpCallRequest> = {}): Promise<Answer> {
  const { answer } = start(upstream, over);
  await answer.finished;
  await turn();
  assert.equal(answer.count, 1);
  return answer;
}

test("headers, body and trailers go out and come back; framing is the host's", async (t) => {
  const heads: string[] = [];
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head, body) => {
      heads.push(head);
      socket.write(
        `HTTP/1.1 201 Created\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nx-t: 2\r\n\r\n`,
      );
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const headers = requestHeaders("POST", "/p", [
    "content-length",
    "999",
    "transfer-encoding",
    "chunked",
    "connection",
    "close",
    "x-b",
    "2",
  ]);
  const body = Buffer.from("hello");
  const { answer } = start(cluster, { headers, body });
  body.fill(0);
  await answer.finished;
  assert.equal(answer.headers.get(":status"), "201");
  assert.equal(answer.headers.get("x-a"), "1");
  assert.equal(answer.body, "hello");
  assert.equal(answer.trailers.get("x-t"), "2");
  assert.match(heads[0]!, /^POST \/p HTTP\/1\.1\r\nhost: origin\.test\r\n/);
  assert.match(heads[0]!, /content-length: 5/);
  assert.match(heads[0]!, /x-b: 2/);
  assert.doesNotMatch(heads[0]!, /transfer-encoding|close|999/);
  assert.equal(headers.get("content-length"), "999", "the guest's own map is left alone");
});

test("a body with trailers is carried over HTTP/2, and :scheme may be absent", async (t) => {
  const server = createServer();
  server.on("stream", (stream) => {
    let text = "";
    let trailer = "";
    stream.on("trailers", (fields) => (trailer = String(fields["x-t"])));
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    stream.on("end", () => {
      const answering = stream as unknown as { respond(headers: object): void; end(text: string): void };
      answering.respond({ ":status": 200 });
      answering.end(`${text} ${trailer}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], { protocol: "HTTP2" }));
  const headers = new HeaderMap([":method", "POST", ":path", "/", ":authority", "a"]);
  const answer = await call(cluster, { headers, body: Buffer.from("b"), trailers: new HeaderMap(["x-t", "7"]) });
  assert.equal(answer.body, "b 7");
});

test("no host, nobody listening, a broken answer: a response of our own", async (t) => {
  const none = clusterUnderTest(t, clusterConfig([]));
  const noHost = await call(none.cluster);
  assert.deepEqual(noHost.headers.list, [":status", "503", "content-length", "19", "content-type", "text/plain"]);
  assert.equal(noHost.body, "no healthy upstream");

  const refused = await call(clusterUnderTest(t, clusterConfig([endpoint(DEAD_PORT)])).cluster);
  assert.equal(refused.headers.get(":status"), "503");
  assert.equal(
    refused.body,
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused",
  );

  const garbage = await origin(t, (socket) => onRequests(socket, () => socket.end("garbage\r\n\r\n")));
  const broken = await call(clusterUnderTest(t, clusterConfig([endpoint(garbage.port)])).cluster);
  assert.equal(broken.headers.get(":status"), "502");
  assert.equal(broken.body, "upstream connect error or disconnect/reset before headers. reset reason: protocol error");
});

test("too many requests: 503 with x-envoy-overloaded", async (t) => {
  const { port } = await origin(t, () => {});
  const circuitBreakers = { maxConnections: 1, maxPendingRequests: 0, maxRequests: 1, maxRetries: 3 };
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], { circuitBreakers }));
  const answer = await call(cluster);
  assert.equal(answer.headers.get(":status"), "503");
  assert.equal(answer.headers.get("x-envoy-overloaded"), "true");
});

test("the timeout is a 504 of our own before the headers, a failure after them", async (t) => {
  let asked = 0;
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      asked++;
      if (head.includes("/half")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
    }),
  );
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const clock = new StillClock(t);
  const early = call(cluster, { timeoutMs: 20 });
  await until(() => asked === 1);
  clock.pass(20);
  const before = await early;
  assert.equal(before.headers.get(":status"), "504");
  assert.equal(before.body, "upstream request timeout");
  const received = stats.read("upstream_cx_rx_bytes_total");
  const late = call(cluster, { timeoutMs: 20, headers: requestHeaders("GET", "/half") });
  await until(() => stats.read("upstream_cx_rx_bytes_total") > received);
  clock.pass(20);
  const after = await late;
  assert.equal(after.failure, ResetReason.LOCAL_RESET);
  assert.equal(stats.read("upstream_cx_active"), 0);
  assert.equal(cluster.hosts[0]!.rqTimeout, 2);
});

test("a response that breaks off is a failure", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  assert.equal((await call(cluster)).failure, ResetReason.CONNECTION_TERMINATION);
});

for (const framing of ["content-length", "chunked"] as const) {
  test(`a response at the limit is whole, one over it a failure: ${framing}`, async (t) => {
    const { port } = await origin(t, (socket) =>
      onRequests(socket, (head) => {
        const size = Number(/\/(\d+)/.exec(head)?.[1]);
        const body = Buffer.alloc(size, 120);
        if (framing === "chunked") {
          socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
          socket.write(`${size.toString(16)}\r\n`);
          socket.write(body);
          socket.write("\r\n0\r\n\r\n");
        } else {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
          socket.write(body);
        }
      }),
    );
    const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
    const most = await call(cluster, { headers: requestHeaders("GET", `/${HTTP_CALL_RESPONSE_BYTES}`) });
    assert.equal(most.bodyBytes, HTTP_CALL_RESPONSE_BYTES);
    const over = await call(cluster, { headers: requestHeaders("GET", `/${HTTP_CALL_RESPONSE_BYTES + 1}`) });
    assert.equal(over.failure, ResetReason.LOCAL_RESET);
  });
}

test("a kept connection that turned out dead is not noticed by an idempotent call", async (t) => {
  let requests = 0;
  const { port, sockets } = await origin(t, (socket, at) =>
    onRequests(socket, (_head, _body, index) => {
      requests++;
      if (at === 0 && index === 1) socket.resetAndDestroy();
      else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await call(cluster);
  assert.equal((await call(cluster)).body, "ok");
  assert.equal(requests, 3);
  assert.equal(sockets.length, 2);
});

test("a cancelled call is silent", async (t) => {
  const { port, sockets } = await origin(t, () => {});
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const early = start(cluster);
  early.call.cancel();
  early.call.cancel();
  const late = start(cluster);
  await until(() => sockets.length > 0 && stats.read("upstream_rq_active") === 1);
  late.call.cancel();
  await turn();
  assert.equal(early.answer.count + late.answer.count, 0);
  assert.equal(stats.read("upstream_rq_active"), 0);
});
