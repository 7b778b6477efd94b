/** Behaviours of HTTP calls: real guests against real servers. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import * as Action from "../../../abi/action.ts";
import * as BufferType from "../../../abi/buffer.ts";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import * as StreamType from "../../../abi/stream.ts";
import { decodePairs, encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { exchange } from "../../http/engine.ts";
import { clusterConfig, endpoint } from "../../upstream/fixtures.ts";
import { callback, clustersOf, httpOrigin } from "../origins.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";
import { chain, reply, request } from "./chain.ts";

const ANSWERED = "proxy_on_http_call_response";

function httpCall(puppet: Puppet, path: string, body = "", method = "GET", more: readonly string[] = []): Call {
  const headers = encodePairs([":method", method, ":path", path, ":authority", "a", ...more]);
  const target = [...puppet.text("origin"), ...puppet.text(headers)];
  return puppet.call("proxy_http_call", ...target, ...puppet.text(body), 0, 0, 60_000, puppet.cell());
}

describe("answers", () => {
  for (const [what, method, path, status, body, trailers] of [
    ["with a length", "GET", "/length", "200", "hello", 0],
    ["in chunks, with trailers", "GET", "/chunks", "200", "hello", 1],
    ["without a body", "GET", "/none", "204", "", 0],
    ["to HEAD", "HEAD", "/length", "200", "", 0],
    ["large", "GET", "/large", "200", "x".repeat(900_000), 0],
  ] as const) {
    test(`${what}: status, whole body, number of trailers`, async (t) => {
      const port = await httpOrigin(t, (incoming, response) => {
        if (incoming.url === "/none") response.writeHead(204).end();
        else if (incoming.url === "/large") response.end("x".repeat(900_000));
        else if (incoming.url === "/chunks") {
          response.writeHead(200, { trailer: "x-t" });
          response.write("hel");
          response.addTrailers({ "x-t": "1" });
          response.end("lo");
        } else response.writeHead(200, { "content-length": "5" }).end(incoming.method === "HEAD" ? undefined : "hello");
      });
      const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
      const puppet = new Puppet();
      const [bp, bs, hp, hs] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
      const [tp, ts] = [puppet.cell(), puppet.cell()];
      puppet.on("proxy_on_request_headers", 0, httpCall(puppet, path, "", method));
      puppet.on(
        ANSWERED,
        0,
        puppet.call("proxy_get_buffer_bytes", BufferType.HTTP_CALL_RESPONSE_BODY, 0, -1, bp, bs),
        puppet.call("proxy_get_header_map_pairs", MapType.HTTP_CALL_RESPONSE_HEADERS, hp, hs),
        puppet.call("proxy_get_header_map_pairs", MapType.HTTP_CALL_RESPONSE_TRAILERS, tp, ts),
      );
      const stage = Stage.started(puppet, { upstreams });
      stage.stream().requestHead();
      await callback(stage, ANSWERED);
      const pairs = stage.given(hp, hs);
      const headers = new HeaderMap(decodePairs(pairs, 0, pairs.length));
      assert.equal(headers.get(":status"), status);
      assert.equal(stage.given(bp, bs).toString(), body);
      const [, , fields] = await callback(stage, ANSWERED);
      assert.equal(fields, headers.size);
      const ends = stage.given(tp, ts);
      assert.equal(new HeaderMap(decodePairs(ends, 0, ends.length)).size, trailers);
    });
  }
});

describe("calls that fail", () => {
  /** The answer's number of fields, its status, and what proxy_get_status says. */
  async function failed(
    t: TestContext,
    ports: readonly number[],
    timeoutMs = 60_000,
  ): Promise<readonly [fields: number, status: string, code: number, reason: string]> {
    const upstreams = await clustersOf(t, clusterConfig(ports.map((port) => endpoint(port))));
    const puppet = new Puppet();
    const [hp, hs, code, mp, ms] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
    const headers = puppet.text(encodePairs([":method", "GET", ":path", "/", ":authority", "a"]));
    const target = [...puppet.text("origin"), ...headers];
    const call = puppet.call("proxy_http_call", ...target, 0, 0, 0, 0, timeoutMs, puppet.cell());
    const name = puppet.text(":status");
    puppet.on("proxy_on_request_headers", Action.PAUSE, call);
    puppet.on(
      ANSWERED,
      0,
      puppet.call("proxy_get_header_map_value", MapType.HTTP_CALL_RESPONSE_HEADERS, ...name, hp, hs),
      puppet.call("proxy_get_status", code, mp, ms),
      puppet.call("proxy_set_effective_context", 2),
      puppet.call("proxy_continue_stream", StreamType.REQUEST),
    );
    const stage = Stage.started(puppet, { upstreams });
    const stream = stage.stream();
    stream.requestHead();
    const [, , fields] = await callback(stage, ANSWERED);
    assert.deepEqual(stream.events, ["continueRequest"]);
    const texts = [
      [hp, hs],
      [mp, ms],
    ].map(([at, size]) => stage.given(at!, size!).toString());
    return [fields!, texts[0]!, stage.u32(code), texts[1]!];
  }

  test("because nobody is there, or nobody answers in time: an answer of the proxy's own, and the request goes on", async (t) => {
    const silent = await httpOrigin(t, () => {});
    const closed = await httpOrigin(t, (incoming) => incoming.socket.destroy());
    const statuses = [
      await failed(t, []),
      await failed(t, [1]),
      await failed(t, [closed]),
      await failed(t, [silent], 20),
    ];
    assert.deepEqual(
      statuses.map(([fields, status]) => [fields > 0, status]),
      [
        [true, "503"],
        [true, "503"],
        [true, "503"],
        [true, "504"],
      ],
    );
  });

  test("because the answer breaks off: no fields, BrokenConnection and the reason", async (t) => {
    const port = await httpOrigin(t, (incoming, response) => {
      response.writeHead(200, { "content-length": "10" });
      response.write("half", () => incoming.socket.destroy());
    });
    const [fields, status, code, reason] = await failed(t, [port]);
    assert.deepEqual([fields, status, code], [0, "", Status.BROKEN_CONNECTION]);
    assert.ok(reason.length > 0);
  });
});

