/**
 * Where clients attack a whole proxy with one worker: listeners for plain HTTP, TLS and PROXY headers, and peaceful
 * clients that ask all the while, each on one connection and each with a new one every time. An attack is over when the
 * proxy has let go of everything.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { Authority } from "../tls/certificates.ts";
import { PEACE_BYTES, PeaceCell, type PeaceWanted } from "./net-peace-cells.ts";

const TYPE = '"@type": type.googleapis.com/envoy.extensions.';
/** Milliseconds that a connection to an attacker's listener may be without a stream. */
const IDLE_MS = 1500;
/** Milliseconds that the proxy waits for first bytes and handshakes, and for streams in which nothing happens. */
export const PATIENCE_MS = 300;
/** Of a response that takes more than any window. */
const LARGE_BYTES = 8 * 1024 * 1024;

/** How long it waits where attacks are told by other things than their time, however busy the machine is. */
const LONG_PATIENCE_S = 600;

/** Where attacks go; the hasty ones wait for first bytes for PATIENCE_MS, and for HTTP that does not go on. */
export type Door = "plain" | "hasty_plain" | "secure" | "hasty_secure" | "proxied" | "hasty_proxied";
/** Where peaceful clients go: other listeners of the same worker, as patient as they are without being told otherwise. */
type CalmDoor = "calm" | "calm_secure";
const DOORS: readonly (Door | CalmDoor)[] = [
  "plain",
  "hasty_plain",
  "secure",
  "hasty_secure",
  "proxied",
  "hasty_proxied",
  "calm",
  "calm_secure",
];

/** What peaceful clients met since the last call. */
export interface Peace {
  readonly answers: number;
  /** Milliseconds. */
  readonly slowest: number;
}

export class NetArena {
  readonly #proxy: ProxyProcess;
  readonly #origin: Server;
  readonly #ports: Readonly<Record<Door | CalmDoor, number>>;
  readonly #peaceful: Worker;
  readonly #cells: Int32Array;
  #failure: Error | null = null;

  private constructor(proxy: ProxyProcess, origin: Server, ports: Readonly<Record<Door | CalmDoor, number>>) {
    this.#proxy = proxy;
    this.#origin = origin;
    this.#ports = ports;
    const cells = new SharedArrayBuffer(PEACE_BYTES);
    this.#cells = new Int32Array(cells);
    const workerData: PeaceWanted = { plain: ports.calm, secure: ports.calm_secure, cells };
    this.#peaceful = new Worker(new URL("net-peace.ts", import.meta.url), { workerData });
    this.#peaceful.on("error", (error: Error) => (this.#failure = error));
  }

