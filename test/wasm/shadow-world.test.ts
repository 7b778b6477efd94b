/** What a shadow's world gives and keeps: answers of calls that the live version makes as well, and shared data over the real one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import * as Status from "../../abi/status.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { ResetReason } from "../../runtime/errors.ts";
import { frame } from "../../runtime/upstream/grpc-frame.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { GrpcStream } from "../../runtime/upstream/grpc-stream.ts";
import { grpcUnary } from "../../runtime/upstream/grpc-call.ts";
import { httpCall } from "../../runtime/upstream/http-call.ts";
import type { Upstream, UpstreamHandler } from "../../runtime/upstream/request.ts";
import { Answers } from "../../runtime/wasm/shadow/answers.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { clusterConfig, endpoint } from "../upstream/fixtures.ts";
import { RecordingStats } from "./stage.ts";

/** A cluster whose requests a test answers by hand. */
class Cluster implements Upstream {
  readonly name = "side";
  readonly hostCount = 1;
  readonly handlers: UpstreamHandler[] = [];
  resets = 0;

  request(handler: UpstreamHandler): ReturnType<Upstream["request"]> {
    this.handlers.push(handler);
    return {
      hostname: "",
      address: "",
      unsentBytes: 0,
      sendHeaders() {},
      sendData: () => true,
      sendTrailers() {},
      flush() {},
      pauseReading() {},
      resumeReading() {},
      reset: () => void this.resets++,
    };
  }
  raw(handler: UpstreamHandler): ReturnType<Upstream["request"]> {
    return this.request(handler);
  }
}

function ask(upstream: Upstream, path: string, told: string[], who: string): { cancel(): void } {
  const headers = new HeaderMap([":method", "POST", ":path", path, ":authority", "side"]);
  const request = { headers, body: Buffer.from("body"), trailers: new HeaderMap(), timeoutMs: 0 };
  return httpCall(upstream, request, {
    onHttpCallResponse: (map, body) =>
      void told.push(`${who} ${map.get(":status")} ${map.get("x-a")} ${body.toString()}`),
    onHttpCallFailure: (reason) => void told.push(`${who} ${reason}`),
  });
}

function answer(handler: UpstreamHandler, text: string): void {
  handler.onUpstreamHeaders(200, new HeaderMap([":status", "200", "x-a", text]), false);
  handler.onUpstreamData(Buffer.from(text), true);
}

describe("answers for shadows", () => {
  test("the same question: both get the answer, the shadow first; another one: only the live version", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    ask(answers.silent("side"), "/same", told, "shadow");
    ask(answers.silent("side"), "/other", told, "shadow");
    ask(answers.tapped(real), "/same", told, "live");
    ask(answers.tapped(real), "/third", told, "live");
    assert.equal(real.handlers.length, 2);
    answer(real.handlers[0]!, "one");
    answer(real.handlers[1]!, "two");
    assert.deepEqual(told, ["shadow 200 one one", "live 200 one one", "live 200 two two"]);
  });

  test("as many as ask, in their order; who has given up hears nothing, and who comes late neither", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    ask(answers.silent("side"), "/a", told, "gone").cancel();
    ask(answers.silent("side"), "/a", told, "first");
    ask(answers.silent("side"), "/a", told, "second");
    const taken = ask(answers.silent("side"), "/b", told, "taken");
    ask(answers.tapped(real), "/a", told, "live");
    ask(answers.tapped(real), "/a", told, "live");
    ask(answers.tapped(real), "/b", told, "live");
    taken.cancel();
    ask(answers.silent("side"), "/a", told, "late");
    for (const [n, handler] of real.handlers.entries()) answer(handler, String(n));
    assert.deepEqual(told, ["first 200 0 0", "live 200 0 0", "second 200 1 1", "live 200 1 1", "live 200 2 2"]);
  });

  test("a failure is one for both; a call that the live version gives up leaves the shadow's open", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    ask(answers.silent("side"), "/a", told, "shadow");
    ask(answers.tapped(real), "/a", told, "live");
    real.handlers[0]!.onUpstreamHeaders(200, new HeaderMap([":status", "200"]), false);
    real.handlers[0]!.onUpstreamReset(ResetReason.CONNECTION_TERMINATION, "", false);
    assert.equal(told.length, 2);
    assert.deepEqual(
      told.map((line) => line.split(" ")[0]),
      ["shadow", "live"],
    );
    told.length = 0;
    ask(answers.silent("side"), "/b", told, "shadow");
    ask(answers.tapped(real), "/b", told, "live").cancel();
    assert.equal(real.resets, 1);
    assert.deepEqual(told, []);
  });

  test("unary gRPC calls, too", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    const call = (upstream: Upstream, message: string, who: string): void =>
      void grpcUnary(
        upstream,
        { service: "a.B", method: "C", metadata: null, message: Buffer.from(message), timeoutMs: 0 },
        {
          onGrpcMessage: (bytes) => void told.push(`${who} ${bytes.toString()}`),
          onGrpcFailure: (status) => void told.push(`${who} status ${status}`),
        },
      );
    call(answers.silent("side"), "question", "shadow");
    call(answers.silent("side"), "another", "other");
    call(answers.tapped(real), "question", "live");
    const [handler] = real.handlers;
    handler!.onUpstreamHeaders(200, new HeaderMap([":status", "200", "content-type", "application/grpc"]), false);
    handler!.onUpstreamData(frame(Buffer.from("yes")), false);
    handler!.onUpstreamTrailers(new HeaderMap(["grpc-status", "0"]));
    assert.deepEqual(told, ["shadow yes", "live yes"]);
  });
});

