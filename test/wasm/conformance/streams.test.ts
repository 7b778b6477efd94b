/** Behaviours of streams that need the whole path: real guests in the real engine, with a real peer on both sides. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import * as Action from "../../../abi/action.ts";
import * as MapType from "../../../abi/map.ts";
import * as StreamType from "../../../abi/stream.ts";
import { decodePairs, encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { Downstream, exchange } from "../../http/engine.ts";
import { Puppet } from "../puppet.ts";
import { chain, header, reply, request, seenOf, streamTrace, untilSeen } from "./chain.ts";

const { CONTINUE, PAUSE } = Action;
const REQUEST = StreamType.REQUEST;

/** Pauses in `callback`, and goes on from a timer. */
function pausing(callback: string, puppet = new Puppet(), direction: number = REQUEST): Puppet {
  puppet.on(callback, PAUSE, puppet.call("set_timer", 5));
  return puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", direction));
}

describe("callbacks", () => {
  test("a request without a body ends with its headers; a body ends with its last callback; trailers end both", async (t) => {
    const { port, stages } = await chain(t, [new Puppet()], { manager: { enableTrailers: true } });
    const [stage] = stages;
    let streams = 0;
    /** What the guest saw of one more stream. */
    const sees = async (text: string): Promise<ReturnType<typeof seenOf>> => {
      const before = seenOf(stage!).length;
      await exchange(port, text);
      await untilSeen(stage!, "proxy_on_delete", ++streams);
      return seenOf(stage!).slice(before);
    };
    const ends = (seen: ReturnType<typeof seenOf>, callback: string): readonly (number | undefined)[] =>
      seen.filter(([name]) => name === callback).map(([, , end]) => end);
    const alone = await sees(request("/"));
    assert.deepEqual([ends(alone, "request_headers"), ends(alone, "request_body")], [[1], []]);
    const withBody = await sees(request("/", "", "12345"));
    assert.deepEqual([ends(withBody, "request_headers"), ends(withBody, "request_body").at(-1)], [[0], 1]);
    const chunked = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n";
    const withTrailers = await sees(`POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n${chunked}\r\n`);
    assert.ok(ends(withTrailers, "request_body").every((end) => end === 0));
    assert.equal(ends(withTrailers, "request_trailers").length, 1);
  });

  test("requests go down the chain, responses come up; a pause keeps the next filter from running", async (t) => {
    const first = pausing("proxy_on_request_headers");
    const second = new Puppet();
    for (const [puppet, name] of [
      [first, "1"],
      [second, "2"],
    ] as const) {
      puppet.on("proxy_on_response_headers", 0, header(puppet, "add", MapType.HTTP_RESPONSE_HEADERS, "x-order", name));
    }
    const { port, stages } = await chain(t, [first, second]);
    const answer = exchange(port, request("/"));
    await untilSeen(stages[0]!, "proxy_on_request_headers");
    assert.deepEqual(streamTrace(stages[1]!), []);
    assert.match(await answer, /x-order: 2\r\nx-order: 1\r\n/);
    assert.equal(seenOf(stages[1]!)[1]?.[0], "request_headers");
  });

  test("a module that is in a chain twice has a context for each place", async (t) => {
    const { port, stages } = await chain(t, [{ puppet: new Puppet(), twice: true }]);
    await exchange(port, request("/"));
    const created = stages[0]!.trace.filter(({ name }) => name === "proxy_on_context_create");
    const streams = created.filter(({ args }) => args[1] !== 0);
    assert.equal(streams.length, 2);
    assert.notEqual(streams[0]!.args[0], streams[1]!.args[0]);
    assert.notEqual(streams[0]!.args[1], streams[1]!.args[1]);
  });

  test("behind a filter that answers, others see nothing of the stream but its log", async (t) => {
    const first = new Puppet();
    first.on("proxy_on_request_headers", CONTINUE, reply(first, 403, "no"));
    const { port, stages, arrived } = await chain(t, [first, new Puppet()]);
    assert.match(await exchange(port, request("/")), /^HTTP\/1\.1 403 /);
    const names = seenOf(stages[1]!).map(([name]) => name);
    assert.ok(
      names.every((name) => ["context_create", "log", "done", "delete"].includes(name)),
      names.join(),
    );
    assert.ok(seenOf(stages[0]!).some(([name]) => name === "response_headers"));
    assert.equal(arrived.length, 0);
  });

  test("names come in lower case, pseudo-headers with their values, each of many fields", async (t) => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    puppet.on("proxy_on_request_headers", 0, puppet.call("proxy_get_header_map_pairs", 0, pp, sp));
    const { port, stages, arrived } = await chain(t, [puppet], { manager: { maxHeadersCount: 200 } });
    const many = Array.from({ length: 150 }, (_, n) => `X-Many-${n}: ${n}\r\n`).join("");
    await exchange(port, request("/p?q=1", many));
    const bytes = stages[0]!.given(pp, sp);
    const list = decodePairs(bytes, 0, bytes.length)!;
    const value = (name: string): string | undefined => list[list.indexOf(name) + 1];
    const pseudo = [":method", ":path", ":authority", ":scheme"].map((name) => value(name));
    assert.deepEqual(pseudo, ["GET", "/p?q=1", "h", "http"]);
    for (let n = 0; n < 150; n++) assert.equal(value(`x-many-${n}`), String(n));
    assert.equal(arrived[0]!.headers.filter((one) => /^x-many-/i.test(one)).length, 150);
  });

  test("pseudo-headers that a guest replaces are those of the message", async (t) => {
    const puppet = new Puppet();
    puppet.on(
      "proxy_on_request_headers",
      0,
      header(puppet, "replace", 0, ":path", "/other?x=1"),
      header(puppet, "replace", 0, ":method", "PUT"),
    );
    puppet.on("proxy_on_response_headers", 0, header(puppet, "replace", 2, ":status", "299"));
    const { port, arrived } = await chain(t, [puppet]);
    assert.match(await exchange(port, request("/")), /^HTTP\/1\.1 299 /);
    assert.equal(arrived[0]!.line, "PUT /other?x=1");
  });
});

