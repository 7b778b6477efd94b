/** The codec's tables of malformed and ambiguous messages, over real sockets: the exact answer, and nothing behind it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ResponseFlag } from "../../runtime/errors.ts";
import { malformedRequests } from "../codec/malformed-requests.ts";
import { malformedResponses } from "../codec/malformed-responses.ts";
import { cluster, Downstream, Engine, exchange, forward, origin, route } from "./engine.ts";
import type { Origin } from "./engine.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

describe("malformed requests", () => {
  let upstream: Origin;
  let proxy: Engine;
  let seen = "";
  before(async () => {
    upstream = await origin((socket) => {
      let text = "";
      socket.on("data", (data) => {
        text += data.toString("latin1");
        seen += data.toString("latin1");
        if (/\r\n\r\n/.test(text) && !/transfer-encoding|content-length: [1-9]/i.test(text)) {
          text = "";
          socket.write(OK);
        }
      });
    });
    proxy = await Engine.start({
      routes: [route("/", forward("c"))],
      clusters: [cluster("c", [upstream.port])],
      // The preface of HTTP/2 is malformed only where nothing else is spoken.
      manager: { codecType: "HTTP1" },
    });
  });
  after(async () => {
    proxy.close();
    await upstream.close();
  });

  for (const row of malformedRequests.filter((each) => each.options === undefined)) {
    it(row.name, async () => {
      const before = proxy.finished.length;
      seen = "";
      const downstream = await Downstream.open(proxy.port);
      downstream.send(row.text);
      const text = await downstream.end();
      downstream.close();
      const answers = [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map((match) => Number(match[1]));
      assert.equal(answers.at(-1), row.status, text);
      assert.match(text, /connection: close\r\n/);
      assert.ok(text.endsWith(row.error.body), text);
      const info = proxy.finished.at(-1)!;
      assert.ok(proxy.finished.length > before);
      assert.equal(info.responseCodeDetails, row.details);
      assert.ok(info.hasFlag(ResponseFlag.DPE));
      assert.ok(!seen.includes("/smuggled"), "a smuggled request reached the upstream");
    });
  }
});

/** The response itself is good and complete; what is wrong comes behind it and costs the connection only. */
const CUT_BEHIND_THE_END = new Set([
  "bytes after a length",
  "bytes after the last chunk",
  "bytes after trailers",
  "body of 204",
  "chunked body of 204",
  "body of 304",
  "body of HEAD",
  "second response",
]);

describe("malformed responses", () => {
  for (const [name, text, , method, upgrade] of malformedResponses) {
    // The engine asks for no upgrade, so what follows one cannot happen here.
    if (upgrade === true) continue;
    it(name, async () => {
      const upstream = await origin((socket) => {
        socket.once("data", () => socket.end(text, "latin1"));
      });
      const proxy = await Engine.start({
        routes: [route("/", forward("c"))],
        clusters: [cluster("c", [upstream.port])],
      });
      try {
        const answer = await exchange(
          proxy.port,
          `${method ?? "GET"} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`,
        );
        const info = proxy.finished[0]!;
        if (info.responseCodeDetails.startsWith("upstream_reset_before")) {
          const flag = info.responseCode === 502 ? ResponseFlag.UPE : ResponseFlag.UC;
          assert.match(answer, /^HTTP\/1\.1 50[23] /);
          assert.ok(info.hasFlag(flag), String(info.flags));
        } else if (info.responseCodeDetails === "via_upstream") {
          assert.ok(CUT_BEHIND_THE_END.has(name), answer);
          assert.equal(answer.split("HTTP/1.1 ").length, 2);
          // The connection is not used again: nobody knows whose the bytes behind the response are.
          await exchange(proxy.port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
          assert.equal(proxy.counter("cluster.c.upstream_cx_total"), 2);
        } else {
          assert.match(info.responseCodeDetails, /^upstream_reset_after_response_started/);
          assert.ok(!isWhole(answer), `a broken response looks whole: ${JSON.stringify(answer)}`);
        }
      } finally {
        proxy.close();
        await upstream.close();
      }
    });
  }
});

/** Whether a peer would take these bytes for a complete response. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  const head = text.slice(0, end);
  const body = text.slice(end + 4);
  const length = /content-length: (\d+)/.exec(head);
  if (length !== null) return body.length >= Number(length[1]);
  return body.endsWith("0\r\n\r\n");
}
