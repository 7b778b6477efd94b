/** Back-pressure both ways over HTTP/1, large bodies, early responses. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { test } from "node:test";
import { ResetReason } from "../../runtime/errors.ts";
import {
  clusterConfig,
  clusterUnderTest,
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
const MIB = 1024 * 1024;

function sha(chunks: readonly Buffer[]): string {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

for (const framing of ["content-length", "chunked"] as const) {
  test(`a slow reader pushes back, lets go, and gets every byte: ${framing}`, async (t) => {
    let reader: Socket | undefined;
    const got: Buffer[] = [];
    const { port } = await origin(t, (socket) => {
      reader = socket;
      socket.pause();
    });
    const limit = 64 * 1024;
    const config = clusterConfig([endpoint(port)], { perConnectionBufferLimitBytes: limit });
    const { cluster, stats } = clusterUnderTest(t, config);
    const chunk = randomBytes(32 * 1024);
    const count = 512;
    const recorder = new Recorder();
    const request = cluster.request(recorder);
    const more = framing === "chunked" ? [] : ["content-length", String(count * chunk.length)];
    request.sendHeaders(requestHeaders("POST", "/", more), false);
    let sent = 0;
    let stopped = 0;
    const send = async (): Promise<void> => {
      while (sent < count) {
        const drains = recorder.drains;
        if (request.sendData(chunk, ++sent === count)) continue;
        stopped++;
        await recorder.when((r) => r.drains > drains);
      }
    };
    const sending = send();
    await until(() => stats.read("upstream_flow_control_backed_up_total") > 0);
    // The kernel takes some megabytes, this process only the limit and one more piece.
    const before = sent;
    for (let n = 0; n < 20; n++) await turn();
    assert.ok(before < count);
    reader!.on("data", (data: Buffer) => {
      got.push(data);
      if (
        got.reduce((sum, piece) => sum + piece.length, 0) > count * chunk.length &&
        data.toString("latin1").endsWith(framing === "chunked" ? "0\r\n\r\n" : "")
      ) {
        reader!.write(OK);
        reader!.removeAllListeners("data");
      }
    });
    reader!.resume();
    await sending;
    await recorder.finished();
    assert.equal(recorder.body, "ok");
    assert.ok(stopped > 0);
    const all = Buffer.concat(got);
    let body = all.subarray(all.indexOf("\r\n\r\n") + 4);
    if (framing === "chunked") {
      const parts: Buffer[] = [];
      for (;;) {
        const line = body.indexOf("\r\n");
        const size = Number.parseInt(body.toString("latin1", 0, line), 16);
        if (size === 0) break;
        parts.push(body.subarray(line + 2, line + 2 + size));
        body = body.subarray(line + 2 + size + 2);
      }
      body = Buffer.concat(parts);
    }
    assert.equal(body.length, count * chunk.length);
    assert.equal(sha([body]), sha(Array.from({ length: count }, () => chunk)));
    assert.equal(
      stats.read("upstream_flow_control_drained_total"),
      stats.read("upstream_flow_control_backed_up_total"),
    );
  });
}

test("a request that waits for its connection holds its body, and says when it is too much", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (_head, body) =>
      socket.write(body.length === 3 * 1000 + 5 ? OK : "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"),
    ),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)], { perConnectionBufferLimitBytes: 2500 }));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/", ["content-length", "3005"]), false);
  assert.equal(request.sendData(Buffer.alloc(1000, 97), false), true);
  assert.equal(request.sendData(Buffer.alloc(1000, 97), false), true);
  assert.equal(request.sendData(Buffer.alloc(1000, 97), false), false);
  await recorder.when((r) => r.drains === 1);
  assert.equal(request.sendData(Buffer.from("12345"), true), true);
  await recorder.finished();
  assert.equal(recorder.status, 200);
});

test("paused reading stops the origin; resumed, every byte comes", async (t) => {
  const total = 64 * MIB;
  const piece = randomBytes(MIB);
  let written = 0;
  const { port } = await origin(t, (socket) =>
    onRequests(socket, () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      const more = (): void => {
        while (written < total) {
          written += piece.length;
          if (!socket.write(piece)) {
            socket.once("drain", more);
            return;
          }
        }
      };
      more();
    }),
  );
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  recorder.keepChunks = false;
  const hash = createHash("sha256");
  const request = cluster.request(recorder);
  const original = recorder.onUpstreamData.bind(recorder);
  recorder.onUpstreamData = (chunk, end) => {
    hash.update(chunk);
    original(chunk, end);
  };
  recorder.onEvent = (event) => {
    if (event === "headers") request.pauseReading();
  };
  request.sendHeaders(requestHeaders("GET", "/"), true);
  await recorder.when((r) => r.status === 200);
  for (let n = 0; n < 100; n++) await turn();
  assert.ok(recorder.bytes <= 64 * 1024, `${recorder.bytes} bytes came although reading was paused`);
  assert.ok(written < total / 2);
  request.resumeReading();
  await recorder.finished();
  assert.equal(recorder.bytes, total);
  assert.equal(hash.digest("hex"), sha(Array.from({ length: total / MIB }, () => piece)));
  assert.equal(stats.read("upstream_flow_control_paused_reading_total"), 1);
  assert.equal(stats.read("upstream_flow_control_resumed_reading_total"), 1);
});

test("a response that ends while reading is paused leaves the connection usable", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  recorder.onEvent = (event) => {
    if (event === "headers") request.pauseReading();
  };
  request.sendHeaders(requestHeaders("GET", "/"), true);
  await recorder.finished();
  await turn();
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 1);
});

test("a request paused before its head, and given up unsent, leaves the connection usable", async (t) => {
  const { port, sockets } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  await get(cluster, "/");
  await turn();
  const request = cluster.request(new Recorder());
  request.pauseReading();
  request.sendHeaders(requestHeaders("POST", "/", ["content-length", "1"]), false);
  request.reset();
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 1);
});

test("reading may be paused while the request still waits for its connection", async (t) => {
  const { port } = await origin(t, (socket) => onRequests(socket, () => socket.write(OK)));
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.pauseReading();
  request.sendHeaders(requestHeaders("GET", "/"), true);
  await recorder.when((r) => r.address !== "");
  for (let n = 0; n < 50; n++) await turn();
  assert.equal(recorder.status, 0);
  request.resumeReading();
  await recorder.finished();
  assert.equal(recorder.body, "ok");
  assert.equal(stats.read("upstream_rq_total"), 1);
});

test("a response before the end of the request is delivered, and the connection is closed", async (t) => {
  const { port, sockets } = await origin(t, (socket, at) => {
    if (at > 0) onRequests(socket, () => socket.write(OK));
    else socket.once("data", () => socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"));
  });
  const { cluster, stats } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/", ["content-length", "1000"]), false);
  request.sendData(Buffer.from("start"), false);
  await recorder.finished();
  assert.equal(recorder.status, 413);
  assert.equal(recorder.body, "big");
  assert.equal(recorder.resetReason, null);
  assert.equal(request.sendData(Buffer.from("more"), false), true);
  request.sendTrailers(requestHeaders("GET", "/"));
  request.reset();
  await until(() => stats.read("upstream_cx_active") === 0);
  assert.equal((await get(cluster, "/")).body, "ok");
  assert.equal(sockets.length, 2);
});

test("a host that vanishes while the request is being sent resets it once", async (t) => {
  const { port } = await origin(t, (socket) => void socket.once("data", () => socket.resetAndDestroy()));
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const recorder = new Recorder();
  const request = cluster.request(recorder);
  request.sendHeaders(requestHeaders("POST", "/"), false);
  while (!recorder.over) {
    request.sendData(Buffer.alloc(100_000), false);
    await turn();
  }
  await turn();
  assert.equal(recorder.resetReason, ResetReason.CONNECTION_TERMINATION);
  assert.deepEqual(recorder.events, ["ready", "reset connection termination"]);
});

test("chunks keep their bytes after the next ones have arrived", async (t) => {
  const parts = Array.from({ length: 200 }, (_, n) => Buffer.alloc(777, n & 255));
  const { port } = await origin(t, (socket) =>
    onRequests(socket, () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${777 * parts.length}\r\n\r\n`);
      let next = 0;
      const more = (): void => {
        if (next === parts.length) return;
        socket.write(parts[next++]!);
        setImmediate(more);
      };
      more();
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const answer = await get(cluster, "/");
  assert.equal(sha(answer.chunks), sha(parts));
});

test("connections that are read in turn do not mix their bodies", async (t) => {
  const { port } = await origin(t, (socket) =>
    onRequests(socket, (head) => {
      const mark = Number(/\/(\d+)/.exec(head)?.[1]);
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
      let left = 60;
      const more = (): void => {
        const size = 1 + ((left * 7919 * mark) % 20_000);
        socket.write(`${size.toString(16)}\r\n`);
        socket.write(Buffer.alloc(size, mark));
        socket.write("\r\n");
        if (--left > 0) setImmediate(more);
        else socket.write("0\r\n\r\n");
      };
      more();
    }),
  );
  const { cluster } = clusterUnderTest(t, clusterConfig([endpoint(port)]));
  const marks = Array.from({ length: 16 }, (_, at) => at + 1);
  const answers = await Promise.all(marks.map((mark) => get(cluster, `/${mark}`)));
  for (const mark of marks) {
    const answer = answers[mark - 1];
    assert.ok(answer !== undefined && answer.bytes > 60);
    assert.ok(answer.chunks.every((chunk) => chunk.every((byte) => byte === mark)));
  }
});
