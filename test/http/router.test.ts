import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { RetryPolicy } from "../../runtime/config/snapshot.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import { DEAD_PORT } from "../ports.ts";
import { StillClock } from "../still-clock.ts";
import { until } from "../upstream/fixtures.ts";
import { cluster, Downstream, Engine, exchange, fixedOrigin, forward, origin, route } from "./engine.ts";
import type { EngineOptions } from "./engine.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

async function engine(t: TestContext, options: EngineOptions): Promise<Engine> {
  const made = await Engine.start(options);
  t.after(() => made.close());
  return made;
}

function bodyOf(text: string): string {
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

function retries(more: Partial<RetryPolicy>): RetryPolicy {
  return {
    retryOn: [],
    numRetries: 1,
    perTryTimeoutMs: 0,
    retriableStatusCodes: [],
    baseIntervalMs: 1,
    maxIntervalMs: 2,
    ...more,
  };
}

test("a refused connection is 503 with Envoy's text and flag UF", async (t) => {
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [DEAD_PORT])] });
  const text = await exchange(proxy.port, GET);
  assert.match(text, /^HTTP\/1\.1 503 Service Unavailable\r\n/);
  assert.equal(
    bodyOf(text),
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
      "transport failure reason: delayed connect error: Connection refused",
  );
  assert.ok(proxy.finished[0]!.hasFlag(ResponseFlag.UF));
});

test("no host, no cluster", async (t) => {
  const proxy = await engine(t, {
    routes: [route("/gone", forward("nowhere")), route("/", forward("empty"))],
    clusters: [cluster("empty", [])],
  });
  assert.equal(bodyOf(await exchange(proxy.port, GET)), "no healthy upstream");
  assert.match(await exchange(proxy.port, GET.replace("/ ", "/gone ")), /^HTTP\/1\.1 503 /);
  assert.deepEqual(
    proxy.finished.map((info) => [
      info.responseCodeDetails,
      info.hasFlag(ResponseFlag.UH),
      info.hasFlag(ResponseFlag.NC),
    ]),
    [
      ["no_healthy_upstream", true, false],
      ["cluster_not_found", false, true],
    ],
  );
});

test("an upstream that closes before headers is 503 UC; after headers the response breaks off", async (t) => {
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      if (data.toString().startsWith("GET /half")) socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
      else socket.destroy();
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  assert.equal(
    bodyOf(await exchange(proxy.port, GET)),
    "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
  );
  const half = await exchange(proxy.port, GET.replace("/ ", "/half "));
  assert.match(half, /content-length: 10\r\n/);
  assert.equal(bodyOf(half), "half");
  assert.ok(proxy.finished.every((info) => info.hasFlag(ResponseFlag.UC)));
  assert.match(proxy.finished[1]!.responseCodeDetails, /^upstream_reset_after_response_started\{/);
});

test("garbage from upstream is 502 UPE", async (t) => {
  const upstream = await fixedOrigin("this is not HTTP\r\n\r\n");
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const text = await exchange(proxy.port, GET);
  assert.match(text, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
  assert.ok(proxy.finished[0]!.hasFlag(ResponseFlag.UPE));
});

test("the route's timeout is 504 UT and the upstream connection is given up", async (t) => {
  let asked = false;
  const upstream = await origin((socket) => socket.on("data", () => (asked = true)));
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { timeoutMs: 40 }))],
    clusters: [cluster("c", [upstream.port])],
  });
  const clock = new StillClock(t);
  const answer = exchange(proxy.port, GET);
  await until(() => asked);
  clock.pass(40);
  const text = await answer;
  assert.match(text, /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
  assert.equal(bodyOf(text), "upstream request timeout");
  await until(() => upstream.sockets.size === 0);
  assert.ok(proxy.finished[0]!.hasFlag(ResponseFlag.UT));
  assert.equal(proxy.counter("cluster.c.upstream_rq_timeout"), 1);
});

