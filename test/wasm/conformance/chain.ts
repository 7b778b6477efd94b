/** Puppets in front of a real upstream, which tells what it got: the whole path of a request. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import type { TestContext } from "node:test";
import { cluster, forward, route } from "../../http/engine.ts";
import type { EngineOptions } from "../../http/engine.ts";
import { Troupe } from "../../integration/troupe.ts";
import type { Part } from "../../integration/troupe.ts";
import type { Upstreams } from "../../../runtime/upstream/request.ts";
import { Puppet } from "../puppet.ts";
import type { Argument, Call } from "../puppet.ts";
import type { Seen } from "../puppet.ts";
import type { Stage } from "../stage.ts";

/** A request as the upstream saw it. */
export interface Arrived {
  readonly line: string;
  readonly headers: readonly string[];
  readonly body: string;
}

export interface Chain {
  readonly port: number;
  readonly troupe: Troupe;
  readonly stages: readonly Stage[];
  readonly arrived: readonly Arrived[];
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** Answers every request with `hello`. */
const HELLO: Answer = (_, response) => response.writeHead(200, { "x-r": "1", "content-length": "5" }).end("hello");

export interface ChainOptions extends Partial<EngineOptions> {
  readonly answer?: Answer;
  readonly upstreams?: Upstreams;
}

/** Starts the chain; everything is closed after the test. */
export async function chain(
  t: TestContext,
  parts: readonly (Puppet | Part)[],
  options: ChainOptions = {},
): Promise<Chain> {
  const { answer = HELLO, ...engine } = options;
  const arrived: Arrived[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (piece: string) => (body += piece));
    request.on("end", () => {
      arrived.push({ line: `${request.method} ${request.url}`, headers: request.rawHeaders, body });
      answer(request, response, body);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const troupe = await Troupe.start(
    parts.map((part) => (part instanceof Puppet ? { puppet: part } : part)),
    {
      routes: [route("/", forward("up"))],
      clusters: [cluster("up", [(server.address() as AddressInfo).port])],
      ...engine,
    },
  );
  t.after(() => {
    troupe.close();
    server.closeAllConnections();
    server.close();
  });
  return { port: troupe.engine.port, troupe, stages: troupe.stages, arrived };
}

/** A request's text; `more`: further header lines. */
export function request(path: string, more = "", body = ""): string {
  const length = body === "" ? "" : `content-length: ${Buffer.byteLength(body, "latin1")}\r\n`;
  const method = body === "" ? "GET" : "POST";
  return `${method} ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n${length}${more}\r\n${body}`;
}

/** What a guest has seen of streams: names without their beginning, and arguments behind the id. */
export function seenOf(stage: Stage): readonly (readonly [string, ...number[]])[] {
  return streamTrace(stage).map(({ name, args }) => [name.slice("proxy_on_".length), args[1], args[2]]);
}

export function streamTrace(stage: Stage): Seen[] {
  const root = stage.plugin.root!.id;
  return stage.trace.filter(({ args }) => args[0] !== root);
}

/** Waits until `stage` has seen a callback; a test's own time limit ends it. */
export async function untilSeen(stage: Stage, name: string, count = 1): Promise<void> {
  while (stage.names.filter((one) => one === name).length < count) await setTimeout(1);
}

/** The host function for response headers, request headers … (`map`), with text arguments. */
export function header(puppet: Puppet, what: "add" | "replace", map: number, name: string, value: string): Call {
  return puppet.call(`proxy_${what}_header_map_value`, map, ...puppet.text(name), ...puppet.text(value));
}

export function reply(
  puppet: Puppet,
  status: number,
  body: string,
  headers: readonly Argument[] = [0, 0],
  grpc = -1,
): Call {
  return puppet.call(
    "proxy_send_local_response",
    status,
    ...puppet.text("why"),
    ...puppet.text(body),
    ...headers,
    grpc,
  );
}
