/** tcp_proxy in this process between real sockets: downstream peers, hosts that a test drives, and what is counted. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { NativeFilterConfig, TcpProxyConfig } from "../../runtime/config/network-snapshot.ts";
import type { AccessLogConfig, ClusterConfig, ListenerConfig } from "../../runtime/config/snapshot.ts";
import type { NetworkEnvironment } from "../../runtime/network/environment.ts";
import type { NetworkFilterFactory } from "../../runtime/network/filter.ts";
import { nativeFilter } from "../../runtime/network/native.ts";
import { AccessLog } from "../../runtime/observe/access-log.ts";
import { drainLogFiles } from "../../runtime/observe/log-file.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { cluster } from "../http/engine.ts";
import { serve, type Served } from "../listener/chain.ts";

/** A host with the connections that it has accepted. */
export interface TestHost {
  readonly port: number;
  readonly accepted: Socket[];
}

/** Listens until the test ends. `each` gets every connection, which may be half-open. */
export async function host(t: TestContext, each: (socket: Socket) => void = () => {}): Promise<TestHost> {
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    each(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, accepted };
}

/** Sends back what comes and half-closes when the peer did. */
export function echoing(socket: Socket): void {
  socket.pipe(socket);
}

export function tcpConfig(more: Partial<TcpProxyConfig> = {}): TcpProxyConfig {
  return {
    statPrefix: "t",
    clusters: [{ name: "up", weight: 1 }],
    idleTimeoutMs: 3_600_000,
    maxConnectionDurationMs: 0,
    maxConnectionDurationJitterPercent: 0,
    maxConnectAttempts: 1,
    connectOnData: false,
    maxEarlyDataBytes: 0,
    backoff: undefined,
    accessLogs: [],
    accessLogFlushIntervalMs: 0,
    accessLogOnConnected: false,
    accessLogOnStart: false,
    ...more,
  };
}

export interface Proxied extends Served {
  readonly upstreams: ClusterSet;
  readonly counter: (name: string) => number;
  readonly gauge: (name: string) => number;
}

/** What a worker would give its filters, without clusters. */
export function environmentOf(stats: StatsStore): NetworkEnvironment {
  return {
    stats,
    upstreams: { get: () => undefined },
    runtime: {},
    counts: {},
    workerIndex: 0,
    accessLog: (configs) => (configs.length === 0 ? undefined : new AccessLog(configs, stats)),
  };
}

/** Filters of a test stand before the tcp_proxy. */
export async function proxied(
  t: TestContext,
  given: {
    clusters: readonly ClusterConfig[];
    tcp?: Partial<TcpProxyConfig>;
    filters?: readonly NetworkFilterFactory[];
    listener?: Partial<ListenerConfig>;
  },
): Promise<Proxied> {
  const stats = new StatsStore(() => {});
  const upstreams = new ClusterSet(given.clusters, stats);
  t.after(() => upstreams.close());
  await upstreams.start();
  const proxy = nativeFilter(
    { kind: "tcp_proxy", name: "tcp", tcp: tcpConfig(given.tcp) },
    { ...environmentOf(stats), upstreams },
  );
  const served = await serve(t, [...(given.filters ?? []), proxy], given.listener, stats);
  return {
    ...served,
    upstreams,
    counter: (name) => stats.counter(name).value,
    gauge: (name) => stats.gauge(name).value,
  };
}

export { cluster };

/** Gauges that must be 0 again once no connection is left. */
export function gaugesLeft({ gauge }: Proxied): Record<string, number> {
  const names = [
    "listener.l.downstream_cx_active",
    "cluster.up.upstream_cx_active",
    "cluster.up.upstream_rq_active",
    "cluster.up.upstream_rq_pending_active",
    "tcp.t.downstream_cx_rx_bytes_buffered",
    "tcp.t.downstream_cx_tx_bytes_buffered",
    "tcp.t.upstream_flush_active",
  ];
  return Object.fromEntries(names.map((name) => [name, gauge(name)]).filter(([, value]) => value !== 0));
}

/** A filter that needs nothing of a worker. */
export function alone(config: NativeFilterConfig): NetworkFilterFactory {
  return nativeFilter(config, environmentOf(new StatsStore(() => {})));
}

/** A log file that is read with `lines` once everything is over. */
export function logTo(t: TestContext, format: string): { log: AccessLogConfig; lines: () => Promise<string[]> } {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "log");
  return {
    log: {
      sink: { kind: "file", path },
      filter: undefined,
      format: { kind: "text", text: format, omitEmptyValues: false },
    },
    lines: async () => {
      await drainLogFiles();
      return readFileSync(path, "utf8").split("\n").slice(0, -1);
    },
  };
}

/** Waits until a process has written a line that passes to its log. Throws the lines that are there when it does not come. */
export async function recorded(
  proxy: { post(path: string): Promise<unknown> },
  path: string,
  passes: (line: string) => boolean,
): Promise<void> {
  const deadline = performance.now() + 90_000;
  for (;;) {
    // A connection may end after the last flush, and the next one is seconds away.
    await proxy.post("/reopen_logs");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    if (lines.some(passes)) return;
    if (performance.now() > deadline) throw new Error(`not within 90 s, but: ${lines.join("; ")}`);
  }
}
