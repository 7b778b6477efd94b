/**
 * `node test/bench/connections.ts`: what connections cost. CPU time of short connections (one request each) for each
 * way to spread them over two workers, in turn; and the memory of idle connections, HTTP and tcp_proxy. Options: --seconds N, --rounds N,
 * --idle N.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { firstAnswer, freePort, PROXY_CORE, startPinned } from "./processes.ts";
import type { Started } from "./processes.ts";
import { measured, median } from "./rounds.ts";
import { fill } from "./sides.ts";
import { load } from "./wrk.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
/** Connections that are opened at once: no more than a backlog holds. */
const BATCH = 200;
/** Milliseconds after which a collection of garbage has happened if one is due. */
const SETTLE_MS = 2000;

/** Ways to accept, by what stands in the listener. */
export const MODES: Readonly<Record<string, string>> = {
  "a socket each": "",
  "by descriptor": "freebind: true,",
  "one socket": "enable_reuse_port: false,",
  "exact balance": "connection_balance_config: { exact_balance: {} },",
};

function configuration(port: number, more: string): string {
  const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.filters.${name}`;
  return `static_resources:
  listeners:
    - { name: bench, ${more} address: { socket_address: { address: 127.0.0.1, port_value: ${port} } }, filter_chains: [
        { filters: [ { name: hcm, typed_config: { ${type("network.http_connection_manager.v3.HttpConnectionManager")},
          stat_prefix: bench, route_config: { virtual_hosts: [ { name: all, domains: [ "*" ], routes: [
            { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: "hello world\\n" } } } ] } ] },
          http_filters: [ { name: router, typed_config: { ${type("http.router.v3.Router")} } } ] } } ] } ] }
`;
}

/** Starts a proxy that answers by itself. */
export async function startProxy(
  folder: string,
  mode: string,
  workers: number,
): Promise<{ started: Started; port: number }> {
  const port = await freePort();
  const path = join(folder, `${port}.yaml`);
  writeFileSync(path, configuration(port, MODES[mode]!));
  const options = ["--concurrency", String(workers), "--log-level", "warning"];
  const started = startPinned(PROXY_CORE, [process.execPath, SLUICE, "run", "-c", path, ...options]);
  await firstAnswer(started, port);
  return { started, port };
}

/** Starts a proxy that carries bytes to `origin`, which answers whatever comes. */
export async function startTcpProxy(folder: string, origin: Server): Promise<{ started: Started; port: number }> {
  const port = await freePort();
  const { port: upstream } = origin.address() as AddressInfo;
  const config = fill("sluice-tcp.yaml", { folder, port, upstream });
  const options = ["--concurrency", "1", "--log-level", "warning"];
  const started = startPinned(PROXY_CORE, [process.execPath, SLUICE, "run", "-c", config, ...options]);
  await firstAnswer(started, port);
  return { started, port };
}

/** A server that answers each read as HTTP would, and keeps the connection. Resolves once it listens. */
export async function startAnswering(): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

export interface Short {
  readonly cpuMicros: number;
  readonly rate: number;
  readonly errors: number;
}

/** CPU time of one connection with one request on it. */
export async function shortConnections(started: Started, port: number, seconds: number): Promise<Short> {
  return measured(started, () => load(`http://127.0.0.1:${port}/`, seconds, ["-H", "Connection: close"]));
}

/**
 * Growth of resident memory for each connection that has had one answer and waits for the next request. In a proxy
 * that has just started this is mostly room for new objects, which a busy one has already.
 */
export async function idleBytes(started: Started, port: number, count: number): Promise<number> {
  const sockets: Socket[] = [];
  await openIdle(sockets, port, Math.min(count, BATCH));
  const before = started.residentBytes();
  await openIdle(sockets, port, count);
  await delay(SETTLE_MS);
  const bytes = (started.residentBytes() - before) / count;
  for (const socket of sockets) socket.destroy();
  return bytes;
}

async function openIdle(sockets: Socket[], port: number, count: number): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const batch = Array.from({ length: Math.min(left, BATCH) }, () => connect(port, "127.0.0.1"));
    sockets.push(...batch);
    await Promise.all(
      batch.map(async (socket) => {
        await once(socket, "connect");
        socket.write("GET / HTTP/1.1\r\nhost: bench\r\n\r\n");
        await once(socket, "data");
      }),
    );
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "3" },
      rounds: { type: "string", default: "5" },
      idle: { type: "string", default: "10000" },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const names = Object.keys(MODES);
  const proxies = await Promise.all(names.map((mode) => startProxy(folder, mode, 2)));
  const runs = names.map(() => [] as Short[]);
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (const [at, { started, port }] of proxies.entries()) {
      const run = await shortConnections(started, port, Number(values.seconds));
      // The first round warms up.
      if (round > 0) runs[at]!.push(run);
    }
  }
  console.log(`short connections: ${values.rounds} rounds of ${values.seconds} s, 64 at a time, two workers`);
  for (const [at, name] of names.entries()) {
    const all = runs[at]!;
    const against = median(all.map(({ cpuMicros }, round) => cpuMicros / runs[0]![round]!.cpuMicros));
    const figures = [
      `${median(all.map(({ cpuMicros }) => cpuMicros)).toFixed(0)} µs CPU`,
      `${against.toFixed(2)} ×`,
      `${Math.round(median(all.map(({ rate }) => rate)))}/s`,
      `${all.reduce((sum, { errors }) => sum + errors, 0)} errors`,
    ];
    console.log(`${name.padEnd(16)}${figures.map((figure) => figure.padStart(14)).join("")}`);
  }
  await Promise.all(proxies.map(({ started }) => started.stop()));
  for (const what of ["just started", "busy before"]) {
    const { started, port } = await startProxy(folder, "a socket each", 1);
    if (what === "busy before") await shortConnections(started, port, 2 * Number(values.seconds));
    const bytes = await idleBytes(started, port, Number(values.idle));
    console.log(`${values.idle} idle connections, ${what}: ${(bytes / 1024).toFixed(1)} KiB each`);
    await started.stop();
  }
  const origin = await startAnswering();
  const { started, port } = await startTcpProxy(folder, origin);
  // Both ends of each are descriptors of this process.
  const count = Math.ceil(Number(values.idle) / 2);
  const bytes = await idleBytes(started, port, count);
  console.log(
    `${count} idle tcp_proxy connections with theirs upstream, just started: ${(bytes / 1024).toFixed(1)} KiB each`,
  );
  await started.stop();
  origin.close();
}

if (process.argv[1] === import.meta.filename) await main();
