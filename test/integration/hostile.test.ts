/** Guests that write whatever they like: both wires must still carry one well-framed message each, read byte by byte. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as BufferType from "../../abi/buffer.ts";
import * as MapType from "../../abi/map.ts";
import { encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { cluster, forward, origin, route } from "../http/engine.ts";
import type { EngineOptions } from "../http/engine.ts";
import { Puppet } from "../wasm/puppet.ts";
import { ATTACKS } from "./attacks.ts";
import { Troupe } from "./troupe.ts";
import type { Part } from "./troupe.ts";
import { field, Reader } from "./wire.ts";
import type { Message } from "./wire.ts";

interface Run {
  readonly requests: readonly Message[];
  readonly responses: readonly Message[];
  /** What both readers could not make sense of. */
  readonly errors: readonly string[];
  readonly troupe: Troupe;
  /** Bytes that downstream has after its last whole message. */
  readonly rest: string;
}

const FIXED = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-origin: 1\r\n\r\nhello";
const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n";
const POST = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
const POST_CHUNKED =
  "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n";
const GET = "GET /g HTTP/1.1\r\nhost: a\r\n\r\n";
const HEAD = "HEAD /h HTTP/1.1\r\nhost: a\r\n\r\n";

/** Sends `texts` one after the other on one connection as far as it lasts. */
async function run(
  t: TestContext,
  parts: readonly Part[],
  texts: readonly string[],
  response: string,
  more: Partial<EngineOptions> = {},
): Promise<Run> {
  const errors: string[] = [];
  const requests: Message[] = [];
  const up = await origin((socket) => {
    const reader = new Reader(true);
    socket.on("data", (data: Buffer) => {
      try {
        reader.add(data.toString("latin1"));
      } catch (error) {
        errors.push(`upstream: ${String(error)}`);
      }
      for (const message of reader.messages.splice(0)) {
        requests.push(message);
        const method = message.start.slice(0, message.start.indexOf(" "));
        socket.write(method === "HEAD" ? response.slice(0, response.indexOf("\r\n\r\n") + 4) : response, "latin1");
      }
    });
  });
  const troupe = await Troupe.start(parts, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    ...more,
  });
  t.after(async () => {
    troupe.close();
    await up.close();
  });
  const reader = new Reader(
    false,
    texts.map((text) => text.slice(0, text.indexOf(" "))),
  );
  const socket = connect({ port: troupe.engine.port, host: "127.0.0.1" });
  socket.on("error", () => {});
  await once(socket, "connect");
  let wake = (): void => {};
  let closed = false;
  socket.on("data", (data: Buffer) => {
    try {
      reader.add(data.toString("latin1"));
    } catch (error) {
      errors.push(`downstream: ${String(error)}`);
    }
    wake();
  });
  socket.on("close", () => {
    closed = true;
    wake();
  });
  for (let n = 0; n < texts.length && !closed; n++) {
    socket.write(texts[n]!, "latin1");
    while (reader.messages.length <= n && !closed && errors.length === 0)
      await new Promise<void>((resolve) => (wake = resolve));
  }
  socket.destroy();
  await troupe.quiet();
  return { requests, responses: reader.messages, errors, troupe, rest: reader.rest };
}

/** A broken exchange ends soon; one that is not may end so too, on a machine that pauses. */
const QUICK = { routes: [route("/", forward("up", { timeoutMs: 300 }))] };

const OPERATIONS = ["proxy_add_header_map_value", "proxy_replace_header_map_value", "proxy_set_header_map_pairs"];
const PSEUDO = {
  [MapType.HTTP_REQUEST_HEADERS]: [":method", "POST", ":path", "/p", ":authority", "a", ":scheme", "http"],
  [MapType.HTTP_RESPONSE_HEADERS]: [":status", "200"],
};

function assertSafe(result: Run, what: string): void {
  assert.deepEqual(result.errors, [], what);
  for (const message of [...result.requests, ...result.responses]) {
    for (const [name] of [...message.fields, ...message.trailers]) assert.notEqual(name, "x-injected", what);
    assert.equal(message.start.startsWith("CONNECT"), false, what);
  }
}

