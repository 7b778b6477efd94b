/** A local reply, a closed stream or a trap in each callback, with other streams under way in the same instance. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as StreamType from "../../abi/stream.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { cluster, exchange, fixedOrigin, forward, route } from "../http/engine.ts";
import { Puppet } from "../wasm/puppet.ts";
import type { Call } from "../wasm/puppet.ts";
import { RecordingStats } from "../wasm/stage.ts";
import { armedDeadlines, Troupe, until } from "./troupe.ts";
import { Reader } from "./wire.ts";

const REQUEST =
  "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";
const RESPONSE = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\nx-t: 1\r\n\r\n";
const STREAMS = 4;

/** What downstream sees: a status, "cut" after a response began, "none" when the connection closed silently. */
type Outcome = number | "cut" | "none";
const HEADERS_OUT = ["proxy_on_response_body", "proxy_on_response_trailers"];
const AFTER = ["proxy_on_log", "proxy_on_done", "proxy_on_delete"];
const CALLBACKS = [
  "proxy_on_request_headers",
  "proxy_on_request_body",
  "proxy_on_request_trailers",
  "sluice_on_timer",
  "proxy_on_http_call_response",
  "proxy_on_response_headers",
  ...HEADERS_OUT,
  ...AFTER,
];

type ActionName = "reply" | "replies" | "close" | "trap" | "overflow";

function action(puppet: Puppet, name: ActionName): Call[] {
  const reply = (status: number): Call =>
    puppet.call("proxy_send_local_response", status, ...puppet.text("guest"), ...puppet.text("guest"), 0, 0, -1);
  switch (name) {
    case "reply":
      return [reply(418)];
    case "replies":
      return [reply(418), reply(500)];
    case "close":
      return [puppet.call("proxy_close_stream", StreamType.RESPONSE)];
    case "trap":
      return [puppet.trap()];
    case "overflow":
      return [puppet.overflow()];
  }
}

function expected(callback: string, name: ActionName, open: boolean): Outcome {
  if (AFTER.includes(callback)) return 200;
  const out = HEADERS_OUT.includes(callback);
  // Refused by the host: the response has begun.
  if (name === "reply" || name === "replies") return out ? 200 : 418;
  if (name === "close") return out ? "cut" : "none";
  if (open) return 200;
  return out ? "cut" : 503;
}

function troubled(callback: string, name: ActionName): { puppet: Puppet; contextCell: number } {
  const puppet = new Puppet();
  const contextCell = puppet.cell();
  const calls = action(puppet, name);
  if (callback === "sluice_on_timer") puppet.on("proxy_on_request_headers", 1, puppet.call("set_timer", 1));
  if (callback === "proxy_on_http_call_response") {
    const headers = encodePairs([":method", "GET", ":path", "/", ":authority", "a"]);
    const target = [...puppet.text("calls"), ...puppet.text(headers)] as const;
    puppet.on("proxy_on_request_headers", 1, puppet.call("proxy_http_call", ...target, 0, 0, 0, 0, 900, puppet.cell()));
    calls.unshift(puppet.call("proxy_set_effective_context", { load: contextCell }));
  }
  // on_done of 0 would keep the root context waiting.
  puppet.on(callback, callback === "proxy_on_done" ? 1 : 0, ...calls);
  return { puppet, contextCell };
}

function outcome(received: string): Outcome {
  if (received === "") return "none";
  const reader = new Reader(false);
  if (reader.add(received) === 0) return "cut";
  assert.equal(reader.rest, "");
  return Number(reader.messages[0]!.start.slice(9, 12));
}

async function play(t: TestContext, callback: string, name: ActionName, open: boolean): Promise<void> {
  const up = await fixedOrigin(RESPONSE);
  const callOrigin = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  const calls = new ClusterSet([cluster("calls", [callOrigin.port])], new RecordingStats());
  await calls.start();
  const part = { ...troubled(callback, name), config: { failurePolicy: open ? "FAIL_OPEN" : "FAIL_CLOSED" } as const };
  const troupe = await Troupe.start([{ puppet: new Puppet() }, part, { puppet: new Puppet() }], {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    upstreams: calls,
    manager: { enableTrailers: true },
  });
  t.after(async () => {
    await up.close();
    await callOrigin.close();
  });
  // The host knows the context of an answer only from the guest; one stream at a time there, more elsewhere.
  const streams = callback === "proxy_on_http_call_response" ? 1 : STREAMS;
  const received = await Promise.all(Array.from({ length: streams }, () => exchange(troupe.engine.port, REQUEST)));
  await troupe.quiet();
  const want = expected(callback, name, open);
  // A trap takes streams of the same instance along: closed ones answer 503 or break off, open ones go on.
  const trapped = (name === "trap" || name === "overflow") && !open;
  for (const text of received) {
    const got = outcome(text);
    if (trapped && got !== want)
      assert.ok(got === 503 || got === "cut" || (AFTER.includes(callback) && got === 200), `${got}`);
    else assert.equal(got, want);
  }
  troupe.close();
  calls.close();
  await until(() => armedDeadlines().length === 0);
  assert.deepEqual(armedDeadlines(), []);
}

describe("in every callback", () => {
  for (const callback of CALLBACKS) {
    for (const name of ["reply", "replies", "close", "trap", "overflow"] as const) {
      for (const open of name === "trap" || name === "overflow" ? [false, true] : [false]) {
        test(`${name} in ${callback}${open ? ", fail open" : ""}`, (t) => play(t, callback, name, open));
      }
    }
  }
});
