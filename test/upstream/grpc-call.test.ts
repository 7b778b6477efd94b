/** Unary calls to a real gRPC server, and to hosts that only pretend to be one. */
import assert from "node:assert/strict";
import { createServer, type ServerHttp2Stream, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import {
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import * as GrpcStatus from "../../abi/grpc-status.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { GRPC_MESSAGE_BYTES } from "../../runtime/limits.ts";
import { grpcUnary, type GrpcUnary } from "../../runtime/upstream/grpc-call.ts";
import {
  decodeMessage,
  frame,
  MessageReader,
  parseStatus,
  statusOfHttp,
  timeoutText,
} from "../../runtime/upstream/grpc-frame.ts";
import type { Call, GrpcHandler, Upstream } from "../../runtime/upstream/request.ts";
import { fc } from "../properties.ts";
import { StillClock } from "../still-clock.ts";
import { clusterConfig, clusterUnderTest, endpoint, turn, until } from "./fixtures.ts";

type Handler = (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void;

/** No machine is so slow that a call to a peer that answers takes as long. */
const TIMEOUT_MS = 60_000;

const bytes = (value: Buffer): Buffer => value;
const service: ServiceDefinition = {
  call: {
    path: "/test.Echo/Call",
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  },
};

async function grpcServer(t: TestContext, handler: Handler, port = 0): Promise<{ port: number; server: Server }> {
  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(service, { call: handler as never });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    );
  });
  t.after(() => server.forceShutdown());
  return { port: bound, server };
}

