/** Random schedules from a seed: what guests do in their callbacks, what the peers send, when they leave. */
import * as BufferType from "../../abi/buffer.ts";
import * as MapType from "../../abi/map.ts";
import * as StreamType from "../../abi/stream.ts";
import { encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { CALLBACKS, Puppet } from "../wasm/puppet.ts";
import type { Call } from "../wasm/puppet.ts";
import type { Part } from "./troupe.ts";

/** mulberry32: small, seeded, good enough to choose. */
export class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** The byte that guests write into bodies. */
export const GUEST_BYTE = "G";

const NAMES = [
  "x-guest",
  "content-length",
  "transfer-encoding",
  "connection",
  "host",
  "te",
  "upgrade",
  ":path",
  ":method",
  ":status",
  "expect",
  "keep-alive",
  "trailer",
];
const VALUES = [
  "1",
  "0",
  "chunked",
  "close",
  "a\r\nx-injected: 1",
  "trailers",
  "/other",
  "GET",
  "HEAD",
  "POST",
  "204",
  "304",
  "503",
  "100-continue",
  "7, 8",
  "",
];

/** Where no filter looks at responses, their bytes take a shorter way. */
const REQUEST_ONLY = CALLBACKS.filter((name) => !name.startsWith("proxy_on_response"));

class Author {
  readonly dice: Dice;
  readonly puppet: Puppet;
  readonly contextCell: number;
  readonly #calls: boolean;

  constructor(dice: Dice, calls: boolean, requestOnly: boolean) {
    this.dice = dice;
    this.puppet = new Puppet(requestOnly ? { callbacks: REQUEST_ONLY } : {});
    this.contextCell = this.puppet.cell();
    this.#calls = calls;
  }

  #control(): Call {
    const { dice, puppet } = this;
    switch (dice.below(12)) {
      case 0:
      case 1:
      case 2:
        return puppet.call("proxy_continue_stream", StreamType.REQUEST);
      case 3:
      case 4:
      case 5:
        return puppet.call("proxy_continue_stream", StreamType.RESPONSE);
      case 6:
        return this.reply();
      case 7:
        return dice.chance(0.5) ? puppet.call("proxy_close_stream", dice.below(2)) : this.timer();
      case 8:
        return dice.chance(0.5) ? puppet.trap() : this.timer();
      case 9:
        return puppet.call("proxy_clear_route_cache");
      case 10:
        return puppet.call("set_response_pace", dice.pick([40, 1000, 100_000]));
      default:
        return this.timer();
    }
  }

  timer(): Call {
    return this.puppet.call("set_timer", this.dice.below(6));
  }

  reply(): Call {
    const { dice, puppet } = this;
    const extra = encodePairs(dice.chance(0.3) ? [dice.pick(NAMES), dice.pick(VALUES), "x-more", "1"] : []);
    return puppet.call(
      "proxy_send_local_response",
      dice.pick([200, 204, 304, 403, 503, 999]),
      ...puppet.text("guest_said_so"),
      ...puppet.text(GUEST_BYTE.repeat(dice.pick([0, 1, 300]))),
      ...puppet.text(extra),
      dice.pick([-1, 0, 7]),
    );
  }

  #edit(response: boolean): Call {
    const { dice, puppet } = this;
    const start = dice.pick([0, 0, 3, 0x7fff_ffff]);
    const length = dice.pick([0, 0, 2, 0x7fff_ffff]);
    const type = response ? BufferType.HTTP_RESPONSE_BODY : BufferType.HTTP_REQUEST_BODY;
    return puppet.call(
      "proxy_set_buffer_bytes",
      type,
      start,
      length,
      ...puppet.text(GUEST_BYTE.repeat(dice.pick([0, 1, 9, 900]))),
    );
  }

  #header(): Call {
    const { dice, puppet } = this;
    const type = dice.pick([
      MapType.HTTP_REQUEST_HEADERS,
      MapType.HTTP_RESPONSE_HEADERS,
      MapType.HTTP_REQUEST_TRAILERS,
      MapType.HTTP_RESPONSE_TRAILERS,
    ]);
    const name = puppet.text(dice.pick(NAMES));
    if (dice.chance(0.3)) return puppet.call("proxy_remove_header_map_value", type, ...name);
    const add = dice.chance(0.5) ? "proxy_add_header_map_value" : "proxy_replace_header_map_value";
    return puppet.call(add, type, ...name, ...puppet.text(dice.pick(VALUES)));
  }

  #httpCall(): Call {
    const { puppet } = this;
    const headers = encodePairs([":method", "GET", ":path", "/call", ":authority", "call"]);
    return puppet.call(
      "proxy_http_call",
      ...puppet.text("calls"),
      ...puppet.text(headers),
      0,
      0,
      0,
      0,
      50,
      puppet.cell(),
    );
  }

  act(callback: string): void {
    const { dice, puppet } = this;
    const calls: Call[] = [];
    if (callback === "proxy_on_http_call_response")
      calls.push(puppet.call("proxy_set_effective_context", { load: this.contextCell }));
    const headers = callback.endsWith("headers");
    for (let left = dice.pick([0, 0, 1, 1, 2, 3]); left > 0; left--) {
      const kind = dice.below(10);
      if (kind < 3) calls.push(this.#header());
      else if (kind < 6) calls.push(this.#edit(dice.chance(0.5)));
      else if (kind < 7 && this.#calls) calls.push(this.#httpCall());
      else calls.push(this.#control());
    }
    // A pause mostly has something that ends it.
    const pauses = dice.chance(0.4);
    if (pauses && dice.chance(0.8)) calls.push(this.timer());
    // 1 of on_done: the root context needs no more time.
    const action = pauses ? dice.pick(headers ? [1, 1, 3, 4] : [1, 1, 2, 3]) : 0;
    puppet.on(callback, callback === "proxy_on_done" ? 1 : action, ...calls);
  }
}

const SCRIPTED = [
  "proxy_on_request_headers",
  "proxy_on_request_body",
  "proxy_on_request_trailers",
  "proxy_on_response_headers",
  "proxy_on_response_body",
  "proxy_on_response_trailers",
  "proxy_on_http_call_response",
];

/** A guest that acts at random in about half of its callbacks, and mostly goes on after a pause. `requestOnly`: none for responses. */
export function randomPart(dice: Dice, requestOnly: boolean): Part {
  const author = new Author(dice, dice.chance(0.4), requestOnly);
  for (const callback of SCRIPTED) if (dice.chance(0.5)) author.act(callback);
  const { puppet } = author;
  const wake = [
    puppet.call("proxy_continue_stream", StreamType.REQUEST),
    puppet.call("proxy_continue_stream", StreamType.RESPONSE),
  ];
  if (dice.chance(0.15)) wake.unshift(author.reply());
  if (dice.chance(0.05)) wake.unshift(puppet.trap());
  if (dice.chance(0.9)) puppet.on("sluice_on_timer", 0, ...wake);
  for (const callback of ["proxy_on_log", "proxy_on_done", "proxy_on_delete"])
    if (dice.chance(0.1)) author.act(callback);
  return {
    puppet,
    contextCell: author.contextCell,
    twice: dice.chance(0.3),
    config: {
      failurePolicy: dice.chance(0.5) ? "FAIL_OPEN" : "FAIL_CLOSED",
      allowOnHeadersStopIteration: dice.chance(0.5),
    },
  };
}

/** One request as a downstream sends it. */
export interface RandomRequest {
  readonly id: number;
  readonly method: string;
  readonly text: string;
}

/** The byte that the bodies of request `id` consist of, in both directions. */
export function byteOf(id: number): string {
  return String.fromCharCode(0x61 + (id % 26));
}

function bodyPieces(dice: Dice, byte: string): string[] {
  return Array.from({ length: dice.pick([1, 1, 2, 5]) }, () => byte.repeat(dice.pick([1, 10, 500, 40_000])));
}

function framed(dice: Dice, byte: string, head: string): string {
  const pieces = bodyPieces(dice, byte);
  if (dice.chance(0.5)) return `${head}content-length: ${pieces.join("").length}\r\n\r\n${pieces.join("")}`;
  const trailers = dice.chance(0.5) ? "x-trailer: 1\r\n" : "";
  const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
  return `${head}transfer-encoding: chunked\r\n\r\n${chunks}0\r\n${trailers}\r\n`;
}

export function randomRequest(dice: Dice, id: number): RandomRequest {
  const method = dice.pick(["GET", "GET", "HEAD", "POST", "POST", "PUT"]);
  const grpc = dice.chance(0.1) ? "content-type: application/grpc\r\n" : "";
  const expect = dice.chance(0.05) ? "expect: 100-continue\r\n" : "";
  const head = `${method} /r${id} HTTP/1.1\r\nhost: a.example\r\nx-id: ${id}\r\n${grpc}`;
  if (method === "GET" || method === "HEAD") return { id, method, text: `${head}\r\n` };
  return { id, method, text: framed(dice, byteOf(id), head + expect) };
}

/** What an origin answers to request `id`. */
export function randomResponse(dice: Dice, id: number, method: string): { text: string; close: boolean } {
  const byte = byteOf(id);
  const status = dice.pick(["200 OK", "200 OK", "200 OK", "204 No Content", "304 Not Modified", "503 Unavailable"]);
  const head = `${dice.chance(0.05) ? "HTTP/1.1 103 Early\r\n\r\n" : ""}HTTP/1.1 ${status}\r\nx-id: ${id}\r\n`;
  if (status.startsWith("204") || status.startsWith("304")) return { text: `${head}\r\n`, close: false };
  if (method === "HEAD") return { text: `${head}content-length: ${dice.pick([0, 9, 4000])}\r\n\r\n`, close: false };
  if (dice.chance(0.15))
    return { text: `${head}connection: close\r\n\r\n${bodyPieces(dice, byte).join("")}`, close: true };
  if (dice.chance(0.1)) return { text: `${head}content-length: 0\r\n\r\n`, close: false };
  return { text: framed(dice, byte, head), close: false };
}
