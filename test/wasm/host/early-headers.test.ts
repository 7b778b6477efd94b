/** Response headers that are set before there is a response. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { cluster, Engine, exchange, fixedOrigin, forward, route } from "../../http/engine.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";

const MAP = 2;

function add(puppet: Puppet, name: string, value: string): Call {
  return puppet.call("proxy_add_header_map_value", MAP, ...puppet.text(name), ...puppet.text(value));
}
function replace(puppet: Puppet, name: string, value: string): Call {
  return puppet.call("proxy_replace_header_map_value", MAP, ...puppet.text(name), ...puppet.text(value));
}
function remove(puppet: Puppet, name: string): Call {
  return puppet.call("proxy_remove_header_map_value", MAP, ...puppet.text(name));
}

describe("response headers from request callbacks", () => {
  test("are added to the response, replace its own, or take them away", () => {
    const puppet = new Puppet();
    const calls = [
      add(puppet, "x-added", "1"),
      add(puppet, "x-both", "guest"),
      replace(puppet, "Server", "guest"),
      remove(puppet, "x-secret"),
      remove(puppet, ":status"),
    ];
    puppet.on("proxy_on_request_headers", 0, ...calls);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    for (const call of calls) assert.equal(stage.status(call), Status.OK);
    stream.responseHead([":status", "200", "server", "a", "server", "b", "x-secret", "s", "x-both", "origin"]);
    assert.deepEqual(stream.responseHeaders!.list, [
      ...[":status", "200", "x-both", "origin"],
      ...["x-added", "1", "x-both", "guest", "server", "guest"],
    ]);
  });

  test("can be read again, and are there when the response's own callback runs", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const absent = puppet.call("proxy_get_header_map_value", MAP, ...puppet.text("x-early"), pp, sp);
    const read = puppet.call("proxy_get_header_map_value", MAP, ...puppet.text("x-early"), pp, sp);
    const later = puppet.call("proxy_get_header_map_value", MAP, ...puppet.text("x-early"), pp + 8, sp + 8);
    puppet.on("proxy_on_request_headers", 0, absent, add(puppet, "x-early", "1"), read);
    puppet.on("proxy_on_response_headers", 0, later);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead();
    assert.deepEqual(
      [absent, read, later].map((call) => stage.status(call)),
      [Status.BAD_ARGUMENT, 0, 0],
    );
  });

  test("a whole map replaces those fields of the response, and what was set before", () => {
    const puppet = new Puppet();
    const pairs = puppet.text(encodePairs([":status", "418", "x-r", "2", "x-r", "3"]));
    const set = puppet.call("proxy_set_header_map_pairs", MAP, ...pairs);
    puppet.on("proxy_on_request_body", 0, add(puppet, "x-before", "1"), set);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead(false);
    stream.requestData(bodyOf("x"), true);
    stream.responseHead([":status", "200", "x-r", "1", "x-other", "1"]);
    assert.deepEqual(stream.responseHeaders!.list, [":status", "418", "x-other", "1", "x-r", "2", "x-r", "3"]);
  });

  test("illegal ones are refused as ever", () => {
    const puppet = new Puppet();
    const calls = [add(puppet, "x a", "1"), add(puppet, "x-a", "1\r\n"), replace(puppet, ":status", "99")];
    puppet.on("proxy_on_request_headers", 0, ...calls);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    for (const call of calls) assert.equal(stage.status(call), Status.BAD_ARGUMENT);
  });

  test("reach downstream from a module that has no response callback, in responses and in local replies, of this stream only", async (t) => {
    const puppet = new Puppet({ callbacks: ["proxy_on_request_headers"] });
    puppet.on("proxy_on_request_headers", 0, replace(puppet, "x-early", "from the guest"));
    const stage = Stage.started(puppet);
    const upstream = await fixedOrigin("HTTP/1.1 200 OK\r\nx-early: origin\r\ncontent-length: 2\r\n\r\nok");
    const proxy = await Engine.start({
      routes: [route("/there", forward("c"))],
      clusters: [cluster("c", [upstream.port])],
      filters: [stage.factory],
    });
    t.after(async () => {
      proxy.close();
      await upstream.close();
    });
    const get = (path: string): Promise<string> =>
      exchange(proxy.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    const there = await get("/there");
    assert.match(there, /^HTTP\/1\.1 200 .*x-early: from the guest\r\n.*ok$/s);
    assert.doesNotMatch(there, /origin/);
    assert.match(await get("/nowhere"), /^HTTP\/1\.1 404 .*x-early: from the guest\r\n/s);
    puppet.on("proxy_on_request_headers", 0);
    assert.match(await get("/there"), /x-early: origin\r\n/);
  });
});
