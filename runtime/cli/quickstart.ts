/**
 * `sluice quickstart`, which is `npm start`: the proxy with the configuration, demo upstream and rate
 * limit service of samples/quickstart, and lines to try.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Server } from "../control/server.ts";
import { ProxyError } from "../errors.ts";
import { DRAIN_TIME_MS } from "../limits.ts";
import { BUNDLED_FILTERS } from "../extensions.ts";
import { build } from "./build.ts";
import { run } from "./run.ts";
import type { RunOptions } from "./run.ts";

export interface QuickstartOptions {
  readonly freePorts?: boolean;
  readonly concurrency?: number;
}

const SAMPLE = new URL("../../samples/quickstart/", import.meta.url);
const CONFIG = fileURLToPath(new URL("sluice.yaml", SAMPLE));
const EVANGELIST = fileURLToPath(new URL("../../build/filters/evangelist.wasm", import.meta.url));
/** What modules are made of. */
const SOURCES = ["../../filters/", "../../abi/"].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));
/** Ports as they stand in sluice.yaml. */
const PORTS = { proxy: 10_000, admin: 9901, upstream: 10_001, ratelimit: 10_002 } as const;

/** Runs until it is told to end; returns the exit status. Throws ProxyError PORT_IN_USE, PEERS_FAILED. */
export async function quickstart({ freePorts = false, concurrency }: QuickstartOptions): Promise<number> {
  if (!filtersAreBuilt()) {
    const built = await build([], {});
    if (built !== 0) return built;
  }
  if (!freePorts) await checkPorts();
  const peers = fork(fileURLToPath(new URL("peers.ts", SAMPLE)), freePorts ? ["0", "0"] : []);
  const ready = peersReady(peers);
  // Whoever waits for it first is told; this only says that nobody is left out.
  ready.catch(() => {});
  let peersGone: (why: string) => void = () => {};
  const until = new Promise<string>((resolve) => (peersGone = resolve));
  peers.once("exit", () => peersGone("the demo upstream and rate limit service ended"));
  try {
    const text = readFileSync(CONFIG, "utf8");
    const source = { name: CONFIG, text: freePorts ? withPorts(text, await ready) : text, base: fileURLToPath(SAMPLE) };
    const onLive = (server: Server): void => {
      ready.then(
        (ports) => console.log(whatToTry(server, ports)),
        (error: unknown) => peersGone(error instanceof Error ? error.message : String(error)),
      );
    };
    return await run(runOptions(concurrency), { sources: [source], onLive, until });
  } finally {
    if (peers.connected) peers.disconnect();
  }
}

function runOptions(concurrency: number | undefined): RunOptions {
  return {
    mode: "serve",
    configPath: CONFIG,
    logLevel: "info",
    logFormat: "text",
    drainTimeS: DRAIN_TIME_MS / 1000,
    ...(concurrency === undefined ? {} : { concurrency }),
  };
}

/** True when every module is newer than every source, so that the compiler need not even be started. */
function filtersAreBuilt(): boolean {
  const modules = [...Object.values(BUNDLED_FILTERS).map(({ module }) => module), EVANGELIST];
  let oldest = Infinity;
  for (const module of modules) {
    const found = statSync(module, { throwIfNoEntry: false });
    if (found === undefined) return false;
    oldest = Math.min(oldest, found.mtimeMs);
  }
  return SOURCES.every((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).every(
      (entry) => !entry.isFile() || statSync(join(entry.parentPath, entry.name)).mtimeMs <= oldest,
    ),
  );
}

/** Before anything starts, since a second proxy could share the first one's port and take half of its connections. */
async function checkPorts(): Promise<void> {
  const busy: string[] = [];
  for (const [what, port] of Object.entries(PORTS)) if (!(await isFree(port))) busy.push(`${port} (${what})`);
  if (busy.length === 0) return;
  const subject = busy.length === 1 ? `port ${busy[0]} is` : `ports ${busy.join(", ")} are`;
  throw new ProxyError(
    "PORT_IN_USE",
    "config",
    `${subject} in use on 127.0.0.1; end what listens there, or let the system choose: npm start -- --free-ports`,
  );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ host: "127.0.0.1", port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

interface PeerPorts {
  readonly upstream: number;
  readonly ratelimit: number;
}

async function peersReady(peers: ChildProcess): Promise<PeerPorts> {
  const answer = await new Promise<Partial<PeerPorts> & { readonly error?: string }>((resolve) => {
    peers.once("message", (message) => resolve(message as Partial<PeerPorts>));
    peers.once("exit", (status) => resolve({ error: `exited with status ${status}` }));
  });
  const { upstream, ratelimit, error } = answer;
  if (upstream === undefined || ratelimit === undefined) {
    throw new ProxyError("PEERS_FAILED", "config", `demo upstream and rate limit service: ${error ?? "no answer"}`);
  }
  return { upstream, ratelimit };
}

function withPorts(text: string, { upstream, ratelimit }: PeerPorts): string {
  const chosen = new Map<number, number>([
    [PORTS.proxy, 0],
    [PORTS.admin, 0],
    [PORTS.upstream, upstream],
    [PORTS.ratelimit, ratelimit],
  ]);
  return text.replace(/port_value: (\d+)/g, (whole, port: string) => {
    const instead = chosen.get(Number(port));
    return instead === undefined ? whole : `port_value: ${instead}`;
  });
}

function whatToTry(server: Server, { upstream, ratelimit }: PeerPorts): string {
  const proxy = `http://${server.bound[0]?.address ?? ""}`;
  const admin = `http://${server.adminAddress}`;
  const workers = server.workers().length;
  return `
Sluice is live: ${workers} ${workers === 1 ? "worker" : "workers"}, filters evangelist, ratelimit and fault as WebAssembly modules.
Demo upstream on 127.0.0.1:${upstream}, rate limit service on 127.0.0.1:${ratelimit}. Try in another terminal:

The upstream answers with the request it saw; every response carries x-evangelist:
  curl -i ${proxy}/hello
  curl -i -d 'some body' ${proxy}/echo

Five requests a minute are allowed, the sixth is answered 429:
  for n in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{http_code}\\n' ${proxy}/limited; done
  curl -i ${proxy}/limited

An abort and a delay of 300 ms, as the request asks for them:
  curl -i -H 'x-envoy-fault-abort-request: 503' -H 'x-envoy-fault-abort-request-percentage: 100' ${proxy}/hello
  curl -s -o /dev/null -w '%{time_total} s\\n' -H 'x-envoy-fault-delay-request: 300' -H 'x-envoy-fault-delay-request-percentage: 100' ${proxy}/hello

The admin interface:
  curl ${admin}/ready
  curl '${admin}/stats?usedonly&filter=^http.ingress'
  curl ${admin}/clusters
  curl ${admin}/help

Ctrl-C ends everything.
`;
}