/** What a stream hears, by who it is: metadata, messages, and how it ends. */
function talk(upstream: Upstream, told: string[], who: string): GrpcStream {
  return new GrpcStream(
    upstream,
    { service: "a.B", method: "C", metadata: null },
    {
      onGrpcInitialMetadata: () => void told.push(`${who} begins`),
      onGrpcStreamMessage: (bytes) => void told.push(`${who} ${bytes.length > 20 ? bytes.length : bytes.toString()}`),
      onGrpcTrailingMetadata: () => {},
      onGrpcStreamClose: (status) => void told.push(`${who} ends ${status}`),
    },
  );
}

const say = (stream: GrpcStream, text: string, end = false): boolean => stream.send(Buffer.from(text), end);
const begin = (handler: UpstreamHandler): void =>
  handler.onUpstreamHeaders(200, new HeaderMap([":status", "200"]), false);
const message = (handler: UpstreamHandler, text: string | Buffer): void =>
  handler.onUpstreamData(frame(Buffer.from(text)), false);

describe("gRPC streams of shadows", () => {
  test("hear what the live version's hears for as long as they say the same, and end with it", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    const shadow = talk(answers.silent("side"), told, "shadow");
    say(shadow, "one");
    const live = talk(answers.tapped(real), told, "live");
    say(live, "one");
    const [handler] = real.handlers;
    begin(handler!);
    message(handler!, "1");
    say(shadow, "two");
    say(live, "two", true);
    say(shadow, "", true);
    message(handler!, "2");
    handler!.onUpstreamTrailers(new HeaderMap(["grpc-status", "0"]));
    // "" is a message, where the live one has only ended: the answers after that are none of its.
    assert.deepEqual(told, ["shadow begins", "live begins", "shadow 1", "live 1", "live 2", "live ends 0"]);
  });

  test("hear an answer once they have said as much as the live version had", async () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    const shadow = talk(answers.silent("side"), told, "shadow");
    say(shadow, "one");
    const live = talk(answers.tapped(real), told, "live");
    say(live, "one");
    say(live, "two");
    const [handler] = real.handlers;
    begin(handler!);
    message(handler!, "1");
    assert.deepEqual(told, ["live begins", "live 1"]);
    told.length = 0;
    say(shadow, "two");
    // Not while the guest is sending.
    assert.deepEqual(told, []);
    message(handler!, "2");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(told, ["live 2", "shadow begins", "shadow 1", "shadow 2"]);
    live.close();
    shadow.close();
    handler!.onUpstreamTrailers(new HeaderMap(["grpc-status", "0"]));
    assert.deepEqual(told.slice(-2), ["shadow ends 0", "live ends 0"]);
  });

  test("end where they say something else, or more, or where too much would have to be kept", async () => {
    const much = Buffer.alloc(600_000);
    const cases: [string, (live: GrpcStream, shadow: GrpcStream, handler: UpstreamHandler) => void][] = [
      ["another message", (live, shadow) => (say(live, "a"), say(shadow, "b"))],
      ["another message, first", (live, shadow) => (say(shadow, "b"), say(live, "a"))],
      ["more after the live one's end", (live, shadow) => (live.close(), say(shadow, "b"))],
      ["an end where the live one goes on", (live, shadow) => (shadow.close(), say(live, "a"))],
      ["the live one gives up", (live) => live.cancel()],
      [
        "far ahead",
        (_live, shadow) => {
          for (let n = 0; n <= 256; n++) say(shadow, String(n));
        },
      ],
      [
        "far behind, with answers that wait",
        (live, _shadow, handler) => {
          say(live, "a");
          message(handler, much);
          message(handler, much);
        },
      ],
    ];
    for (const [title, run] of cases) {
      const told: string[] = [];
      const answers = new Answers();
      const real = new Cluster();
      const shadow = talk(answers.silent("side"), told, "shadow");
      const live = talk(answers.tapped(real), told, "live");
      const [handler] = real.handlers;
      begin(handler!);
      run(live, shadow, handler!);
      await new Promise((resolve) => setImmediate(resolve));
      // As if its host were gone; the live one goes on.
      assert.deepEqual(
        told.filter((line) => line.includes("ends")),
        ["shadow ends 14"],
        title,
      );
      if (title !== "the live one gives up") message(handler!, "on");
      assert.equal(told.at(-1), title === "the live one gives up" ? "shadow ends 14" : "live on", title);
      assert.equal(say(shadow, "late"), false);
    }
  });

  test("go with the one that said the same, whoever began first; who comes late goes with none", () => {
    const told: string[] = [];
    const answers = new Answers();
    const real = new Cluster();
    for (const who of ["a", "b", "gone"]) {
      const stream = talk(answers.silent("side"), told, `shadow ${who}`);
      say(stream, who);
      if (who === "gone") stream.cancel();
    }
    for (const who of ["b", "gone", "a"]) say(talk(answers.tapped(real), told, `live ${who}`), who);
    for (const handler of real.handlers) begin(handler);
    assert.deepEqual(told, [
      "shadow b begins",
      "live b begins",
      "live gone begins",
      "shadow a begins",
      "live a begins",
    ]);
    told.length = 0;
    const early = talk(answers.tapped(real), told, "live");
    begin(real.handlers.at(-1)!);
    const late = talk(answers.silent("side"), told, "shadow");
    for (const stream of [early, late]) say(stream, "c");
    message(real.handlers.at(-1)!, "x");
    assert.deepEqual(told, ["live begins", "live x"]);
  });

  test("over a real server, which sees one of the two", async (t) => {
    let streams = 0;
    const same = (value: Buffer): Buffer => value;
    const codec = {
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    const server = new grpc.Server();
    const chat = (call: grpc.ServerDuplexStream<Buffer, Buffer>): void => {
      streams++;
      call.on("data", (bytes: Buffer) => call.write(Buffer.from(`echo ${bytes.toString()}`)));
      call.on("end", () => call.end());
    };
    const service = { Chat: { path: "/a.B/C", requestStream: true, responseStream: true, ...codec } };
    server.addService(service, { Chat: chat });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    t.after(() => server.forceShutdown());
    const clusters = new ClusterSet([clusterConfig([endpoint(port)], { protocol: "HTTP2" })], new RecordingStats());
    await clusters.start();
    t.after(() => clusters.close());
    const real = clusters.get("origin")!;
    const told: string[] = [];
    const answers = new Answers();
    const both = [talk(answers.silent(real.name), told, "shadow"), talk(answers.tapped(real), told, "live")];
    for (const stream of both) say(stream, "one");
    while (!told.includes("live echo one")) await new Promise((resolve) => setImmediate(resolve));
    for (const stream of both) say(stream, "two", true);
    while (!told.includes("live ends 0")) await new Promise((resolve) => setImmediate(resolve));
    const heard = (who: string): string[] =>
      told.filter((line) => line.startsWith(who)).map((line) => line.slice(who.length));
    assert.deepEqual(heard("shadow"), [" begins", " echo one", " echo two", " ends 0"]);
    assert.deepEqual(heard("live"), heard("shadow"));
    assert.equal(streams, 1);
  });
});