describe("pauses", () => {
  test("in request headers: nothing more until it continues, then the body comes to the same filter", async (t) => {
    const puppet = pausing("proxy_on_request_headers");
    const { port, stages, arrived } = await chain(t, [puppet]);
    await exchange(port, request("/", "", "12345"));
    const names = seenOf(stages[0]!).map(([name]) => name);
    const timer = stages[0]!.names.indexOf("sluice_on_timer");
    assert.ok(timer > 0 && stages[0]!.names.indexOf("proxy_on_request_body") > timer, names.join());
    assert.equal(arrived[0]!.body, "12345");
  });

  test("with allow_on_headers_stop_iteration the body comes while headers are held, and they can be changed", async (t) => {
    const puppet = new Puppet();
    const late = header(puppet, "add", 0, "x-late", "1");
    puppet.on("proxy_on_request_headers", PAUSE).on("proxy_on_request_body", CONTINUE, late);
    const { port, stages, arrived } = await chain(t, [{ puppet, config: { allowOnHeadersStopIteration: true } }]);
    await exchange(port, request("/", "", "12345"));
    assert.equal(stages[0]!.status(late), 0);
    assert.ok(arrived[0]!.headers.includes("x-late"));
    assert.equal(arrived[0]!.body, "12345");
  });

  test("in the body: each callback sees all so far, and all goes on once", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_body", PAUSE);
    puppet.on("proxy_on_request_trailers", CONTINUE);
    const { port, stages, arrived } = await chain(t, [puppet], { manager: { enableTrailers: true } });
    const client = await Downstream.open(port);
    client.send("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await untilSeen(stages[0]!, "proxy_on_request_body");
    client.send("2\r\nde\r\n");
    await untilSeen(stages[0]!, "proxy_on_request_body", 2);
    client.send("0\r\nx-t: 1\r\n\r\n");
    await client.end();
    const sizes = seenOf(stages[0]!).filter(([name]) => name === "request_body");
    assert.deepEqual(
      sizes.map(([, size]) => size),
      [3, 5],
    );
    assert.equal(arrived[0]!.body, "abcde");
  });

  for (const callback of ["proxy_on_response_headers", "proxy_on_response_body"]) {
    test(`in ${callback}: the response waits, and goes on whole`, async (t) => {
      const puppet = pausing(callback, new Puppet(), StreamType.RESPONSE);
      const { port, stages } = await chain(t, [puppet]);
      const text = await exchange(port, request("/"));
      assert.ok(stages[0]!.names.includes("sluice_on_timer"));
      assert.match(text, /^HTTP\/1\.1 200 .*\r\n\r\nhello$/s);
    });
  }

  test("of one stream hold no other up", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", PAUSE);
    const { port, stages } = await chain(t, [puppet]);
    const waiting = await Downstream.open(port);
    waiting.send(request("/"));
    await untilSeen(stages[0]!, "proxy_on_request_headers");
    puppet.on("proxy_on_request_headers", CONTINUE);
    assert.match(await exchange(port, request("/")), /^HTTP\/1\.1 200 /);
    assert.equal(waiting.received, "");
    waiting.close();
  });

  test("over the limit with everything buffered: 413 for a request, 500 for a response", async (t) => {
    const big = "x".repeat(3000);
    const requests = new Puppet();
    requests.on("proxy_on_request_body", PAUSE);
    const up = await chain(t, [requests], { bufferLimitBytes: 1000 });
    assert.match(await exchange(up.port, request("/", "", big)), /^HTTP\/1\.1 413 /);
    const responses = new Puppet();
    responses.on("proxy_on_response_headers", Action.STOP_ALL_AND_BUFFER);
    const down = await chain(t, [responses], { bufferLimitBytes: 1000, answer: (_, response) => response.end(big) });
    assert.match(await exchange(down.port, request("/")), /^HTTP\/1\.1 500 /);
  });

  test("over the limit with a watermark: the peer waits, nothing fails", async (t) => {
    const big = "x".repeat(300_000);
    const puppet = pausing("proxy_on_request_headers");
    puppet.on("proxy_on_request_headers", Action.STOP_ALL_AND_WATERMARK, puppet.call("set_timer", 30));
    const { port, arrived } = await chain(t, [puppet], { bufferLimitBytes: 1000 });
    assert.match(await exchange(port, request("/", "", big)), /^HTTP\/1\.1 200 /);
    assert.equal(arrived[0]!.body, big);
  });

  test("close_stream: the connection ends without an answer; log, done and delete follow", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", CONTINUE, puppet.call("proxy_close_stream", REQUEST));
    const { port, stages, troupe } = await chain(t, [puppet]);
    assert.equal(await exchange(port, request("/")), "");
    await untilSeen(stages[0]!, "proxy_on_delete");
    assert.deepEqual(
      seenOf(stages[0]!).map(([name]) => name),
      ["context_create", "request_headers", "log", "done", "delete"],
    );
    assert.equal(troupe.engine.finished[0]!.responseCodeDetails, "wasm_close_stream");
  });
});

