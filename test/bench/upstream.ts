/**
 * CPU time of this process per upstream HTTP/1 request: one at a time over one connection, then 64 in
 * flight. The origin answers from another process with a canned response. Run it by hand:
 * `node test/bench/upstream.ts [requests]`; compare builds in turn (A B A B …), never across machines.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import type { Upstream, UpstreamHandler } from "../../runtime/upstream/request.ts";
import { clusterConfig, endpoint } from "../upstream/fixtures.ts";

const REQUEST = [
  ":method",
  "GET",
  ":path",
  "/index.html?n=1",
  ":authority",
  "bench.test",
  ":scheme",
  "http",
  "user-agent",
  "bench",
  "accept",
  "*/*",
  "x-request-id",
  "6f3a9d1e-5b0c-4b5e-8f57-0d5c8f6f2f11",
  "x-forwarded-proto",
  "http",
  "x-envoy-expected-rq-timeout-ms",
  "15000",
];

/** As raw as it gets, so that the origin is never what is measured. */
const ORIGIN = `
const body = "x".repeat(100);
const answer = "HTTP/1.1 200 OK\\r\\ncontent-type: text/plain\\r\\nserver: raw\\r\\ndate: Sun, 22 Nov 2026 21:00:00 GMT\\r\\ncontent-length: 100\\r\\n\\r\\n" + body;
require("net").createServer({ noDelay: true }, (socket) => {
  socket.on("data", (chunk) => {
    let count = 0;
    for (let at = chunk.indexOf("\\r\\n\\r\\n"); at !== -1; at = chunk.indexOf("\\r\\n\\r\\n", at + 4)) count++;
    if (count > 0) socket.write(answer.repeat(count), "latin1");
  });
  socket.on("error", () => socket.destroy());
}).listen(0, "127.0.0.1", function () { process.stdout.write(String(this.address().port)); });
`;

/** Sends the next request when the response of the one before is whole. */
class Driver implements UpstreamHandler {
  readonly #upstream: Upstream;
  readonly #onDone: () => void;
  #left: number;
  bytes = 0;

  constructor(upstream: Upstream, requests: number, onDone: () => void) {
    this.#upstream = upstream;
    this.#left = requests;
    this.#onDone = onDone;
  }
  next = (): void => {
    if (this.#left-- === 0) {
      this.#onDone();
      return;
    }
    // A fresh map, as the router has one for each request.
    this.#upstream.request(this).sendHeaders(new HeaderMap(REQUEST.slice()), true);
  };
  onUpstreamReady(): void {}
  onUpstreamInformational(): void {}
  onUpstreamHeaders(status: number, _headers: HeaderMap, endStream: boolean): void {
    if (status !== 200 || endStream) throw new Error(`unexpected response ${status}`);
  }
  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    this.bytes += chunk.length;
    // The connection is free only after this call: the next request would find none to reuse.
    if (endStream) queueMicrotask(this.next);
  }
  onUpstreamTrailers(): void {}
  onUpstreamReset(reason: string): void {
    throw new Error(`request was reset: ${reason}`);
  }
  onUpstreamDrain(): void {}
  onUpstreamReadComplete(): void {}
}

async function run(upstream: Upstream, requests: number, parallel: number): Promise<number> {
  let running = parallel;
  let finish: () => void = () => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const before = process.cpuUsage();
  for (let n = 0; n < parallel; n++) {
    new Driver(upstream, Math.floor(requests / parallel), () => {
      if (--running === 0) finish();
    }).next();
  }
  await finished;
  const { user, system } = process.cpuUsage(before);
  return (user + system) / requests;
}

async function startOrigin(): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ["-e", ORIGIN], { stdio: ["ignore", "pipe", "inherit"] });
  const [text] = (await once(child.stdout, "data")) as [Buffer];
  return { child, port: Number(text.toString()) };
}

const requests = Number(process.argv[2] ?? 100_000);
const { child, port } = await startOrigin();
const config = clusterConfig([endpoint(port)], { connectTimeoutMs: 5000 });
const stats = new StatsStore(() => {});
const clusters = new ClusterSet([config], stats);
const upstream = clusters.get("origin");
if (upstream === undefined) throw new Error("cluster origin is missing");

await run(upstream, requests / 5, 64);
for (let round = 1; round <= 3; round++) {
  const sequential = await run(upstream, requests / 5, 1);
  const parallel = await run(upstream, requests, 64);
  console.log(
    `round ${round}: sequential ${sequential.toFixed(2)} µs, 64 in flight ${parallel.toFixed(2)} µs CPU per request`,
  );
}
console.log(`connections made: ${stats.counter("cluster.origin.upstream_cx_total").value}`);
clusters.close();
child.kill();
