/** Guests that pause, and what lets their streams go on: each case was once a stream that hung. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as StreamType from "../../abi/stream.ts";
import { cluster, Downstream, exchange, fixedOrigin, forward, route } from "../http/engine.ts";
import type { EngineOptions } from "../http/engine.ts";
import { Puppet } from "../wasm/puppet.ts";
import type { Call } from "../wasm/puppet.ts";
import { Troupe } from "./troupe.ts";
import type { Part } from "./troupe.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

function reply(puppet: Puppet, status: number, body: string): Call {
  return puppet.call("proxy_send_local_response", status, ...puppet.text("guest"), ...puppet.text(body), 0, 0, -1);
}

async function troupe(t: TestContext, parts: readonly Part[], more: Partial<EngineOptions> = {}): Promise<Troupe> {
  const up = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
  const made = await Troupe.start(parts, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    ...more,
  });
  t.after(async () => {
    made.close();
    await up.close();
  });
  return made;
}

function ends(text: string, status: number, body: string): void {
  assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
  assert.equal(text.slice(text.indexOf("\r\n\r\n") + 4), body);
}

describe("pauses", () => {
  test("a local reply that a filter holds for ever is passed by when the stream idles on", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1, reply(puppet, 403, "no"));
    puppet.on("proxy_on_response_headers", 1);
    const made = await troupe(t, [{ puppet }], { manager: { streamIdleTimeoutMs: 20 } });
    ends(await exchange(made.engine.port, GET), 504, "stream timeout");
    await made.quiet();
  });

  test("the idle timeout's own reply is passed by too", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1);
    puppet.on("proxy_on_response_headers", 1);
    const made = await troupe(t, [{ puppet }], { manager: { streamIdleTimeoutMs: 20 } });
    ends(await exchange(made.engine.port, GET), 504, "stream timeout");
    await made.quiet();
    assert.equal(made.engine.finished[0]!.responseCodeDetails, "stream_idle_timeout");
  });

  test("a filter answers instead of another filter's local reply", async (t) => {
    const outer = new Puppet();
    outer.on("proxy_on_response_headers", 1, reply(outer, 500, "instead"));
    const inner = new Puppet();
    inner.on("proxy_on_request_headers", 1, reply(inner, 403, "no"));
    const made = await troupe(t, [{ puppet: outer }, { puppet: inner }]);
    ends(await exchange(made.engine.port, GET), 500, "instead");
    await made.quiet();
  });

  test("the end of a body goes on although its data was given up", async (t) => {
    const puppet = new Puppet();
    puppet.on(
      "proxy_on_response_headers",
      0,
      puppet.call("proxy_remove_header_map_value", 2, ...puppet.text("content-length")),
    );
    puppet.on("proxy_on_response_body", 3, puppet.call("set_timer", 1));
    puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", StreamType.RESPONSE));
    const made = await troupe(t, [{ puppet }]);
    ends(await exchange(made.engine.port, GET), 200, "0\r\n\r\n");
    await made.quiet();
  });

  test("held headers are told the length of what is left of a body that was given up", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_response_headers", 1);
    puppet.on("proxy_on_response_body", 3, puppet.call("set_timer", 1));
    puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", StreamType.RESPONSE));
    const made = await troupe(t, [{ puppet, config: { allowOnHeadersStopIteration: true } }]);
    const text = await exchange(made.engine.port, GET);
    assert.match(text, /\r\ncontent-length: 0\r\n/);
    ends(text, 200, "");
    await made.quiet();
  });

  test("a connection that was pushed back for a request is read again after that one was answered", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1, puppet.call("set_timer", 5));
    puppet.on("sluice_on_timer", 0, reply(puppet, 403, "no"));
    const made = await troupe(t, [{ puppet }], { bufferLimitBytes: 1000 });
    const downstream = await Downstream.open(made.engine.port);
    t.after(() => downstream.close());
    downstream.send(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n${"x".repeat(5000)}`);
    await downstream.until((text) => text.includes("\r\n\r\nno"));
    assert.equal(made.engine.counter("http.test.downstream_flow_control_paused_reading_total"), 1);
    downstream.received = "";
    downstream.send(GET);
    ends(await downstream.end(), 403, "no");
    await made.quiet();
  });
});