describe("local responses", () => {
  async function answered(t: Parameters<typeof chain>[0], puppet: Puppet, more = "", body = ""): Promise<string> {
    const { port } = await chain(t, [puppet]);
    return await exchange(port, request("/", more, body));
  }

  test("status, body, further headers and the right length arrive", async (t) => {
    const puppet = new Puppet();
    const headers = puppet.text(encodePairs(["x-why", "a", "x-why", "b"]));
    puppet.on("proxy_on_request_headers", PAUSE, reply(puppet, 403, "denied", headers));
    const text = await answered(t, puppet);
    assert.match(text, /^HTTP\/1\.1 403 .*x-why: a\r\nx-why: b\r\n.*\r\n\r\ndenied$/s);
    assert.match(text, /content-length: 6\r\n/);
    assert.match(text, /content-type: text\/plain\r\n/);
  });

  for (const [callback, body] of [
    ["proxy_on_request_headers", ""],
    ["proxy_on_request_body", "12345"],
    ["proxy_on_response_headers", ""],
  ] as const) {
    test(`from ${callback}`, async (t) => {
      const puppet = new Puppet();
      puppet.on(callback, CONTINUE, reply(puppet, 418, "short and stout"));
      assert.match(await answered(t, puppet, "", body), /^HTTP\/1\.1 418 .*\r\n\r\nshort and stout$/s);
    });
  }

  test("a redirect, and one without a body", async (t) => {
    for (const [status, name, value] of [
      [302, "location", "/there"],
      [204, "x-a", "1"],
    ] as const) {
      const puppet = new Puppet();
      const headers = puppet.text(encodePairs([name, value]));
      puppet.on("proxy_on_request_headers", CONTINUE, reply(puppet, status, "", headers));
      const text = await answered(t, puppet);
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} .*${name}: ${value}\r\n`, "s"));
      assert.ok(text.endsWith("\r\n\r\n"), text);
    }
  });

  test("to a gRPC request: the status that the guest gave, or the one that HTTP's stands for", async (t) => {
    for (const [given, expected] of [
      [9, "9"],
      [-1, "7"],
    ] as const) {
      const puppet = new Puppet();
      puppet.on("proxy_on_request_headers", CONTINUE, reply(puppet, 403, "denied", [0, 0], given));
      const text = await answered(t, puppet, "content-type: application/grpc\r\n");
      assert.match(text, new RegExp(`^HTTP/1\\.1 200 .*grpc-status: ${expected}\r\n`, "s"));
      assert.match(text, /grpc-message: denied\r\n/);
    }
    const plain = new Puppet();
    plain.on("proxy_on_request_headers", CONTINUE, reply(plain, 403, "denied", [0, 0], 9));
    assert.doesNotMatch(await answered(t, plain), /grpc/);
  });

  test("filters behind the one that answers do not run; what the callback returns is of no matter", async (t) => {
    const first = new Puppet();
    first.on("proxy_on_request_headers", CONTINUE, reply(first, 403, "no"));
    const { port, stages, arrived } = await chain(t, [first, new Puppet()]);
    assert.match(await exchange(port, request("/", "", "12345")), /^HTTP\/1\.1 403 /);
    await setTimeout(5);
    assert.ok(!stages[1]!.names.includes("proxy_on_request_headers"));
    assert.ok(!stages[0]!.names.includes("proxy_on_request_body"));
    assert.equal(arrived.length, 0);
  });
});