test("shared data of a shadow lies over the real one, and leaves it alone", () => {
  const real = SharedStore.create();
  const own = SharedStore.create(real);
  const key = (text: string): Buffer => Buffer.from(text);
  const read = (store: SharedStore, name: string): string | undefined =>
    store.data.get("", key(name))?.value.toString();
  for (const name of ["a", "b", "c"]) real.data.set("", key(name), key(`real ${name}`), 0);
  assert.equal(read(own, "a"), "real a");
  const { cas } = own.data.get("", key("a"))!;
  assert.equal(own.data.set("", key("a"), key("other"), cas + 1), Status.CAS_MISMATCH);
  assert.equal(own.data.set("", key("a"), key("own a"), cas), Status.OK);
  assert.deepEqual([read(own, "a"), read(real, "a")], ["own a", "real a"]);
  // From now on its own counts.
  real.data.set("", key("a"), key("real again"), 0);
  assert.equal(own.data.set("", key("a"), key("own again"), own.data.get("", key("a"))!.cas), Status.OK);
  assert.equal(own.data.delete("", key("b"), 1_000_000), Status.CAS_MISMATCH);
  assert.equal(own.data.delete("", key("b"), 0), Status.OK);
  assert.deepEqual([read(own, "b"), read(real, "b")], [undefined, "real b"]);
  assert.equal(own.data.delete("", key("b"), 0), Status.NOT_FOUND);
  assert.equal(own.data.set("", key("b"), key("own b"), 0), Status.OK);
  assert.equal(own.data.delete("", key("a"), 0), Status.OK);
  assert.deepEqual([read(own, "a"), read(own, "b"), read(real, "a")], [undefined, "own b", "real again"]);
  assert.equal(own.data.set("", key("d"), key("own d"), 0), Status.OK);
  assert.deepEqual([read(real, "d"), read(own, "c")], [undefined, "real c"]);
  own.close();
  real.close();
});
