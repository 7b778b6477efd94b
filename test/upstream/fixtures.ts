/** What the tests of the upstream room share: statistics in memory, cluster configurations, scripted origins. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { ClusterConfig, EndpointConfig } from "../../runtime/config/snapshot.ts";
import type { ResetReason } from "../../runtime/errors.ts";
import type { Counter, Gauge, Histogram, Stats } from "../../runtime/observe/stats.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import type { ClusterTools } from "../../runtime/upstream/cluster.ts";
import type { UpstreamHandler, UpstreamRequest } from "../../runtime/upstream/request.ts";

class Cell implements Gauge, Counter, Histogram {
  value = 0;
  records = 0;
  inc(): void {
    this.value++;
  }
  dec(): void {
    this.value--;
  }
  add(n: number): void {
    this.value += n;
  }
  set(n: number): void {
    this.value = n;
  }
  record(): void {
    this.records++;
  }
}

export class MemoryStats implements Stats {
  readonly cells = new Map<string, Cell>();
  #cell(name: string): Cell {
    let cell = this.cells.get(name);
    if (cell === undefined) this.cells.set(name, (cell = new Cell()));
    return cell;
  }
  counter(name: string): Counter {
    return this.#cell(name);
  }
  gauge(name: string): Gauge {
    return this.#cell(name);
  }
  histogram(name: string): Histogram {
    return this.#cell(name);
  }
  /** Value of `cluster.origin.<name>`. */
  read(name: string): number {
    const cell = this.cells.get(`cluster.origin.${name}`);
    if (cell === undefined) throw new Error(`no statistic ${name}`);
    return cell.value;
  }
}

export function endpoint(port: number, over: Partial<EndpointConfig> & { host?: string } = {}): EndpointConfig {
  const { host = "127.0.0.1", ...rest } = over;
  return {
    address: { kind: "ip", host, port, ipv4Compat: false },
    hostname: "",
    weight: 1,
    priority: 0,
    healthy: true,
    ...rest,
  };
}

export function clusterConfig(endpoints: readonly EndpointConfig[], over: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    name: "origin",
    statName: "origin",
    type: "STATIC",
    lbPolicy: "ROUND_ROBIN",
    connectTimeoutMs: 60_000,
    perConnectionBufferLimitBytes: 1024 * 1024,
    protocol: "HTTP1",
    endpoints,
    dnsRefreshRateMs: 5000,
    dnsFailureRefreshRateMs: 5000,
    dnsLookupFamily: "AUTO",
    idleTimeoutMs: 3_600_000,
    maxRequestsPerConnection: 0,
    circuitBreakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
    metadata: {},
    ...over,
  };
}

/** A cluster set with one cluster `origin`; closed, and found without an open connection, after the test. */
export function clusterUnderTest(
  t: TestContext,
  config: ClusterConfig,
  tools: Partial<ClusterTools> = {},
): { clusters: ClusterSet; stats: MemoryStats; cluster: NonNullable<ReturnType<ClusterSet["get"]>> } {
  const stats = new MemoryStats();
  const clusters = new ClusterSet([config], stats, tools);
  const cluster = clusters.get("origin");
  if (cluster === undefined) throw new Error("cluster origin is missing");
  t.after(() => {
    clusters.close();
    for (const gauge of ["upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active"]) {
      if (stats.read(gauge) !== 0) throw new Error(`${gauge} is ${stats.read(gauge)} after the test`);
    }
    const { connections, requests, pendingRequests } = cluster.resources;
    if (connections + requests + pendingRequests !== 0) throw new Error("a circuit breaker still counts");
  });
  return { clusters, stats, cluster };
}

export interface Origin {
  readonly port: number;
  readonly server: Server;
  /** Connections accepted so far, in order. */
  readonly sockets: readonly Socket[];
  close(): Promise<void>;
}

/** A TCP origin that does what the script says with each connection. */
export async function origin(
  t: TestContext,
  script: (socket: Socket, index: number) => void,
  listen: { port?: number; path?: string; host?: string } = {},
): Promise<Origin> {
  const sockets: Socket[] = [];
  const server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => {
    // A peer that resets is part of many scripts.
    socket.on("error", () => socket.destroy());
    sockets.push(socket);
    script(socket, sockets.length - 1);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(
      listen.path === undefined ? { host: listen.host ?? "127.0.0.1", port: listen.port ?? 0 } : { path: listen.path },
      resolve,
    );
  });
  const close = (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  t.after(close);
  const address = server.address();
  const port = typeof address === "string" || address === null ? 0 : address.port;
  return { port, server, sockets, close };
}

/** Connections that the system holds for a listener with a backlog of one: that and one more (`listen(2)`). */
const DEAF_HOLDS = 2;

/** A listener in another process that never accepts; `fill` uses its backlog up. */
export async function deafListener(t: TestContext): Promise<{ port: number; fill: () => Promise<void> }> {
  // Node always accepts, unless its loop is blocked for good.
  const script =
    "require('net').createServer().listen({host:'127.0.0.1',port:0,backlog:1},function(){" +
    "require('fs').writeSync(1,String(this.address().port));Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0)})";
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const sockets: Socket[] = [];
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  const [text] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(text.toString());
  const fill = async (): Promise<void> => {
    for (let held = 0; held < DEAF_HOLDS; held++) {
      const socket = connect(port, "127.0.0.1");
      sockets.push(socket);
      socket.on("error", () => socket.destroy());
      await once(socket, "connect");
    }
  };
  return { port, fill };
}