/** One answer, and how often there was one. */
class Answer implements GrpcHandler {
  message: Buffer | null = null;
  status = -1;
  text = "";
  count = 0;
  #resolve: () => void = () => {};
  readonly finished = new Promise<void>((resolve) => (this.#resolve = resolve));
  onGrpcMessage(message: Buffer): void {
    this.count++;
    this.message = message;
    this.status = GrpcStatus.OK;
    this.#resolve();
  }
  onGrpcFailure(status: number, text: string): void {
    this.count++;
    this.status = status;
    this.text = text;
    this.#resolve();
  }
}

function start(upstream: Upstream, over: Partial<GrpcUnary> = {}): { answer: Answer; call: Call } {
  const answer = new Answer();
  const unary = {
    service: "test.Echo",
    method: "Call",
    metadata: null,
    message: Buffer.from("ping"),
    timeoutMs: TIMEOUT_MS,
    ...over,
  };
  const call = grpcUnary(upstream, unary, answer);
  assert.equal(answer.count, 0, "never from within the call");
  return { answer, call };
}

async function unary(upstream: Upstream, over: Partial<GrpcUnary> = {}): Promise<Answer> {
  const { answer } = start(upstream, over);
  await answer.finished;
  await turn();
  assert.equal(answer.count, 1);
  return answer;
}

const http2 = { protocol: "HTTP2" } as const;

test("a call is answered; metadata, path and timeout arrive", async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { port } = await grpcServer(t, (call, done) => {
    seen.push({ ...call.metadata.getMap(), deadline: call.getDeadline(), path: call.getPath() });
    done(null, Buffer.concat([Buffer.from("pong "), call.request]));
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const metadata = new HeaderMap([
    "x-a",
    "1",
    "te",
    "evil",
    ":path",
    "/evil",
    "content-type",
    "evil",
    "user-agent",
    "sluice",
  ]);
  for (let n = 0; n < 3; n++) {
    const answer = await unary(cluster, { metadata });
    assert.equal(answer.message?.toString(), "pong ping");
  }
  assert.equal(seen[0]!["x-a"], "1");
  assert.equal(seen[0]!["path"], "/test.Echo/Call");
  assert.equal(seen[0]!["user-agent"], "sluice");
  const left = Number(seen[0]!["deadline"]) - Date.now();
  assert.ok(left > 0 && left <= TIMEOUT_MS);
});

for (const size of [0, 1, 16_384, 100_000, 1_000_000]) {
  test(`a message of ${size} bytes comes back whole`, async (t) => {
    const { port } = await grpcServer(t, (call, done) => done(null, call.request));
    const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
    const message = Buffer.alloc(size, "abc");
    const answer = await unary(cluster, { message });
    assert.ok(answer.message?.equals(message));
  });
}

test("the message may change once the call has begun", async (t) => {
  const { port } = await grpcServer(t, (call, done) => done(null, call.request));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const message = Buffer.from("before");
  const { answer } = start(cluster, { message });
  message.fill(0);
  await answer.finished;
  assert.equal(answer.message?.toString(), "before");
});

test("a response over the limit is RESOURCE_EXHAUSTED; one at the limit is not", async (t) => {
  const { port } = await grpcServer(t, (call, done) => done(null, Buffer.alloc(Number(call.request.toString()))));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const most = await unary(cluster, { message: Buffer.from(String(GRPC_MESSAGE_BYTES)) });
  assert.equal(most.message?.length, GRPC_MESSAGE_BYTES);
  const over = await unary(cluster, { message: Buffer.from(String(GRPC_MESSAGE_BYTES + 1)) });
  assert.equal(over.status, GrpcStatus.RESOURCE_EXHAUSTED);
});

test("every status of the peer arrives with its text", async (t) => {
  const { port } = await grpcServer(t, (call, done) => {
    const metadata = new Metadata();
    metadata.set("x-more", "1");
    done({ code: Number(call.request.toString()), details: "50 % of \u00fcber\n", metadata });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  for (let status = 1; status <= 16; status++) {
    const answer = await unary(cluster, { message: Buffer.from(String(status)) });
    assert.equal(answer.status, status);
    assert.equal(answer.text, "50 % of \u00fcber\n");
  }
});

test("an unknown method is UNIMPLEMENTED", async (t) => {
  const { port } = await grpcServer(t, (_call, done) => done(null, Buffer.alloc(0)));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  assert.equal((await unary(cluster, { method: "Other" })).status, GrpcStatus.UNIMPLEMENTED);
});

test("the deadline ends the call and cancels it at the peer", async (t) => {
  let calls = 0;
  let cancelled = 0;
  const { port } = await grpcServer(t, (call) => {
    calls++;
    call.on("cancelled", () => cancelled++);
  });
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const clock = new StillClock(t);
  const late = unary(cluster, { timeoutMs: 20 });
  await until(() => calls === 1);
  clock.pass(20);
  const answer = await late;
  assert.equal(answer.status, GrpcStatus.DEADLINE_EXCEEDED);
  await until(() => cancelled === 1);
  assert.equal(stats.read("upstream_rq_active"), 0);
});

test("a cancelled call is silent, and the peer hears of it", async (t) => {
  let calls = 0;
  let cancelled = 0;
  const { port } = await grpcServer(t, (call) => {
    calls++;
    call.on("cancelled", () => cancelled++);
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const early = start(cluster);
  early.call.cancel();
  early.call.cancel();
  const late = start(cluster);
  await until(() => calls === 1);
  late.call.cancel();
  await until(() => cancelled === 1);
  assert.equal(early.answer.count + late.answer.count, 0);
});

test("a server that is killed and started again is used again", async (t) => {
  let calls = 0;
  const first = await grpcServer(t, () => void calls++);
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(first.port)], http2));
  const cut = start(cluster);
  await until(() => stats.read("upstream_rq_active") === 1 && calls === 1);
  first.server.forceShutdown();
  await cut.answer.finished;
  assert.ok([1, 13, 14].includes(cut.answer.status), String(cut.answer.status));
  await until(() => stats.read("upstream_cx_active") === 0);
  const refused = await unary(cluster);
  assert.equal(refused.status, GrpcStatus.UNAVAILABLE);
  assert.match(
    refused.text,
    /remote connection failure, transport failure reason: delayed connect error: Connection refused/,
  );
  await grpcServer(t, (_call, done) => done(null, Buffer.from("back")), first.port);
  assert.equal((await unary(cluster)).message?.toString(), "back");
});

test("no host at all is UNAVAILABLE", async (t) => {
  const { cluster } = clusterUnderTest(t, clusterConfig([], http2));
  const answer = await unary(cluster);
  assert.deepEqual([answer.status, answer.text], [GrpcStatus.UNAVAILABLE, "no healthy upstream"]);
});

// ---- Peers that break the protocol -----------------------------------------------------------------------

async function rawPeer(t: TestContext, script: (stream: ServerHttp2Stream) => void): Promise<number> {
  const server = createServer();
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  server.on("stream", (stream) => {
    stream.on("error", () => stream.destroy());
    script(stream as ServerHttp2Stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const session of sessions) session.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return (server.address() as AddressInfo).port;
}

function respond(stream: ServerHttp2Stream, body: Buffer, trailers: Record<string, string> | null, status = 200): void {
  stream.respond({ ":status": status, "content-type": "application/grpc" }, { waitForTrailers: trailers !== null });
  if (trailers !== null) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(body);
}

const ok = { "grpc-status": "0" };
const BROKEN: readonly (readonly [string, (stream: ServerHttp2Stream) => void, number])[] = [
  ["HTTP 404 without gRPC", (s) => s.respond({ ":status": 404 }, { endStream: true }), GrpcStatus.UNIMPLEMENTED],
  ["HTTP 503 with a body", (s) => respond(s, Buffer.from("no"), null, 503), GrpcStatus.UNAVAILABLE],
  ["HTTP 200 and nothing else", (s) => s.respond({ ":status": 200 }, { endStream: true }), GrpcStatus.UNKNOWN],
  ["no trailers", (s) => respond(s, frame(Buffer.from("x")), null), GrpcStatus.UNKNOWN],
  ["trailers without status", (s) => respond(s, frame(Buffer.from("x")), { a: "b" }), GrpcStatus.UNKNOWN],
  [
    "a status that is no number",
    (s) => respond(s, frame(Buffer.from("x")), { "grpc-status": "zero" }),
    GrpcStatus.UNKNOWN,
  ],
  ["a status out of range", (s) => respond(s, frame(Buffer.from("x")), { "grpc-status": "17" }), GrpcStatus.UNKNOWN],
  ["OK without a message", (s) => respond(s, Buffer.alloc(0), ok), GrpcStatus.INTERNAL],
  [
    "OK in the headers without a message",
    (s) => s.respond({ ":status": 200, ...ok }, { endStream: true }),
    GrpcStatus.INTERNAL,
  ],
  ["half a prefix", (s) => respond(s, Buffer.from([0, 0]), ok), GrpcStatus.INTERNAL],
  ["half a message", (s) => respond(s, Buffer.from([0, 0, 0, 0, 9, 1, 2]), ok), GrpcStatus.INTERNAL],
  ["a compressed message", (s) => respond(s, Buffer.from([1, 0, 0, 0, 1, 1]), ok), GrpcStatus.INTERNAL],
  [
    "two messages",
    (s) => respond(s, Buffer.concat([frame(Buffer.from("a")), frame(Buffer.from("b"))]), ok),
    GrpcStatus.INTERNAL,
  ],
  [
    "a message of 4 GiB announced",
    (s) => respond(s, Buffer.from([0, 255, 255, 255, 255]), ok),
    GrpcStatus.RESOURCE_EXHAUSTED,
  ],
  ["a reset stream", (s) => s.close(2), GrpcStatus.INTERNAL],
];
for (const [name, script, status] of BROKEN) {
  test(`a peer that breaks the protocol: ${name}`, async (t) => {
    const port = await rawPeer(t, script);
    const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
    const answer = await unary(cluster);
    assert.equal(answer.status, status, answer.text);
  });
}

test("a refused stream is tried once more, not twice", async (t) => {
  let calls = 0;
  const port = await rawPeer(t, (stream) => {
    calls++;
    stream.close(7);
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], http2));
  const answer = await unary(cluster);
  assert.equal(answer.status, GrpcStatus.UNAVAILABLE);
  assert.equal(calls, 2);
});

// ---- The wire format -----------------------------------------------------------------------------------

test("a message is read whole however it is cut", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(20), { maxLength: 40 }), (message, cuts) => {
      const reader = new MessageReader(1000);
      let rest = frame(message);
      for (const cut of cuts) {
        assert.equal(reader.push(rest.subarray(0, cut)), null);
        rest = rest.subarray(cut);
      }
      assert.equal(reader.push(rest), null);
      assert.ok(reader.clean);
      assert.deepEqual(new Uint8Array(reader.message!), message);
    }),
  );
});

test("small pure parts", () => {
  assert.deepEqual([0.4, 1, 20, 99_999_999, 100_000_000].map(timeoutText), ["1m", "1m", "20m", "99999999m", "100000S"]);
  assert.deepEqual(["0", "16", "17", "", "-1", "1.0", undefined].map(parseStatus), [0, 16, 2, 2, 2, 2, 2]);
  assert.equal(decodeMessage("a%20b%zz%c3%bc%"), "a b%zz\u00fc%");
  assert.deepEqual([400, 401, 403, 404, 429, 502, 503, 504, 418].map(statusOfHttp), [13, 16, 7, 12, 14, 14, 14, 14, 2]);
});