test("a reused connection that turned out dead costs nobody a failure, body included", async (t) => {
  let connections = 0;
  const upstream = await origin((socket) => {
    const mine = ++connections;
    let served = 0;
    socket.on("data", (data) => {
      const text = data.toString();
      // The first connection dies the moment its second request comes: the race that keep-alive has.
      if (mine === 1 && served === 1) socket.resetAndDestroy();
      else if (!text.startsWith("PUT") || text.endsWith("payload")) {
        served++;
        socket.write(OK);
      }
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await downstream.until((text) => text.endsWith("ok"));
  downstream.received = "";
  downstream.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\npayload");
  await downstream.until((text) => text.endsWith("ok"));
  assert.match(downstream.received, /^HTTP\/1\.1 200 /);
  assert.equal(connections, 2);
  assert.equal(proxy.finished[1]!.upstreamAttempts, 2);
});

test("a request that is not idempotent is not sent twice, even if the connection looked dead", async (t) => {
  let posts = 0;
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      if (data.toString().startsWith("GET")) socket.write(OK);
      else if (++posts > 0) socket.resetAndDestroy();
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, { routes: [route("/", forward("c"))], clusters: [cluster("c", [upstream.port])] });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await downstream.until((text) => text.endsWith("ok"));
  downstream.received = "";
  downstream.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  await downstream.until((text) => text.endsWith("connection termination"));
  assert.match(downstream.received, /^HTTP\/1\.1 503 /);
  assert.equal(posts, 1);
});

test("retries by policy: status, count, limit, attempt header", async (t) => {
  let asked = 0;
  const attempts: string[] = [];
  const upstream = await origin((socket) => {
    socket.on("data", (data) => {
      asked++;
      attempts.push(/x-envoy-attempt-count: (\d+)/.exec(data.toString())?.[1] ?? "none");
      socket.write(asked < 3 ? "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy" : OK);
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [
      route("/once", forward("c", { retryPolicy: retries({ retryOn: ["5xx"], numRetries: 1 }) })),
      route("/", forward("c", { retryPolicy: retries({ retryOn: ["gateway-error"], numRetries: 2 }) })),
    ],
    clusters: [cluster("c", [upstream.port])],
    virtualHost: { includeRequestAttemptCount: true, includeAttemptCountInResponse: true },
  });
  const text = await exchange(proxy.port, GET);
  assert.match(text, /^HTTP\/1\.1 200 /);
  assert.match(text, /x-envoy-attempt-count: 3\r\n/);
  assert.deepEqual(attempts, ["1", "2", "3"]);
  assert.equal(proxy.counter("cluster.c.upstream_rq_retry"), 2);
  asked = -10;
  const given = await exchange(proxy.port, GET.replace("/ ", "/once "));
  assert.match(given, /^HTTP\/1\.1 503 /);
  assert.equal(asked, -8);
  assert.ok(proxy.finished[1]!.hasFlag(ResponseFlag.URX));
});

test("a per-try timeout is retried, the overall one is final", async (t) => {
  let asked = 0;
  const upstream = await origin((socket) => {
    socket.on("data", () => {
      if (++asked === 2) socket.write(OK);
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [
      route("/", forward("c", { timeoutMs: 2000, retryPolicy: retries({ retryOn: ["5xx"], perTryTimeoutMs: 30 }) })),
    ],
    clusters: [cluster("c", [upstream.port])],
  });
  const clock = new StillClock(t);
  const answer = exchange(proxy.port, GET);
  await until(() => asked === 1);
  clock.pass(30);
  // The wait before the next try, which is no longer than this.
  clock.pass(2);
  assert.match(await answer, /^HTTP\/1\.1 200 /);
  assert.equal(asked, 2);
  assert.equal(proxy.counter("cluster.c.upstream_rq_per_try_timeout"), 1);
});

test("auto_host_rewrite takes the name of the host that was picked", async (t) => {
  const upstream = await fixedOrigin(OK);
  t.after(() => upstream.close());
  const named = { ...cluster("c", [upstream.port]).endpoints[0]!, hostname: "inner.example" };
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { hostRewrite: { kind: "auto" }, appendXForwardedHost: true }))],
    clusters: [cluster("c", [], { endpoints: [named] })],
  });
  await exchange(proxy.port, GET);
  assert.match(upstream.seen[0]!, /\r\nhost: inner\.example\r\n/);
  assert.match(upstream.seen[0]!, /\r\nx-forwarded-host: h\r\n/);
  assert.match(upstream.seen[0]!, /\r\nx-envoy-original-host: h\r\n/);
});

test("redirects and direct responses", async (t) => {
  const redirect = {
    kind: "redirect" as const,
    https: true,
    scheme: "",
    host: "",
    port: 0,
    path: "",
    prefixRewrite: undefined,
    regexRewrite: undefined,
    status: 301,
    stripQuery: false,
  };
  const proxy = await engine(t, {
    routes: [
      route("/old", redirect),
      route("/teapot", { kind: "direct_response", status: 418, body: "short" }),
      route("/none", { kind: "none" }),
    ],
  });
  const moved = await exchange(proxy.port, "GET /old?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(moved, /^HTTP\/1\.1 301 Moved Permanently\r\n/);
  assert.match(moved, /location: https:\/\/h\/old\?x=1\r\n/);
  const teapot = await exchange(proxy.port, "GET /teapot HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert.match(teapot, /^HTTP\/1\.1 418 /);
  assert.equal(bodyOf(teapot), "short");
  assert.match(
    await exchange(proxy.port, "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
    /^HTTP\/1\.1 500 /,
  );
  assert.equal(proxy.counter("http.test.rq_direct_response"), 3);
});

test("a slow reader stops the upstream instead of filling memory", async (t) => {
  const total = 64 * 1024 * 1024;
  let sent = 0;
  const upstream = await origin((socket) => {
    const chunk = Buffer.alloc(64 * 1024, 0x61);
    const pump = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.on("drain", pump);
    socket.on("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      pump();
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { timeoutMs: 0 }))],
    clusters: [cluster("c", [upstream.port])],
    bufferLimitBytes: 64 * 1024,
  });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.socket.pause();
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  let before = -1;
  while (before !== sent || sent === 0) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(sent < total / 2, `${sent} bytes left the origin although nobody reads`);
  let received = 0;
  downstream.socket.removeAllListeners("data");
  downstream.socket.on("data", (data: Buffer) => (received += data.length));
  downstream.socket.resume();
  while (received < total) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(proxy.finished[0]!.bytesSent, total);
});

test("a slow origin stops the downstream instead of filling memory", async (t) => {
  const total = 64 * 1024 * 1024;
  let received = 0;
  const paused: Socket[] = [];
  const upstream = await origin((socket) => {
    paused.push(socket.pause());
    socket.on("data", (data: Buffer) => {
      received += data.length;
      if (received >= total) socket.write(OK);
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { timeoutMs: 0 }))],
    clusters: [cluster("c", [upstream.port], { perConnectionBufferLimitBytes: 64 * 1024 })],
    bufferLimitBytes: 64 * 1024,
  });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${total}\r\n\r\n`);
  let sent = 0;
  const chunk = Buffer.alloc(64 * 1024, 0x61);
  const pump = (): void => {
    while (sent < total) {
      sent += chunk.length;
      if (!downstream.socket.write(chunk)) return;
    }
  };
  downstream.socket.on("drain", pump);
  await until(() => upstream.sockets.size === 1);
  pump();
  let before = -1;
  // Until the proxy has come to the origin there is nothing that could be read on.
  while (before !== sent || paused.length === 0) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(sent < total / 2, `${sent} bytes were taken although the origin reads none`);
  for (const socket of paused) socket.resume();
  await downstream.until((text) => text.endsWith("ok"));
  assert.equal(proxy.finished[0]!.bytesReceived, total);
});

test("bodies of many connections at once do not mix, in both directions, read slowly or not", async (t) => {
  const upstream = await origin((socket) => {
    // Sends back what it gets, and marks each byte's owner by the path.
    let head = "";
    let left = 0;
    let mark = 0;
    socket.on("data", (data: Buffer) => {
      let body = data;
      if (left === 0) {
        head += data.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        mark = Number(/^POST \/(\d+)/.exec(head)![1]);
        left = Number(/content-length: (\d+)/.exec(head)![1]);
        body = Buffer.from(head.slice(end + 4), "latin1");
        head = "";
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${left}\r\n\r\n`);
      }
      for (const byte of body) assert.equal(byte, mark);
      left -= body.length;
      socket.write(body);
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [upstream.port], { perConnectionBufferLimitBytes: 32 * 1024 })],
    bufferLimitBytes: 32 * 1024,
  });
  const size = 300_000;
  await Promise.all(
    Array.from({ length: 24 }, async (_, at) => {
      const mark = at + 1;
      const downstream = await Downstream.open(proxy.port);
      downstream.send(`POST /${mark} HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`);
      if (at % 3 === 0) downstream.socket.pause();
      for (let sent = 0; sent < size; sent += 1000 * mark) {
        downstream.socket.write(Buffer.alloc(Math.min(1000 * mark, size - sent), mark));
        if (at % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      downstream.socket.resume();
      const text = await downstream.until(
        (got) => got.length >= size && got.indexOf("\r\n\r\n") + 4 + size <= got.length,
      );
      const body = text.slice(text.indexOf("\r\n\r\n") + 4);
      assert.equal(body.length, size);
      assert.ok(body === String.fromCharCode(mark).repeat(size), `bytes of others in body ${mark}`);
      downstream.close();
    }),
  );
});