/** Calls `answer` for each whole request (head, plus body by content-length or chunks) that a connection gets. */
export function onRequests(socket: Socket, answer: (head: string, body: string, index: number) => void): void {
  let text = "";
  let index = 0;
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (end === -1) return;
      const head = text.slice(0, end);
      const length = /^content-length: *(\d+)/im.exec(head)?.[1];
      let bodyEnd = end + 4 + Number(length ?? 0);
      if (/^transfer-encoding: *chunked/im.test(head)) {
        const last = text.slice(end).search(/\r\n0\r\n(?:[^\r]+\r\n)*\r\n/);
        if (last === -1) return;
        bodyEnd = end + last + text.slice(end + last + 5).indexOf("\r\n") + 7;
        if (!text.startsWith("0\r\n\r\n", end + last + 2)) bodyEnd = text.indexOf("\r\n\r\n", end + last + 2) + 4;
      }
      if (text.length < bodyEnd) return;
      const body = text.slice(end + 4, bodyEnd);
      text = text.slice(bodyEnd);
      answer(head, body, index++);
    }
  });
}

/** Everything that one upstream request told, as text lines; promises for the moments tests wait for. */
export class Recorder implements UpstreamHandler {
  readonly events: string[] = [];
  status = 0;
  headers: HeaderMap = new HeaderMap();
  trailers: HeaderMap | null = null;
  readonly chunks: Buffer[] = [];
  bytes = 0;
  keepChunks = true;
  ended = false;
  resetReason: ResetReason | null = null;
  transportFailure = "";
  requestUnsent = false;
  address = "";
  localAddress = "";
  drains = 0;
  request: UpstreamRequest | null = null;
  onEvent: ((event: string) => void) | null = null;
  #waiting: { want: (recorder: Recorder) => boolean; resolve: () => void }[] = [];

  get body(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }
  /** Resolves when `want` is true after some event. */
  when(want: (recorder: Recorder) => boolean): Promise<void> {
    if (want(this)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ want, resolve }));
  }
  get over(): boolean {
    return this.ended || this.resetReason !== null;
  }
  finished(): Promise<void> {
    return this.when((recorder) => recorder.over);
  }

  #note(event: string): void {
    if (this.over && !event.startsWith("end")) this.events.push(`AFTER THE END: ${event}`);
    else this.events.push(event);
  }
  #settle(event: string): void {
    this.onEvent?.(event);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (one.want(this)) one.resolve();
      else this.#waiting.push(one);
    }
  }

  onUpstreamReady(address: string, localAddress: string): void {
    this.#note("ready");
    this.address = address;
    this.localAddress = localAddress;
    this.#settle("ready");
  }
  onUpstreamInformational(status: number): void {
    this.#note(`informational ${status}`);
    this.#settle("informational");
  }
  onUpstreamHeaders(status: number, headers: HeaderMap, endStream: boolean): void {
    this.#note(`headers ${status}${endStream ? " end" : ""}`);
    this.status = status;
    this.headers = headers;
    this.ended = endStream;
    this.#settle("headers");
  }
  onUpstreamData(chunk: Buffer, endStream: boolean): void {
    if (this.over) this.events.push("AFTER THE END: data");
    // The bytes are ours only until we return (UpstreamHandler).
    if (this.keepChunks) this.chunks.push(Buffer.from(chunk));
    this.bytes += chunk.length;
    this.ended = endStream;
    this.#settle("data");
  }
  onUpstreamTrailers(trailers: HeaderMap): void {
    this.#note("trailers");
    this.trailers = trailers;
    this.ended = true;
    this.#settle("trailers");
  }
  onUpstreamReset(reason: ResetReason, transportFailure: string, requestUnsent: boolean): void {
    this.#note(`reset ${reason}`);
    this.resetReason = reason;
    this.transportFailure = transportFailure;
    this.requestUnsent = requestUnsent;
    this.#settle("reset");
  }
  onUpstreamDrain(): void {
    this.drains++;
    this.#settle("drain");
  }
  onUpstreamReadComplete(): void {
    if (this.over) this.events.push("AFTER THE END: read complete");
    this.#settle("read complete");
  }
}

export function requestHeaders(method: string, path: string, more: readonly string[] = []): HeaderMap {
  return new HeaderMap([":method", method, ":path", path, ":authority", "origin.test", ":scheme", "http", ...more]);
}

/** Sends one bodiless request and returns its recorder once it is over. */
export async function get(
  upstream: { request(handler: UpstreamHandler): UpstreamRequest },
  path: string,
  method = "GET",
): Promise<Recorder> {
  const recorder = new Recorder();
  recorder.request = upstream.request(recorder);
  recorder.request.sendHeaders(requestHeaders(method, path), true);
  await recorder.finished();
  return recorder;
}

/** Resolves after everything that is due now has run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when `want` holds; looks again after every turn of the loop. */
export async function until(want: () => boolean): Promise<void> {
  while (!want()) await turn();
}
