/** What a shadow's world gives and keeps: answers of calls that the live version makes as well, and shared data over the real one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../abi/status.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { ResetReason } from "../../runtime/errors.ts";
import { frame } from "../../runtime/upstream/grpc-frame.ts";
import { grpcUnary } from "../../runtime/upstream/grpc-call.ts";
import { httpCall } from "../../runtime/upstream/http-call.ts";
import type { Upstream, UpstreamHandler } from "../../runtime/upstream/request.ts";
import { Answers } from "../../runtime/wasm/shadow/answers.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";

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