describe("calls", () => {
  test("a length for the body, the path with its query, many fields", async (t) => {
    let seen = "";
    const port = await httpOrigin(t, (incoming, response) => {
      const { "content-length": length, "transfer-encoding": coding } = incoming.headers;
      const many = incoming.rawHeaders.filter((name) => name.startsWith("x-many-")).length;
      seen = `${incoming.method} ${incoming.url} ${length} ${coding} ${many}`;
      incoming.resume();
      response.end();
    });
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    const more = Array.from({ length: 60 }, (_, n) => [`x-many-${n}`, "v"]).flat();
    puppet.on("proxy_on_request_headers", 0, httpCall(puppet, "/p?a=b&c", "12345", "POST", more));
    const stage = Stage.started(puppet, { upstreams });
    stage.stream().requestHead();
    await callback(stage, ANSWERED);
    assert.equal(seen, "POST /p?a=b&c 5 undefined 60");
  });

  test("two and ten at once, from a tick, and one after another from the answers", async (t) => {
    const port = await httpOrigin(t, (_, response) => response.end("ok"));
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    const calls = (count: number): Call[] => Array.from({ length: count }, () => httpCall(puppet, "/"));
    puppet.on("proxy_on_request_headers", 0, ...calls(2)).on("proxy_on_request_body", 0, ...calls(10));
    const stage = Stage.started(puppet, { upstreams });
    const stream = stage.stream();
    stream.requestHead(false);
    await callback(stage, ANSWERED, 2);
    stream.requestData(bodyOf("x"), true);
    await callback(stage, ANSWERED, 12);
    puppet.on("proxy_on_tick", 0, httpCall(puppet, "/")).on(ANSWERED, 0, httpCall(puppet, "/"));
    const { instance, plugin } = stage;
    instance.callWith(plugin.root!, instance.export("proxy_on_tick")!, "proxy_on_tick", []);
    await callback(stage, ANSWERED, 20);
    puppet.on(ANSWERED, 0);
    const tokens = stage.trace.filter(({ name }) => name === ANSWERED).map(({ args }) => args[1]);
    assert.equal(new Set(tokens).size, tokens.length);
  });

  test("a trap in the answer's callback harms its own instance, and the next stream is served", async (t) => {
    const port = await httpOrigin(t, (_, response) => response.end("ok"));
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", Action.PAUSE, httpCall(puppet, "/")).on(ANSWERED, 0, puppet.trap());
    const stage = Stage.started(puppet, { upstreams });
    const stream = stage.stream();
    stream.requestHead();
    while (stream.events.length === 0) await setTimeout(1);
    assert.deepEqual(stream.events, ["reply 503"]);
    while (stage.plugin.root === null) await setTimeout(1);
    stage.stream().requestHead();
    assert.equal(stage.names.at(-1), "proxy_on_request_headers");
  });

  test("two filters of a chain wait for a call of their own each", async (t) => {
    const port = await httpOrigin(t, (_, response) => response.end("ok"));
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const parts = [new Puppet(), new Puppet()].map((puppet) => {
      const contextCell = puppet.cell();
      puppet.on("proxy_on_request_headers", Action.PAUSE, httpCall(puppet, "/"));
      puppet.on(
        ANSWERED,
        0,
        puppet.call("proxy_set_effective_context", { load: contextCell }),
        puppet.call("proxy_continue_stream", StreamType.REQUEST),
      );
      return { puppet, contextCell };
    });
    const made = await chain(t, parts, { upstreams });
    assert.match(await exchange(made.port, request("/")), /^HTTP\/1\.1 200 /);
    for (const stage of made.stages) assert.equal(stage.names.filter((name) => name === ANSWERED).length, 1);
  });

  test("a local response from the answer's callback ends the request that waits", async (t) => {
    const port = await httpOrigin(t, (_, response) => response.writeHead(403).end());
    const upstreams = await clustersOf(t, clusterConfig([endpoint(port)]));
    const puppet = new Puppet();
    const contextCell = puppet.cell();
    puppet.on("proxy_on_request_headers", Action.PAUSE, httpCall(puppet, "/"));
    puppet.on(
      ANSWERED,
      0,
      puppet.call("proxy_set_effective_context", { load: contextCell }),
      reply(puppet, 401, "who are you?"),
    );
    const made = await chain(t, [{ puppet, contextCell }], { upstreams });
    assert.match(await exchange(made.port, request("/")), /^HTTP\/1\.1 401 .*who are you\?$/s);
    assert.equal(made.arrived.length, 0);
  });
});
