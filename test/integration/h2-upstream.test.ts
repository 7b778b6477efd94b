/** The same hostile guests in front of an HTTP/2 upstream: what HTTP/2 cannot carry must fail its own request only. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as BufferType from "../../abi/buffer.ts";
import * as MapType from "../../abi/map.ts";
import { cluster, exchange, forward, route } from "../http/engine.ts";
import { Puppet } from "../wasm/puppet.ts";
import { ATTACKS } from "./attacks.ts";
import { Troupe } from "./troupe.ts";
import { Reader } from "./wire.ts";

const POST =
  "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";
const SIZED = "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";

interface Upstream {
  readonly port: number;
  /** Header fields and bodies that arrived. */
  readonly seen: { readonly names: readonly string[]; readonly body: string }[];
}

async function upstream(t: TestContext): Promise<Upstream> {
  const seen: Upstream["seen"] = [];
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    let body = "";
    stream.on("error", () => {});
    stream.on("data", (data: Buffer) => (body += data.toString()));
    stream.on("end", () => {
      seen.push({ names: Object.keys(headers), body });
      if (stream.destroyed || stream.closed) return;
      stream.respond({ ":status": 200, "x-up": "1" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
      stream.end("world");
    });
  });
  server.on("session", (session) => session.on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, seen };
}

async function play(puppet: Puppet, requests: readonly string[], up: Upstream, what: string): Promise<void> {
  const troupe = await Troupe.start([{ puppet }], {
    routes: [route("/", forward("up", { timeoutMs: 500 }))],
    clusters: [cluster("up", [up.port], { protocol: "HTTP2" })],
    manager: { enableTrailers: true },
  });
  try {
    for (const request of requests) {
      const reader = new Reader(false);
      const received = await exchange(troupe.engine.port, request);
      // A body that is shorter than its length is cut off by the end of the connection.
      if (reader.add(received) === 0) assert.match(received, /\r\ncontent-length: /, what);
    }
    await troupe.quiet();
  } finally {
    troupe.close();
  }
}

describe("guests against an HTTP/2 upstream", () => {
  for (const map of [0, 1, 2, 3]) {
    test(`every attack on map ${map}`, async (t) => {
      const up = await upstream(t);
      const phase = map < 2 ? "request" : "response";
      const trailers = map === MapType.HTTP_REQUEST_TRAILERS || map === MapType.HTTP_RESPONSE_TRAILERS;
      for (const [name, value] of ATTACKS) {
        const puppet = new Puppet();
        const call = puppet.call("proxy_replace_header_map_value", map, ...puppet.text(name), ...puppet.text(value));
        puppet.on(`proxy_on_${phase}_${trailers ? "trailers" : "headers"}`, 0, call);
        await play(puppet, [POST, SIZED], up, `${name}: ${JSON.stringify(value)}`);
      }
      const banned = ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "x-injected"];
      for (const { names } of up.seen)
        assert.deepEqual(
          names.filter((one) => banned.includes(one)),
          [],
        );
    });
  }

  test("bodies edited behind their headers", async (t) => {
    const up = await upstream(t);
    for (const text of ["", "abc", "HELLO", "z".repeat(5000)]) {
      for (const [callback, buffer] of [
        ["proxy_on_request_body", BufferType.HTTP_REQUEST_BODY],
        ["proxy_on_response_body", BufferType.HTTP_RESPONSE_BODY],
      ] as const) {
        const puppet = new Puppet();
        puppet.on(callback, 0, puppet.call("proxy_set_buffer_bytes", buffer, 0, 0xffff_ffff, ...puppet.text(text)));
        await play(puppet, [POST, SIZED], up, `${text.length} bytes`);
      }
    }
    // The length that downstream said is kept, or the request does not arrive.
    for (const { names, body } of up.seen) if (names.includes("content-length")) assert.equal(body.length, 5);
  });
});
