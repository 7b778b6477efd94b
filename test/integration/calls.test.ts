/** HTTP calls of guests with whatever headers they like: the called host sees one well-framed request or none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as StreamType from "../../abi/stream.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { cluster, exchange, fixedOrigin, forward, origin, route } from "../http/engine.ts";
import { StillClock } from "../still-clock.ts";
import { Puppet } from "../wasm/puppet.ts";
import { RecordingStats } from "../wasm/stage.ts";
import { ATTACKS } from "./attacks.ts";
import { Troupe, until } from "./troupe.ts";
import { field, Reader } from "./wire.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

test("every attack in the headers and trailers of an HTTP call", async (t) => {
  const readers: Reader[] = [];
  const errors: string[] = [];
  const called = await origin((socket) => {
    const reader = new Reader(true);
    readers.push(reader);
    socket.on("data", (data: Buffer) => {
      try {
        for (let found = reader.add(data.toString("latin1")); found > 0; found--)
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      } catch (error) {
        errors.push(String(error));
      }
    });
  });
  const up = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld");
  const calls = new ClusterSet([cluster("calls", [called.port])], new RecordingStats());
  await calls.start();
  t.after(async () => {
    calls.close();
    await up.close();
    await called.close();
  });
  const { resources } = calls.get("calls")!;
  const clock = new StillClock(t);
  const head = [":method", "POST", ":path", "/call", ":authority", "called"];
  for (const [name, value] of ATTACKS) {
    for (const inTrailers of [false, true]) {
      const puppet = new Puppet();
      const headers = puppet.text(encodePairs(inTrailers ? head : [...head, name, value]));
      const trailers = puppet.text(encodePairs(inTrailers ? [name, value] : []));
      const call = puppet.call(
        "proxy_http_call",
        ...puppet.text("calls"),
        ...headers,
        ...puppet.text("hello"),
        ...trailers,
        500,
        puppet.cell(),
      );
      puppet.on("proxy_on_request_headers", 1, call, puppet.call("set_timer", 30));
      // The context of the one stream: 1 is the root.
      const resume = [
        puppet.call("proxy_set_effective_context", 2),
        puppet.call("proxy_continue_stream", StreamType.REQUEST),
      ];
      puppet.on("proxy_on_http_call_response", 0, ...resume);
      puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", StreamType.REQUEST));
      const troupe = await Troupe.start([{ puppet }], {
        routes: [route("/", forward("up"))],
        clusters: [cluster("up", [up.port])],
        upstreams: calls,
      });
      const answer = exchange(troupe.engine.port, GET);
      await until(() => troupe.stages[0]!.names.includes("proxy_on_request_headers"));
      // A call that was refused has no answer: the timer lets the stream go on.
      if (resources.requests + resources.pendingRequests === 0) clock.pass(30);
      assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n/);
      await troupe.quiet();
      troupe.close();
    }
  }
  assert.deepEqual(errors, []);
  const messages = readers.flatMap((reader) => reader.messages);
  assert.ok(messages.length > ATTACKS.length);
  for (const message of messages) {
    assert.match(message.start, /^[A-Z]+ \S+ HTTP\/1\.1$/);
    assert.equal(field(message, "x-injected"), undefined);
    assert.equal(message.body, "hello");
  }
});