test("a buffer limit below the socket's own does not leave a paused response for good", async (t) => {
  const total = 8 * 1024 * 1024;
  let sent = 0;
  const upstream = await origin((socket) => {
    const chunk = Buffer.alloc(1500, 0x61);
    const pump = (): void => {
      if (sent >= total) return;
      const part = chunk.subarray(0, Math.min(chunk.length, total - sent));
      sent += part.length;
      if (socket.write(part)) setImmediate(pump);
      else socket.once("drain", pump);
    };
    socket.once("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      pump();
    });
  });
  t.after(() => upstream.close());
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { timeoutMs: 0 }))],
    clusters: [cluster("c", [upstream.port])],
    bufferLimitBytes: 1024,
  });
  const downstream = await Downstream.open(proxy.port);
  t.after(() => downstream.close());
  downstream.socket.pause();
  downstream.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  for (let before = -1; before !== sent || sent === 0; await new Promise((resolve) => setTimeout(resolve, 200)))
    before = sent;
  downstream.socket.removeAllListeners("data");
  let received = 0;
  downstream.socket.on("data", (data: Buffer) => (received += data.length));
  downstream.socket.resume();
  while (received < total || proxy.finished.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(proxy.finished[0]!.bytesSent, total);
});

test("a retry goes to a host that was not tried, where the policy says so", async (t) => {
  const bad = await fixedOrigin("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
  const good = await fixedOrigin(OK);
  t.after(() => Promise.all([bad.close(), good.close()]));
  const hostSelection = { more: 100, previous: true, canaries: false };
  const proxy = await engine(t, {
    routes: [route("/", forward("c", { retryPolicy: retries({ retryOn: ["5xx"], hostSelection }) }))],
    clusters: [cluster("c", [bad.port, bad.port, good.port], { lbPolicy: "RANDOM" })],
  });
  for (let n = 0; n < 40; n++) assert.match(await exchange(proxy.port, GET), /^HTTP\/1\.1 200 /);
  const retried = proxy.counter("cluster.c.upstream_rq_retry");
  assert.ok(retried > 0);
  assert.equal(proxy.counter("cluster.c.upstream_rq_retry_success"), retried);
  assert.equal(proxy.counter("cluster.c.upstream_rq_retry_backoff_exponential"), retried);
});

test("a retry budget is a share of the requests that there are, and at least so many", async (t) => {
  const up = await fixedOrigin("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
  t.after(() => up.close());
  const made = async (minConcurrency: number): Promise<Engine> =>
    engine(t, {
      routes: [route("/", forward("c", { retryPolicy: retries({ retryOn: ["5xx"] }) }))],
      clusters: [
        cluster("c", [up.port], {
          circuitBreakers: {
            maxConnections: 1024,
            maxPendingRequests: 1024,
            maxRequests: 1024,
            maxRetries: 3,
            retryBudget: { percent: 1, minConcurrency },
          },
        }),
      ],
    });
  const none = await made(0);
  assert.match(await exchange(none.port, GET), /^HTTP\/1\.1 503 /);
  assert.equal(none.counter("cluster.c.upstream_rq_retry_overflow"), 1);
  assert.ok(none.finished[0]!.hasFlag(ResponseFlag.UO));
  const one = await made(1);
  assert.match(await exchange(one.port, GET), /^HTTP\/1\.1 503 /);
  assert.equal(one.counter("cluster.c.upstream_rq_retry"), 1);
  assert.equal(one.stats.gauge("cluster.c.circuit_breakers.default.rq_retry_open").value, 0);
});
