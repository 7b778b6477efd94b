/** gRPC as its own library speaks it, through HTTP/2 on both sides: one answer, streams of them, failures, deadlines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { Client, credentials, Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { ServerDuplexStream, ServiceError } from "@grpc/grpc-js";
import { DEAD_PORT } from "../ports.ts";
import { until } from "../upstream/fixtures.ts";
import { cluster, Engine, forward, route } from "./engine.ts";

const same = (bytes: Buffer): Buffer => bytes;
const common = {
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
} as const;
const UNARY = { path: "/test.Echo/Unary", requestStream: false, responseStream: false, ...common } as const;
const CHAT = { path: "/test.Echo/Chat", requestStream: true, responseStream: true, ...common } as const;

async function upstream(t: TestContext): Promise<number> {
  const server = new Server();
  server.addService(
    { unary: UNARY, chat: CHAT },
    {
      unary: (
        call: { request: Buffer; metadata: Metadata },
        done: (error: Partial<ServiceError> | null, value?: Buffer, trailers?: Metadata) => void,
      ) => {
        const text = call.request.toString();
        const trailers = new Metadata();
        trailers.set("x-seen", String(call.metadata.get("x-mine")[0]));
        if (text === "fail") done({ code: status.FAILED_PRECONDITION, details: "no such thing" });
        else if (text !== "never") done(null, call.request, trailers);
      },
      chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on("data", (message: Buffer) => call.write(Buffer.concat([message, message])));
        call.on("end", () => call.end());
        call.on("error", () => {});
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return port;
}

async function client(t: TestContext): Promise<{ peer: Client; engine: Engine }> {
  const up = cluster("up", [await upstream(t)], { protocol: "HTTP2" });
  const engine = await Engine.start({ routes: [route("/", forward("up"))], clusters: [up] });
  t.after(() => engine.close());
  const peer = new Client(`127.0.0.1:${engine.port}`, credentials.createInsecure());
  t.after(() => peer.close());
  return { peer, engine };
}

function unary(
  peer: Client,
  text: string,
  options: { deadline?: number } = {},
): Promise<{ error: ServiceError | null; value: string; trailers: Metadata | null }> {
  const metadata = new Metadata();
  metadata.set("x-mine", "yes");
  return new Promise((resolve) => {
    let trailers: Metadata | null = null;
    const call = peer.makeUnaryRequest(UNARY.path, same, same, Buffer.from(text), metadata, options, (error, value) =>
      setImmediate(() => resolve({ error, value: value?.toString() ?? "", trailers })),
    );
    call.on("status", (end) => (trailers = end.metadata));
  });
}

test("one answer with its trailers; a failure that is trailers alone", async (t) => {
  const { peer, engine } = await client(t);
  const good = await unary(peer, "hello");
  assert.deepEqual([good.error, good.value, good.trailers?.get("x-seen")], [null, "hello", ["yes"]]);
  const bad = await unary(peer, "fail");
  assert.deepEqual([bad.error?.code, bad.error?.details], [status.FAILED_PRECONDITION, "no such thing"]);
  await until(() => engine.finished.length === 2);
  assert.deepEqual(
    engine.finished.map(({ protocol, responseCode }) => [protocol, responseCode]),
    [
      ["HTTP/2", 200],
      ["HTTP/2", 200],
    ],
  );
});

test("a deadline that passes is told to the host", async (t) => {
  const { peer, engine } = await client(t);
  assert.equal((await unary(peer, "hello")).error, null);
  // On a machine that pauses, a deadline may pass before the call has left; then nobody can be told.
  for (let ms = 50; engine.counter("http.test.downstream_rq_total") === 1; ms *= 2) {
    const { error } = await unary(peer, "never", { deadline: Date.now() + ms });
    assert.equal(error?.code, status.DEADLINE_EXCEEDED);
  }
  await until(() => engine.finished.length > 1);
  await until(() => engine.stats.gauge("cluster.up.upstream_rq_active").value === 0);
});

test("a host that is away is UNAVAILABLE", async (t) => {
  const engine = await Engine.start({
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [DEAD_PORT], { protocol: "HTTP2" })],
  });
  t.after(() => engine.close());
  const peer = new Client(`127.0.0.1:${engine.port}`, credentials.createInsecure());
  t.after(() => peer.close());
  const { error } = await unary(peer, "hello");
  assert.equal(error?.code, status.UNAVAILABLE);
  assert.match(error.details, /upstream connect error/);
});

test("messages go back and forth while both directions are open", async (t) => {
  const { peer } = await client(t);
  const call = peer.makeBidiStreamRequest<Buffer, Buffer>(CHAT.path, same, same);
  const seen: number[] = [];
  const rounds = 200;
  call.on("data", (message: Buffer) => {
    seen.push(message.length);
    if (seen.length < rounds) call.write(Buffer.alloc(seen.length * 10));
    else call.end();
  });
  call.write(Buffer.alloc(1));
  const end = await new Promise<number>((resolve) => call.on("status", ({ code }) => resolve(code)));
  assert.equal(end, status.OK);
  assert.deepEqual(seen, [2, ...Array.from({ length: rounds - 1 }, (_, at) => (at + 1) * 20)]);
});
