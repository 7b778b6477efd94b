/** HTTP/1 connections to scripted origins: reuse, limits, and every way a connection can end. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ResetReason } from "../../runtime/errors.ts";
import { DEAD_PORT } from "../ports.ts";
import {
  clusterConfig,
  clusterUnderTest,
  deafListener,
  endpoint,
  get,
  onRequests,
  origin,
  Recorder,
  requestHeaders,
  turn,
  until,
} from "./fixtures.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const breakers = { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 };

test("a connection is kept and used again", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  for (let n = 0; n < 3; n++) {
    const answer = await get(cluster, "/");
    assert.equal(answer.status, 200);
    assert.equal(answer.body, "ok");
    assert.equal(answer.address, `127.0.0.1:${port}`);
    assert.match(answer.localAddress, /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(answer.events, ["ready", "headers 200"]);
    await turn();
  }
  assert.equal(sockets.length, 1);
  assert.equal(stats.read("upstream_cx_total"), 1);
  assert.equal(stats.read("upstream_cx_http1_total"), 1);
  assert.equal(stats.read("upstream_rq_total"), 3);
  assert.equal(stats.read("upstream_rq_pending_total"), 1);
  assert.equal(stats.read("upstream_cx_rx_bytes_total"), 3 * OK.length);
  assert.ok(stats.read("upstream_cx_tx_bytes_total") > 60);
  assert.deepEqual([cluster.hosts[0]!.rqSuccess, cluster.hosts[0]!.rqError, cluster.hosts[0]!.rqTotal], [3, 0, 3]);
});

test("the connection used last is used first", async (t) => {
  const used: number[] = [];
  const waiting: (() => void)[] = [];
  const { port } = await origin(t, (socket, at) =>
    onRequests(socket, (head) => {
      used.push(at);
      if (head.includes("/wait")) waiting.push(() => socket.write(OK));
      else socket.write(OK);
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const both = [get(cluster, "/wait"), get(cluster, "/wait")];
  await until(() => waiting.length === 2);
  const last = used[1]!;
  waiting[0]!();
  await both[0]!;
  waiting[1]!();
  await both[1]!;
  await turn();
  await get(cluster, "/");
  assert.equal(used[2], last);
});

test("a small request is one write", async (t) => {
  const pieces: string[] = [];
  const { port } = await origin(t, (socket) => {
    socket.on("data", (chunk: Buffer) => {
      pieces.push(chunk.toString("latin1"));
      socket.write(OK);
    });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await get(cluster, "/");
  await turn();
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/b", ["content-length", "5"]), false);
  request.sendData(Buffer.from("hello"), true);
  await recorder.finished();
  assert.equal(pieces.length, 2);
  assert.match(pieces[1]!, /^POST \/b HTTP\/1\.1\r\n[^]*\r\n\r\nhello$/);
});

test("a held head goes out on flush", async (t) => {
  const heads: string[] = [];
  const { port } = await origin(t, (socket) => {
    socket.on("data", (chunk: Buffer) => {
      heads.push(chunk.toString("latin1"));
      if (chunk.includes("done")) socket.write(OK);
    });
  });
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/", ["content-length", "4"]), false);
  await recorder.when((r) => r.address !== "");
  request.flush();
  await until(() => heads.length > 0);
  assert.match(heads[0]!, /\r\n\r\n$/);
  request.sendData(Buffer.from("done"), true);
  await recorder.finished();
  assert.equal(recorder.status, 200);
});

test("a body of unknown length goes chunked, with trailers, and comes back", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head, body) => {
      assert.match(head, /transfer-encoding: chunked/i);
      assert.equal(body, "5\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 7\r\n\r\n");
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n");
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/"), false);
  request.sendData(Buffer.from("hello"), false);
  request.sendData(Buffer.from("!"), false);
  const trailers = requestHeaders("GET", "/");
  trailers.list = ["x-sum", "7"];
  request.sendTrailers(trailers);
  await recorder.finished();
  assert.equal(recorder.body, "abc");
  assert.deepEqual(recorder.trailers?.list, ["x-t", "1"]);
});

test("informational responses come before the final one", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, () =>
      socket.write(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n${OK}`),
    ),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const answer = await get(cluster, "/");
  assert.deepEqual(answer.events, ["ready", "informational 100", "informational 103", "headers 200"]);
});

for (const [name, response, method] of [
  ["HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", "HEAD"],
  ["204", "HTTP/1.1 204 No Content\r\n\r\n", "GET"],
  ["304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "GET"],
  ["an empty body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "GET"],
] as const) {
  test(`a response without body ends at once and keeps the connection: ${name}`, async (t) => {
    const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(response)));
    const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
    for (let n = 0; n < 2; n++) {
      const answer = await get(cluster, "/", method);
      assert.equal(answer.ended, true);
      assert.equal(answer.bytes, 0);
      await turn();
    }
    assert.equal(sockets.length, 1);
  });
}

test("a body that ends with the connection is complete, and the connection is not used again", async (t) => {
  const { port, sockets } = await origin(t, (socket) =>
    onRequests(socket, () => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it")),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  for (let n = 1; n <= 2; n++) {
    const answer = await get(cluster, "/");
    assert.equal(answer.body, "all of it");
    assert.equal(answer.resetReason, null);
    assert.equal(sockets.length, n);
  }
});

test("`connection: close` closes", async (t) => {
  const { port, sockets } = await origin(t, (socket) =>
    onRequests(socket, () => socket.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")),
  );
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await get(cluster, "/");
  await until(() => stats.read("upstream_cx_active") === 0);
  assert.equal(stats.read("upstream_cx_destroy"), 1);
  await get(cluster, "/");
  assert.equal(sockets.length, 2);
});

// ---- How attempts fail -------------------------------------------------------------------------------

test("a refused connection is told in Envoy's words and ejects all that wait", async (t) => {
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(DEAD_PORT)]));
  const answers = await Promise.all([get(cluster, "/"), get(cluster, "/")]);
  for (const answer of answers) {
    assert.equal(answer.resetReason, ResetReason.REMOTE_CONNECTION_FAILURE);
    assert.equal(answer.transportFailure, "delayed connect error: Connection refused");
    assert.equal(answer.requestUnsent, true);
    assert.deepEqual(answer.events, ["reset remote connection failure"]);
  }
  await until(() => stats.read("upstream_cx_active") === 0);
  assert.ok(stats.read("upstream_cx_connect_fail") >= 1);
  assert.equal(stats.read("upstream_rq_pending_failure_eject"), 2);
  assert.equal(stats.read("upstream_cx_destroy"), 0);
});

test("a unix socket that is not there fails at once; one that is there serves", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-upstream-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "origin.sock");
  const pipe = { ...endpoint(0), address: { kind: "pipe", path, mode: 0 } as const };
  const { cluster } = clusterUnderTest(t, clusterConfig([pipe]));
  const refused = await get(cluster, "/");
  assert.equal(refused.transportFailure, "immediate connect error: No such file or directory");
  await origin(t, (socket) => onRequests(socket, () => socket.write(OK)), { path });
  const answer = await get(cluster, "/");
  assert.equal(answer.body, "ok");
  assert.equal(answer.address, path);
});

test("a host that does not answer the handshake times out", async (t) => {
  // A listener that never accepts, with a full backlog, leaves further handshakes unanswered.
  const { port, fill } = await deafListener(t);
  await fill();
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], { connectTimeoutMs: 20 }));
  const answer = await get(cluster, "/");
  assert.equal(answer.resetReason, ResetReason.CONNECTION_TIMEOUT);
  assert.equal(answer.transportFailure, "");
  assert.equal(answer.requestUnsent, true);
  assert.equal(stats.read("upstream_cx_connect_timeout"), 1);
  assert.equal(stats.read("upstream_cx_connect_fail"), 1);
});

const OVER_EARLY: readonly (readonly [string, string, ResetReason, string[]])[] = [
  ["before any byte", "", ResetReason.CONNECTION_TERMINATION, ["ready"]],
  ["in the head", "HTTP/1.1 200 OK\r\nconte", ResetReason.CONNECTION_TERMINATION, ["ready"]],
  [
    "in a body",
    "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    ResetReason.CONNECTION_TERMINATION,
    ["ready", "headers 200"],
  ],
  [
    "in a chunk",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc",
    ResetReason.CONNECTION_TERMINATION,
    ["ready", "headers 200"],
  ],
  [
    "before the last chunk",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ResetReason.CONNECTION_TERMINATION,
    ["ready", "headers 200"],
  ],
  ["after 100", "HTTP/1.1 100 Continue\r\n\r\n", ResetReason.CONNECTION_TERMINATION, ["ready", "informational 100"]],
  ["with garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n", ResetReason.PROTOCOL_ERROR, ["ready"]],
  [
    "with two lengths",
    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ResetReason.PROTOCOL_ERROR,
    ["ready"],
  ],
];
for (const ending of ["FIN", "RST"] as const) {
  for (const [name, bytes, reason, events] of OVER_EARLY) {
    test(`a response that ends early is a reset: ${ending} ${name}`, async (t) => {
      const { port } = await origin(t, (socket) =>
        onRequests(socket, () => {
          if (ending === "FIN") socket.end(bytes, "latin1");
          else if (bytes === "") socket.resetAndDestroy();
          else socket.write(bytes, "latin1", () => setImmediate(() => socket.resetAndDestroy()));
        }),
      );
      const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
      const answer = await get(cluster, "/");
      assert.equal(answer.resetReason, reason);
      assert.equal(answer.requestUnsent, false);
      assert.deepEqual(answer.events, [...events, `reset ${reason}`]);
      assert.equal(stats.read("upstream_cx_destroy_with_active_rq"), 1);
      assert.equal(cluster.hosts[0]!.rqActive, 0);
    });
  }
}

for (const [method, unsent] of [
  ["GET", true],
  ["PUT", true],
  ["POST", false],
] as const) {
  test(`a kept connection that turns out dead: ${method} ${unsent ? "may" : "must not"} be sent again`, async (t) => {
    const { port } = await origin(t, (socket) =>
      onRequests(socket, (_head, _body, index) => {
        if (index === 0) socket.write(OK);
        else socket.resetAndDestroy();
      }),
    );
    const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
    await get(cluster, "/");
    await turn();
    const answer = await get(cluster, "/", method);
    assert.equal(answer.resetReason, ResetReason.CONNECTION_TERMINATION);
    assert.equal(answer.requestUnsent, unsent);
  });
}

test("one response byte on a kept connection makes the request sent", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (_head, _body, index) => {
      if (index === 0) socket.write(OK);
      else socket.end("HTTP/1.1 2");
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await get(cluster, "/");
  await turn();
  const answer = await get(cluster, "/");
  assert.equal(answer.resetReason, ResetReason.CONNECTION_TERMINATION);
  assert.equal(answer.requestUnsent, false);
});

for (const [name, act] of [
  ["bytes", (socket: { write(text: string): unknown }) => socket.write(OK)],
  ["FIN", (socket: { end(): unknown }) => socket.end()],
  ["RST", (socket: { resetAndDestroy(): unknown }) => socket.resetAndDestroy()],
] as const) {
  test(`an idle connection is closed by ${name}`, async (t) => {
    const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
    const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
    await get(cluster, "/");
    await turn();
    (act as (socket: unknown) => void)(sockets[0]);
    await until(() => stats.read("upstream_cx_active") === 0);
    assert.equal(stats.read("upstream_cx_destroy"), 1);
    assert.equal(stats.read(name === "bytes" ? "upstream_cx_destroy_local" : "upstream_cx_destroy_remote"), 1);
    const answer = await get(cluster, "/");
    assert.equal(answer.status, 200);
    assert.equal(sockets.length, 2);
  });
}

test("bytes behind a response close the connection, not the response", async (t) => {
  const { port, sockets } = await origin(t, (socket) =>
    onRequests(socket, () => socket.write(`${OK}HTTP/1.1 200 OK\r\n`)),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 2);
});

// ---- Limits ------------------------------------------------------------------------------------------

test("max_connections: the others wait for the one there is, in order", async (t) => {
  const paths: string[] = [];
  const { port, sockets } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      paths.push(head.split(" ")[1]!);
      setImmediate(() => socket.write(OK));
    }),
  );
  const config = clusterConfig([endpoint(port)], { circuitBreakers: { ...breakers, maxConnections: 1 } });
  const { cluster, stats } = clusterUnderTest(t, config);
  const answers = await Promise.all(["/1", "/2", "/3", "/4"].map((path) => get(cluster, path)));
  assert.ok(answers.every((answer) => answer.body === "ok"));
  assert.deepEqual(paths, ["/1", "/2", "/3", "/4"]);
  assert.equal(sockets.length, 1);
  assert.ok(stats.read("upstream_cx_overflow") >= 1);
  assert.equal(stats.read("circuit_breakers.default.cx_open"), 1);
  cluster.drain();
  assert.equal(stats.read("circuit_breakers.default.cx_open"), 0);
});

test("max_connections 0 still lets each host have one connection", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const config = clusterConfig([endpoint(port)], { circuitBreakers: { ...breakers, maxConnections: 0 } });
  const { cluster } = clusterUnderTest(t, config);
  assert.equal((await get(cluster, "/")).body, "ok");
});

test("max_pending_requests: the one too many overflows, from a later task", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const config = clusterConfig([endpoint(port)], { circuitBreakers: { ...breakers, maxPendingRequests: 2 } });
  const { cluster, stats } = clusterUnderTest(t, config);
  const fitting = [get(cluster, "/"), get(cluster, "/")];
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("GET", "/"), true);
  assert.deepEqual(recorder.events, []);
  await recorder.finished();
  assert.equal(recorder.resetReason, ResetReason.OVERFLOW);
  assert.equal(recorder.requestUnsent, true);
  assert.equal(stats.read("circuit_breakers.default.rq_pending_open"), 1);
  for (const answer of await Promise.all(fitting)) assert.equal(answer.body, "ok");
  assert.equal(stats.read("upstream_rq_pending_overflow"), 1);
  assert.equal(stats.read("circuit_breakers.default.rq_pending_open"), 0);
});

test("max_requests: nothing over it, neither from the queue nor on an idle connection", async (t) => {
  const waiting: (() => void)[] = [];
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      if (head.includes("/wait")) waiting.push(() => socket.write(OK));
      else socket.write(OK);
    }),
  );
  const config = clusterConfig([endpoint(port)], { circuitBreakers: { ...breakers, maxRequests: 1 } });
  const { cluster, stats } = clusterUnderTest(t, config);
  const first = get(cluster, "/wait");
  const second = get(cluster, "/");
  assert.equal((await second).resetReason, ResetReason.OVERFLOW);
  await until(() => waiting.length === 1);
  assert.equal(stats.read("circuit_breakers.default.rq_open"), 1);
  waiting[0]!();
  assert.equal((await first).body, "ok");
  await turn();
  assert.equal(stats.read("circuit_breakers.default.rq_open"), 0);
  const third = get(cluster, "/wait");
  await until(() => waiting.length === 2);
  assert.equal((await get(cluster, "/")).resetReason, ResetReason.OVERFLOW);
  waiting[1]!();
  assert.equal((await third).body, "ok");
});

test("max_requests_per_connection closes a worn-out connection", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], { maxRequestsPerConnection: 2 }));
  for (let n = 0; n < 5; n++) {
    await get(cluster, "/");
    await turn();
  }
  assert.equal(sockets.length, 3);
  assert.equal(stats.read("upstream_cx_max_requests"), 2);
});

test("an idle connection is closed after idle_timeout; a busy one is not", async (t) => {
  let answer: (() => void) | null = null;
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      if (head.includes("/wait")) answer = () => socket.write(OK);
      else socket.write(OK);
    }),
  );
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)], { idleTimeoutMs: 20 }));
  await get(cluster, "/");
  await until(() => stats.read("upstream_cx_idle_timeout") === 1);
  await until(() => stats.read("upstream_cx_active") === 0);
  const busy = get(cluster, "/wait");
  await until(() => answer !== null);
  await new Promise((resolve) => setTimeout(resolve, 60));
  answer!();
  assert.equal((await busy).body, "ok");
  assert.equal(stats.read("upstream_cx_idle_timeout"), 1);
});

// ---- Giving up ---------------------------------------------------------------------------------------

test("reset while waiting leaves the queue and counts as cancelled", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("GET", "/"), true);
  request.reset();
  request.reset();
  assert.equal(stats.read("upstream_rq_cancelled"), 1);
  assert.equal(stats.read("upstream_rq_pending_active"), 0);
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.deepEqual(recorder.events, []);
});

test("reset before the head has left keeps the connection; after it the connection is closed", async (t) => {
  const { port, sockets } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      if (!head.includes("/hang")) socket.write(OK);
    }),
  );
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await get(cluster, "/");
  await turn();
  const unsent = new Recorder();
  const held = cluster.request(unsent);
  held.sendHeaders(requestHeaders("POST", "/", ["content-length", "3"]), false);
  held.reset();
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 1);
  await turn();
  const sent = new Recorder();
  const hanging = cluster.request(sent);
  hanging.sendHeaders(requestHeaders("GET", "/hang"), true);
  hanging.reset(true);
  assert.equal(stats.read("upstream_cx_destroy_local"), 1);
  assert.equal(cluster.hosts[0]!.rqTimeout, 1);
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 2);
  assert.deepEqual(unsent.events, ["ready"]);
  assert.deepEqual(sent.events, ["ready"]);
});

test("reset from within an event ends the events", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK + OK)));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  recorder.onEvent = (event) => {
    if (event === "headers") request.reset();
  };
  request.sendHeaders(requestHeaders("GET", "/"), true);
  await recorder.when((r) => r.status !== 0);
  await turn();
  assert.deepEqual(recorder.events, ["ready", "headers 200"]);
  assert.equal(recorder.bytes, 0);
});

for (const [name, length, pieces] of [
  ["longer than", "3", ["ab", "cd"]],
  ["shorter than", "9", ["ab", "cd"]],
] as const) {
  test(`a body ${name} its content-length is never sent as a message`, async (t) => {
    let text = "";
    const { port } = await origin(
      t,
      (socket) => void socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1"))),
    );
    const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
    const recorder = new Recorder();
    const request = cluster.request(recorder);
    request.sendHeaders(requestHeaders("POST", "/", ["content-length", length]), false);
    await recorder.when((r) => r.address !== "");
    pieces.forEach((piece, at) => request.sendData(Buffer.from(piece), at === pieces.length - 1));
    assert.equal(recorder.resetReason, null);
    await recorder.finished();
    assert.equal(recorder.resetReason, ResetReason.LOCAL_RESET);
    assert.equal(stats.read("upstream_cx_active"), 0);
    assert.doesNotMatch(text, /cd/);
  });
}

test("a request that HTTP/1 cannot carry is reset, waiting or not", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  for (let n = 0; n < 2; n++) {
    const bad = await get(cluster, "/a b");
    assert.equal(bad.resetReason, ResetReason.LOCAL_RESET);
    assert.equal((await get(cluster, "/")).body, "ok");
    await turn();
  }
  assert.equal(sockets.length, 1);
});

test("closing the cluster set resets what is under way and what waits", async (t) => {
  const { port, sockets } = await origin(t, () => {});
  const config = clusterConfig([endpoint(port)], { circuitBreakers: { ...breakers, maxConnections: 1 } });
  const { cluster, clusters } = clusterUnderTest(t, config);
  const sent = get(cluster, "/");
  const waiting = get(cluster, "/");
  await until(() => sockets.length === 1);
  await turn();
  clusters.close();
  assert.equal((await sent).resetReason, ResetReason.LOCAL_RESET);
  assert.equal((await waiting).resetReason, ResetReason.LOCAL_RESET);
  assert.equal((await get(cluster, "/")).resetReason, ResetReason.NO_HEALTHY_UPSTREAM);
});

test("draining lets requests finish and keeps nothing", async (t) => {
  let answer = (): void => {};
  let seen = 0;
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      seen++;
      answer = () => socket.write(OK);
      if (!head.includes("/wait")) answer();
    }),
  );
  const { cluster, clusters, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const busy = get(cluster, "/wait");
  await until(() => seen === 1);
  const finish = answer;
  await get(cluster, "/");
  await turn();
  assert.equal(stats.read("upstream_cx_active"), 2);
  clusters.drain();
  assert.equal(stats.read("upstream_cx_active"), 1);
  finish();
  assert.equal((await busy).body, "ok");
  await until(() => stats.read("upstream_cx_active") === 0);
});
