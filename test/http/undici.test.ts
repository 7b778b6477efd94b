/** A client that others wrote: undici, over kept and pipelined connections. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { test } from "node:test";
import { Pool } from "undici";
import { cluster, Engine, forward, route } from "./engine.ts";

test("undici: pipelined requests, bodies both ways, HEAD and early ends", async (t) => {
  const origin = createServer((incoming, response) => {
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => parts.push(part));
    incoming.on("end", () => {
      const body = Buffer.concat(parts);
      response.setHeader("x-method", incoming.method!);
      response.setHeader("x-bytes", body.length);
      if (incoming.url === "/chunked") {
        response.write("first,");
        setImmediate(() => response.end("second"));
      } else response.end(incoming.method === "HEAD" ? undefined : body);
    });
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  const proxy = await Engine.start({
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [(origin.address() as AddressInfo).port])],
  });
  const pool = new Pool(`http://127.0.0.1:${proxy.port}`, { connections: 4, pipelining: 8 });
  t.after(async () => {
    await pool.destroy();
    proxy.close();
    origin.closeAllConnections();
    origin.close();
  });
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, n) => {
      const method = (["GET", "POST", "PUT", "HEAD"] as const)[n % 4]!;
      const body = method === "GET" || method === "HEAD" ? null : `body ${n}`.repeat(n);
      const answer = await pool.request({ path: `/${n}`, method, body });
      return { n, method, body, status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
    }),
  );
  for (const { n, method, body, status, headers, text } of answers) {
    assert.equal(status, 200, String(n));
    assert.equal(headers["x-method"], method);
    assert.equal(headers["x-bytes"], String(body?.length ?? 0));
    assert.equal(text, method === "HEAD" ? "" : (body ?? ""));
  }
  const chunked = await pool.request({ path: "/chunked", method: "GET" });
  assert.equal(await chunked.body.text(), "first,second");
  assert.equal(proxy.finished.length, 201);
  assert.ok(proxy.finished.every((info) => info.responseCode === 200 && info.flags === 0));
});
