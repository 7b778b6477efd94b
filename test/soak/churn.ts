/**
 * Things that come and go at a proxy, each as often as is asked for, and what they leave behind: connections that end in
 * every way, hosts that fail, sessions, handshakes, configurations.
 */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect as connectH2 } from "node:http2";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { block, END_HEADERS, END_STREAM, Frame, frame, head, PREFACE } from "../http/h2-frames.ts";
import { freePort } from "../bench/processes.ts";
import type { Issued } from "../tls/certificates.ts";
import { CountedProxy } from "./census.ts";
import type { ThreadCensus } from "./census.ts";

/** At once. */
const BATCH = 40;
const FEWEST_RELOADS = 20;
const REQUEST = "GET / HTTP/1.1\r\nhost: churn\r\nconnection: close\r\n\r\n";

export class Churn {
  readonly proxy: CountedProxy;
  readonly #origin: Server;
  #ports: ReadonlyMap<string, number> = new Map();
  #reloads = 0;
  #cut = 0;

  private constructor(proxy: CountedProxy, origin: Server) {
    this.proxy = proxy;
    this.#origin = origin;
  }

  /** One worker, in front of an origin that ends each connection after its answer and a host that is not there. */
  static async start(certificate: Issued): Promise<Churn> {
    const origin = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"));
    });
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    const ports = { origin: (origin.address() as AddressInfo).port, dead: await freePort() };
    const churn = new Churn(new CountedProxy(configuration(ports, certificate), 1), origin);
    await churn.proxy.live();
    const { body } = await churn.proxy.get("/listeners", churn.proxy.admin);
    const lines = body.trim().split("\n");
    churn.#ports = new Map(lines.map((line) => [line.split("::")[0]!, Number(line.split(":").at(-1))]));
    return churn;
  }

  close(): void {
    this.#origin.close();
  }

  /** Resolves when the proxy has no connection left, downstream or upstream. */
  async idle(): Promise<void> {
    const filter = encodeURIComponent("_cx_active$");
    for (;;) {
      const { body } = await this.proxy.get(`/stats?filter=${filter}`, this.proxy.admin);
      if (
        body
          .trim()
          .split("\n")
          .every((line) => line.endsWith(": 0"))
      )
        return;
      await sleep(10);
    }
  }

  /** Each by its name; throws when an answer is not what it should be. */
  readonly kinds: Readonly<Record<string, (count: number) => Promise<void>>> = {
    "short connections": (count) => many(count, () => this.#exchange(this.#plain("http"), REQUEST, "200 OK")),
    "connections reset in a head": (count) => many(count, () => reset(this.#plain("http"), "GET / HTTP/1.1\r\nho")),
    "connections with a bad head": (count) =>
      many(count, () => this.#exchange(this.#plain("http"), "?\r\n\r\n", "400")),
    "connections of hosts": (count) => many(count, () => this.#exchange(this.#plain("http"), to("/up"), "200 OK")),
    "failures of hosts": (count) => many(count, () => this.#exchange(this.#plain("http"), to("/dead"), "503")),
    "tcp_proxy connections": (count) => many(count, () => this.#exchange(this.#plain("tcp"), REQUEST, "200 OK")),
    "tcp_proxy failures": (count) => many(count, () => ended(this.#plain("tcp-dead"))),
    "TLS handshakes": (count) => many(count, () => this.#exchange(this.#secure(), REQUEST, "200 OK")),
    "TLS handshakes that fail": (count) => many(count, () => reset(this.#plain("tls"), "no hello")),
    "HTTP/2 sessions": (count) => many(count, () => this.#session()),
    "HTTP/2 sessions over TLS that are cut off": (count) => many(count, () => this.#cutOff()),
    // Each takes as long as a hundred connections, and the first ones make V8 keep their code.
    "times a hundredth of a reload": (count) => this.#reload(Math.max(FEWEST_RELOADS, Math.ceil(count / 100))),
  };

  #plain(listener: string): Socket {
    return connect(this.#ports.get(listener)!, "127.0.0.1");
  }

  #secure(...protocols: string[]): Socket {
    const to = { port: this.#ports.get("tls")!, host: "127.0.0.1", rejectUnauthorized: false };
    return connectTls({ ...to, ALPNProtocols: protocols });
  }

  async #exchange(socket: Socket, request: string, expected: string): Promise<void> {
    socket.on("error", () => socket.destroy());
    socket.write(request);
    const answer = await text(socket);
    if (!answer.includes(expected)) throw new Error(`not ${expected}: ${answer}`);
  }

  async #session(): Promise<void> {
    const session = connectH2(`http://127.0.0.1:${this.#ports.get("http")!}`);
    const stream = session.request({ ":path": "/" });
    const [headers] = (await once(stream, "response")) as [{ ":status": number }];
    if (headers[":status"] !== 200) throw new Error(`status ${headers[":status"]}`);
    await text(stream);
    session.close();
    await once(session, "close");
  }

  /** Leaves while the proxy still answers, half of the time after something that HTTP/2 forbids. */
  async #cutOff(): Promise<void> {
    const socket = this.#secure("h2");
    socket.on("error", () => socket.destroy());
    // The proxy may be the first to end it.
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    const secured = new Promise<void>((resolve) => socket.once("secureConnect", () => resolve()));
    const wrong = this.#cut++ % 2 === 0 ? [frame(Frame.DATA, 0, 1, Buffer.alloc(1))] : [];
    const heads = [1, 3, 5].map((id) =>
      frame(Frame.HEADERS, END_HEADERS | END_STREAM, id, block(head("GET", "/large"))),
    );
    socket.write(Buffer.concat([PREFACE, frame(Frame.SETTINGS, 0, 0), ...heads, ...wrong]));
    await Promise.race([secured, closed]);
    await sleep(this.#cut % 5);
    socket.destroy();
    await closed;
  }

  async #reload(count: number): Promise<void> {
    const path = join(this.proxy.folder, "bootstrap.yaml");
    for (let n = 0; n < count; n++) {
      const now = readFileSync(path, "utf8");
      writeFileSync(
        path,
        now.replace(/body: { inline_string: (?:ok|v\d+) }/, `body: { inline_string: v${this.#reloads++} }`),
      );
      const { status, body } = await this.proxy.post("/reload");
      if (status !== 200) throw new Error(body);
    }
  }
}

/** What one thread has more than before. */
export interface Growth {
  readonly thread: number;
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly resources: number;
}

export function growth(before: readonly ThreadCensus[], after: readonly ThreadCensus[]): readonly Growth[] {
  return after.map((one, at) => ({
    thread: one.thread,
    heapBytes: one.heapBytes - before[at]!.heapBytes,
    descriptors: one.descriptors - before[at]!.descriptors,
    resources: one.resources - before[at]!.resources,
  }));
}

async function many(count: number, once_: () => Promise<void>): Promise<void> {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await once_();
  };
  await Promise.all(Array.from({ length: BATCH }, lane));
}

/** Sends something and waits for the other side to end the connection, in whichever way. */
async function ended(socket: Socket): Promise<void> {
  socket.on("error", () => socket.destroy());
  socket.resume().write(REQUEST);
  // Not `once`, which takes an error for the end of waiting.
  await new Promise((resolve) => socket.once("close", resolve));
}

/** Ends a connection with RST once `sent` is on its way, which the other side takes note of in its own time. */
async function reset(socket: Socket, sent: string): Promise<void> {
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  await new Promise((resolve) => socket.write(sent, resolve));
  socket.resetAndDestroy();
  await once(socket, "close");
}

function to(path: string): string {
  return REQUEST.replace("/", path);
}

function configuration(ports: { origin: number; dead: number }, { certificate, key }: Issued): string {
  const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.${name}`;
  const address = "address: { socket_address: { address: 127.0.0.1, port_value: 0 } }";
  const cluster = (name: string, port: number): string =>
    `{ name: ${name}, connect_timeout: 60s, circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }] },
      load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }] }] } }`;
  const http = `{ name: hcm, typed_config: { ${type("filters.network.http_connection_manager.v3.HttpConnectionManager")}, stat_prefix: churn,
      route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [
        { match: { prefix: /up }, route: { cluster: origin, timeout: 0s } }, { match: { prefix: /dead }, route: { cluster: dead, timeout: 0s } },
        { match: { prefix: /large }, direct_response: { status: 200, body: { inline_string: ${"large".repeat(800)} } } },
        { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ok } } }] }] },
      http_filters: [{ name: router, typed_config: { ${type("filters.http.router.v3.Router")} } }] } }`;
  const tcp = (name: string): string =>
    `{ name: tcp, typed_config: { ${type("filters.network.tcp_proxy.v3.TcpProxy")}, stat_prefix: churn, cluster: ${name} } }`;
  const tls = `transport_socket: { name: tls, typed_config: { ${type("transport_sockets.tls.v3.DownstreamTlsContext")}, common_tls_context: {
      alpn_protocols: [h2, http/1.1], tls_certificates: [{ certificate_chain: { filename: "${certificate}" }, private_key: { filename: "${key}" } }] } } }`;
  return `
admin: { ${address} }
static_resources:
  clusters: [${cluster("origin", ports.origin)}, ${cluster("dead", ports.dead)}]
  listeners:
  - { name: http, ${address}, filter_chains: [{ filters: [${http}] }] }
  - { name: tls, ${address}, filter_chains: [{ filters: [${http}], ${tls} }] }
  - { name: tcp, ${address}, filter_chains: [{ filters: [${tcp("origin")}] }] }
  - { name: tcp-dead, ${address}, filter_chains: [{ filters: [${tcp("dead")}] }] }
`;
}