describe("guests against the wire", () => {
  for (const map of [MapType.HTTP_REQUEST_HEADERS, MapType.HTTP_RESPONSE_HEADERS] as const) {
    for (const operation of OPERATIONS) {
      test(`${operation} on ${map === MapType.HTTP_REQUEST_HEADERS ? "request" : "response"} headers`, async (t) => {
        const onRequest = map === MapType.HTTP_REQUEST_HEADERS;
        for (const [name, value] of ATTACKS) {
          const puppet = new Puppet();
          const call =
            operation === "proxy_set_header_map_pairs"
              ? puppet.call(operation, map, ...puppet.text(encodePairs([...PSEUDO[map], name, value])))
              : puppet.call(operation, map, ...puppet.text(name), ...puppet.text(value));
          puppet.on(onRequest ? "proxy_on_request_headers" : "proxy_on_response_headers", 0, call);
          for (const [which, request] of Object.entries(onRequest ? { POST, POST_CHUNKED, HEAD } : { POST, HEAD })) {
            for (const response of onRequest ? [FIXED] : [FIXED, CHUNKED]) {
              const result = await run(t, [{ puppet }], [request, GET], response, QUICK);
              assertSafe(result, `${name}: ${JSON.stringify(value)} on ${which}`);
            }
          }
        }
      });
    }
  }

  /** [callback, map of its message, body buffer] */
  const BODIES = [
    ["proxy_on_request_body", BufferType.HTTP_REQUEST_BODY],
    ["proxy_on_response_body", BufferType.HTTP_RESPONSE_BODY],
  ] as const;
  for (const [callback, buffer] of BODIES) {
    test(`${callback}: a body edited behind its headers is never framed wrongly`, async (t) => {
      for (const text of ["", "abc", "HELLO", "HTTP/1.1 200 OK\r\n\r\n", "z".repeat(70_000)]) {
        const puppet = new Puppet();
        puppet.on(
          callback,
          0,
          puppet.call("proxy_set_buffer_bytes", buffer, 0, 0xffff_ffff, ...puppet.text(text.slice(0, 5000))),
        );
        for (const request of [POST, POST_CHUNKED]) {
          for (const response of [FIXED, CHUNKED]) {
            const result = await run(t, [{ puppet }], [request, GET], response);
            assertSafe(result, `${text.length} bytes`);
            for (const message of result.responses) assert.match(message.start, / (?:200|503) /);
          }
        }
      }
    });

    test(`${callback}: headers held until the body is edited say its new length`, async (t) => {
      for (const text of ["", "abc", "HELLO", "z".repeat(5000)]) {
        for (const later of [false, true]) {
          const puppet = new Puppet();
          const edit = puppet.call("proxy_set_buffer_bytes", buffer, 0, 0xffff_ffff, ...puppet.text(text));
          puppet.on(callback.replace("body", "headers"), 1);
          puppet.on(callback, later ? 1 : 0, edit, ...(later ? [puppet.call("set_timer", 1)] : []));
          puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", buffer));
          const config = { allowOnHeadersStopIteration: true };
          // A second request shows that the connections can be used again.
          const result = await run(t, [{ puppet, config }], [POST, POST], FIXED);
          assertSafe(result, `${text.length} bytes`);
          assert.equal(result.responses.length, 2);
          const edited = buffer === BufferType.HTTP_REQUEST_BODY ? result.requests : result.responses;
          for (const message of edited) assert.equal(message.body, text);
          if (later) assert.equal(field(edited[0]!, "content-length"), String(text.length));
        }
      }
    });
  }

  const TAKEN = [
    ["proxy_on_request_headers", MapType.HTTP_REQUEST_HEADERS, ":path"],
    ["proxy_on_request_headers", MapType.HTTP_REQUEST_HEADERS, ":method"],
    ["proxy_on_request_headers", MapType.HTTP_REQUEST_HEADERS, ":authority"],
    ["proxy_on_response_headers", MapType.HTTP_RESPONSE_HEADERS, ":status"],
  ] as const;
  for (const [callback, map, name] of TAKEN) {
    for (const failurePolicy of ["FAIL_OPEN", "FAIL_CLOSED"] as const) {
      for (const trap of ["in the same callback", "in the body callback", "while paused"]) {
        test(`${name} taken away, then a trap ${trap}, ${failurePolicy}`, async (t) => {
          const puppet = new Puppet();
          const remove = puppet.call("proxy_remove_header_map_value", map, ...puppet.text(name));
          if (trap === "in the same callback") puppet.on(callback, 0, remove, puppet.trap());
          else puppet.on(callback, 1, remove, ...(trap === "while paused" ? [puppet.call("set_timer", 1)] : []));
          puppet.on("sluice_on_timer", 0, puppet.trap());
          puppet.on(
            callback.replace("headers", "body"),
            0,
            ...(trap === "in the body callback" ? [puppet.trap()] : []),
          );
          if (trap === "while paused") puppet.on(callback.replace("headers", "body"), 1);
          const config = { failurePolicy, allowOnHeadersStopIteration: true };
          const result = await run(t, [{ puppet, config }, { puppet: new Puppet() }], [POST], FIXED);
          assertSafe(result, name);
          assert.equal(result.responses.length, 1);
          assert.match(result.responses[0]!.start, / (?:500|503) /);
        });
      }
    }
  }
});