  /** `folder` is for certificates. */
  static async start(folder: string): Promise<NetArena> {
    const origin = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${LARGE_BYTES}\r\n\r\n`);
        socket.write(Buffer.alloc(LARGE_BYTES, 120));
      });
    });
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    const text = configuration(new Authority(folder, "root").issue("a.test"), (origin.address() as AddressInfo).port);
    const proxy = await new ProxyProcess(text, ["--concurrency", "1"]).live();
    const { body } = await proxy.get("/listeners", proxy.admin);
    const port = (name: Door | CalmDoor): number => Number(new RegExp(`^${name}::.*:(\\d+)$`, "m").exec(body)![1]);
    const ports = Object.fromEntries(DOORS.map((door) => [door, port(door)])) as Record<Door | CalmDoor, number>;
    return new NetArena(proxy, origin, ports);
  }

  /** A connection whose errors and bytes nobody looks at. */
  open(door: Door): Socket {
    return connect(this.#ports[door], "127.0.0.1")
      .on("error", () => {})
      .resume();
  }

  port(door: Door | CalmDoor): number {
    return this.#ports[door];
  }

  /** Values by name, of names that match. */
  async stats(pattern: string): Promise<Map<string, number>> {
    const { body } = await this.#proxy.get(`/stats?filter=${encodeURIComponent(pattern)}`, this.#proxy.admin);
    const lines = body
      .trim()
      .split("\n")
      .filter((line) => /: \d+$/.test(line));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(": ")), Number(line.split(": ").at(-1))]));
  }

  async sum(pattern: string): Promise<number> {
    return [...(await this.stats(pattern)).values()].reduce((sum, value) => sum + value, 0);
  }

  /** Resident memory of the proxy, in MiB. */
  get residentMiB(): number {
    const status = readFileSync(`/proc/${this.#proxy.process.pid}/status`, "utf8");
    return Number(/VmRSS:\s*(\d+) kB/.exec(status)![1]) / 1024;
  }

  /** Resolves when the proxy has nothing left of an attack: no connection, no request, no waiting socket. */
  async settled(): Promise<void> {
    for (;;) {
      const left = await this.sum(
        "^listener.(hasty_)?(plain|secure|proxied).downstream_(pre_)?cx_active$|^cluster.up.upstream_rq_active$",
      );
      if (left === 0) return;
      await sleep(10);
    }
  }

  /** Waits until peaceful clients have been answered some more. Rejects when one of them was not answered well. */
  async peace(): Promise<Peace> {
    const answers = (): number => Atomics.load(this.#cells, PeaceCell.ANSWERS);
    const before = answers();
    while (answers() < before + 9) {
      if (this.#failure !== null) throw this.#failure;
      await sleep(5);
    }
    return { answers: answers(), slowest: Atomics.exchange(this.#cells, PeaceCell.SLOWEST, 0) / 1000 };
  }

  async close(): Promise<void> {
    const ended = this.#failure === null ? once(this.#peaceful, "exit") : null;
    Atomics.store(this.#cells, PeaceCell.STOP, 1);
    await ended;
    this.#origin.close();
    this.#proxy.process.kill("SIGTERM");
    assert.equal(await this.#proxy.exited, 0, this.#proxy.output);
    assert.equal(this.#failure, null);
  }
}

function configuration(own: { certificate: string; key: string }, origin: number): string {
  const flat = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ");
  const patience = `${PATIENCE_MS / 1000}s`;
  const manager = (prefix: string, more: string): string =>
    flat(`{ name: hcm, typed_config: { ${TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: ${prefix}, ${more}
      http_filters: [ { name: router, typed_config: { ${TYPE}filters.http.router.v3.Router } } ],
      route_config: { virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: /large }, route: { cluster: up, timeout: 0s } },
        { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: small } } } ] } ] } } }`);
  const impatient = `stream_idle_timeout: ${patience}, request_headers_timeout: ${patience}, common_http_protocol_options: { idle_timeout: ${IDLE_MS / 1000}s },`;
  const inspect = (name: string, type: string): string =>
    `listener_filters: [ { name: ${name}, typed_config: { ${TYPE}filters.listener.${type} } } ]`;
  const hello = inspect("tls", "tls_inspector.v3.TlsInspector");
  const tls = flat(`transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext,
    common_tls_context: { alpn_protocols: [h2, http/1.1], tls_certificates: [ { certificate_chain: { filename: ${own.certificate} }, private_key: { filename: ${own.key} } } ] } } },`);
  const parts: Readonly<Record<Door | CalmDoor, readonly [filters: string, chain: string]>> = {
    plain: ["", ""],
    hasty_plain: ["", ""],
    secure: [hello, `transport_socket_connect_timeout: ${patience}, ${tls}`],
    proxied: [inspect("proxy", "proxy_protocol.v3.ProxyProtocol"), ""],
    hasty_secure: [hello, tls],
    hasty_proxied: [inspect("proxy", "proxy_protocol.v3.ProxyProtocol"), ""],
    calm: ["", ""],
    calm_secure: [hello, tls],
  };
  const listener = (name: Door | CalmDoor): string => {
    const [filters, chain] = parts[name];
    const calm = name.startsWith("calm");
    const patient = calm || name === "plain";
    return `
  - name: ${name}
    stat_prefix: ${name}
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    ${calm ? "" : `listener_filters_timeout: ${name.startsWith("hasty") ? patience : `${LONG_PATIENCE_S}s`}`}
    ${filters}
    filter_chains: [ { ${chain} filters: [ ${manager(calm ? "calm" : "in", patient ? "" : impatient)} ] } ]`;
  };
  return `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners: ${DOORS.map(listener).join("")}
  clusters:
  - name: up
    load_assignment: { cluster_name: up, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${origin} } } } } ] } ] }
`;
}
