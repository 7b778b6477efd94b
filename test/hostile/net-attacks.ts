/** What clients try against listeners, TLS and HTTP/2, and how many times it is counted. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { block, END_HEADERS, END_STREAM, Frame, frame, head, PREFACE } from "../http/h2-frames.ts";
import { helloMessage, records, serverName } from "../listener/hellos.ts";
import { PATIENCE_MS, type Door, type NetArena } from "./net-arena.ts";

export interface NetAttack {
  readonly name: string;
  /** Resolves when the proxy has ended every connection of the attack, or the attack has. */
  readonly run: (arena: NetArena, times: number) => Promise<void>;
  /** How many times in one go. */
  readonly times: number;
  /** Names of statistics (patterns), and what each grows by at least for each time. */
  readonly counted: Readonly<Record<string, number>>;
}

/** However it ends. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Opens connections that say something, and waits until the proxy has ended them all. */
function each(door: Door, say: (socket: Socket, at: number) => void | Promise<void>): NetAttack["run"] {
  return async (arena, times) => {
    await Promise.all(
      Array.from({ length: times }, async (_, at) => {
        const socket = arena.open(door);
        const closed = closeOf(socket);
        await say(socket, at);
        await closed;
      }),
    );
  };
}

/** Writes as fast as the proxy takes it, and stops when it takes nothing any more. */
async function pour(socket: Socket, pieces: Iterable<Buffer>): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    if (socket.write(piece)) continue;
    await new Promise<void>((resolve) => {
      socket.once("drain", resolve);
      socket.once("close", resolve);
    });
  }
}

function* repeated(times: number, make: (at: number) => Buffer): Generator<Buffer> {
  for (let at = 0; at < times; at++) yield make(at);
}

const HELLO = records(helloMessage({ extensions: [serverName("a.test")] }));
/** A record of a handshake whose hello says that it has 100 KiB. */
const HUGE_HELLO = records(helloMessage({ extensions: [[21, Buffer.alloc(60_000)]] }));
const TINY_RECORDS = records(helloMessage({ extensions: [[21, Buffer.alloc(12_000)]] }), 1);

const PROXY_V2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const proxyHeader = (command: number, family: number, length: number, content: Buffer): Buffer =>
  Buffer.concat([PROXY_V2, Buffer.of(command, family, length >> 8, length & 0xff), content]);

const settings = (...pairs: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    Frame.SETTINGS,
    0,
    0,
    Buffer.concat(
      pairs.map(([id, value]) => {
        const bytes = Buffer.alloc(6);
        bytes.writeUInt16BE(id, 0);
        bytes.writeUInt32BE(value, 2);
        return bytes;
      }),
    ),
  );
const begin = (...more: readonly Buffer[]): Buffer => Buffer.concat([PREFACE, settings(), ...more]);
const ask = (stream: number, path = "/small", flags = END_STREAM): Buffer =>
  frame(Frame.HEADERS, END_HEADERS | flags, stream, block(head("GET", path)));
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const PING = 6;
const CONTINUATION = 9;
const PRIORITY = 2;
/** RFC 9113 section 6.5.2. */
const HEADER_TABLE_SIZE = 1;
const INITIAL_WINDOW_SIZE = 4;

/** HTTP/2 in the clear: what is sent after the preface. Nothing that comes back is read by an attacker that is `deaf`. */
function http2(door: Door, pieces: () => Iterable<Buffer>, deaf = false): NetAttack["run"] {
  return each(door, async (socket) => {
    if (deaf) socket.pause();
    socket.write(begin());
    await pour(socket, pieces());
    // Whoever is deaf does not hear of the end either.
    if (deaf) setTimeout(() => socket.resume(), PATIENCE_MS).unref();
  });
}

const clients = (arena: NetArena, more: ConnectionOptions = {}): ConnectionOptions => ({
  port: arena.port("calm_secure"),
  host: "127.0.0.1",
  servername: "a.test",
  rejectUnauthorized: false,
  ...more,
});

async function secured(arena: NetArena, more: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls(clients(arena, more));
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

async function renegotiate(arena: NetArena, times: number): Promise<void> {
  await Promise.all(
    Array.from({ length: times }, async () => {
      const socket = await secured(arena, { maxVersion: "TLSv1.2" });
      socket.setMaxListeners(0).resume();
      const answers = Array.from({ length: 20 }, async () => {
        const error = await new Promise<Error | null>((resolve) => {
          socket.once("error", resolve);
          socket.once("close", () => resolve(new Error("closed")));
          socket.renegotiate({ rejectUnauthorized: false }, resolve);
        });
        if (error === null) throw new Error("renegotiated");
      });
      await Promise.race(answers);
      socket.destroy();
      await Promise.all(answers);
    }),
  );
}

/** Comes back with tickets that nobody has given out. */
async function forgedTickets(arena: NetArena, times: number): Promise<void> {
  const first = await secured(arena, { maxVersion: "TLSv1.2" });
  const session = first.getSession()!;
  const ticket = first.getTLSTicket()!;
  first.destroy();
  const at = session.indexOf(ticket);
  await Promise.all(
    Array.from({ length: times }, async (_, n) => {
      const forged = Buffer.from(session);
      for (let byte = 0; byte < ticket.length; byte++) forged[at + byte] = forged[at + byte]! ^ (n + byte + 1);
      const socket = await secured(arena, { maxVersion: "TLSv1.2", session: forged });
      if (socket.isSessionReused()) throw new Error("a forged ticket was taken");
      socket.destroy();
    }),
  );
}

export const NET_ATTACKS: readonly NetAttack[] = [
  {
    name: "hellos that come byte by byte",
    times: 50,
    run: each("hasty_secure", async (socket) => {
      for (const byte of HELLO) {
        if (socket.destroyed) return;
        socket.write(Buffer.of(byte));
        await sleep(20);
      }
    }),
    counted: { "listener.hasty_secure.downstream_pre_cx_timeout": 1 },
  },
  {
    name: "half a hello",
    times: 100,
    run: each("hasty_secure", (socket) => void socket.write(HELLO.subarray(0, 40))),
    counted: { "listener.hasty_secure.downstream_pre_cx_timeout": 1 },
  },
  {
    name: "a hello and nothing more",
    times: 100,
    run: each("secure", (socket) => void socket.write(HELLO)),
    counted: { "tls_inspector.tls_found": 1 },
  },
  {
    name: "hellos of 60 KiB",
    times: 100,
    run: each("secure", (socket) => pour(socket, [HUGE_HELLO])),
    counted: { "tls_inspector.client_hello_too_large": 1 },
  },
  {
    name: "hellos in records of one byte",
    times: 30,
    run: each("secure", (socket) => pour(socket, [TINY_RECORDS])),
    counted: { "listener.secure.downstream_listener_filter_error": 1 },
  },
  {
    name: "100 KiB of what begins as TLS",
    times: 50,
    run: each("secure", (socket) => pour(socket, [Buffer.alloc(100 * 1024, 0x16)])),
    counted: { "tls_inspector.tls_not_found": 1 },
  },
  {
    name: "PROXY lines without an end",
    times: 100,
    run: each("proxied", (socket) => void socket.write(`PROXY TCP4 ${"1".repeat(97)}`)),
    counted: { "proxy_proto.versions.v1.error": 1, "listener.proxied.downstream_cx_proxy_proto_error": 1 },
  },
  {
    name: "PROXY headers of 65,535 bytes of garbage",
    times: 50,
    run: each("proxied", (socket) => pour(socket, [proxyHeader(0x21, 0x11, 0xffff, Buffer.alloc(0xffff, 0xff))])),
    counted: { "proxy_proto.versions.v2.error": 1 },
  },
  {
    name: "PROXY headers of 65,535 bytes that never come",
    times: 100,
    run: each("hasty_proxied", (socket) => void socket.write(proxyHeader(0x21, 0x11, 0xffff, Buffer.alloc(10)))),
    counted: { "listener.hasty_proxied.downstream_pre_cx_timeout": 1 },
  },
  {
    name: "PROXY headers of a check, of unix sockets and of nobody, and then nothing",
    times: 90,
    run: each("proxied", (socket, at) => {
      const kinds = [
        proxyHeader(0x20, 0xff, 3, Buffer.alloc(3)),
        proxyHeader(0x21, 0x31, 216, Buffer.alloc(216, 0x2f)),
        Buffer.from("PROXY UNKNOWN\r\n"),
      ];
      socket.write(kinds[at % 3]!);
    }),
    counted: { "proxy_proto.versions.v[12].found": 1, "http.in.downstream_cx_total": 1 },
  },
  {
    name: "no PROXY header at all",
    times: 100,
    run: each("proxied", (socket) => void socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n")),
    counted: { "proxy_proto.not_found_disallowed": 1 },
  },
  {
    name: "connections that are reset at once",
    times: 1000,
    run: async (arena, times) => {
      for (let done = 0; done < times; done += 100) {
        const batch = Array.from({ length: 100 }, () => arena.open("secure"));
        await Promise.all(batch.map((socket) => once(socket, "connect")));
        for (const socket of batch) socket.resetAndDestroy();
      }
    },
    counted: {},
  },
  {
    name: "connections that say nothing",
    times: 1000,
    run: each("hasty_secure", () => {}),
    counted: { "listener.hasty_secure.downstream_pre_cx_timeout": 1 },
  },
  {
    name: "renegotiations",
    times: 30,
    run: renegotiate,
    counted: { "listener.calm_secure.ssl.handshake": 1 },
  },
  {
    name: "forged session tickets",
    times: 100,
    run: forgedTickets,
    counted: { "listener.calm_secure.ssl.handshake": 1 },
  },
  {
    name: "HTTP/2: half a preface",
    times: 100,
    run: each("hasty_plain", (socket) => void socket.write(PREFACE.subarray(0, 12))),
    counted: { "http.in.downstream_cx_idle_timeout": 1 },
  },
  {
    name: "HTTP/2: half a head, and nothing more",
    times: 50,
    run: each(
      "hasty_plain",
      (socket) => void socket.write(begin(frame(Frame.HEADERS, END_STREAM, 1, block([":method", "GET"])))),
    ),
    counted: { "http.in.downstream_cx_idle_timeout": 1 },
  },
  {
    name: "HTTP/2: streams that are reset at once",
    times: 5,
    run: http2("plain", () =>
      repeated(20_000, (at) => Buffer.concat([ask(2 * at + 1), frame(Frame.RST_STREAM, 0, 2 * at + 1, number(8))])),
    ),
    counted: { "http.in.downstream_rq_rx_reset": 100 },
  },
  {
    name: "HTTP/2: a head that never ends",
    times: 5,
    run: http2("plain", function* () {
      yield frame(Frame.HEADERS, END_STREAM, 1, block(head("GET", "/small")));
      yield* repeated(20_000, () => frame(CONTINUATION, 0, 1, block(["x", "y".repeat(100)])));
    }),
    counted: { "http.in.downstream_cx_protocol_error": 1 },
  },
  {
    name: "HTTP/2: settings, acknowledgements unread",
    times: 5,
    run: http2("plain", () => repeated(200_000, () => settings([INITIAL_WINDOW_SIZE, 65_535])), true),
    counted: { "http.in.downstream_cx_protocol_error": 1 },
  },
  {
    name: "HTTP/2: pings, answers unread",
    times: 5,
    run: http2("plain", () => repeated(200_000, () => frame(PING, 0, 0, Buffer.alloc(8))), true),
    counted: { "http.in.downstream_cx_protocol_error": 1 },
  },
  {
    name: "HTTP/2: empty frames of a body",
    times: 5,
    run: http2("hasty_plain", function* () {
      yield ask(1, "/small", 0);
      yield* repeated(50_000, () => frame(Frame.DATA, 0, 1));
    }),
    counted: {},
  },
  {
    name: "HTTP/2: priorities",
    times: 5,
    run: http2("hasty_plain", () => repeated(20_000, (at) => frame(PRIORITY, 0, 2 * at + 1, Buffer.alloc(5)))),
    counted: {},
  },
  {
    name: "HTTP/2: responses that nobody makes room for",
    times: 2,
    run: http2("hasty_plain", function* () {
      yield settings([INITIAL_WINDOW_SIZE, 0]);
      yield* repeated(100, (at) => ask(2 * at + 1, "/large"));
    }),
    counted: { "http.in.downstream_rq_idle_timeout": 100 },
  },
  {
    name: "HTTP/2: more streams than are allowed",
    times: 3,
    run: http2("hasty_plain", function* () {
      yield settings([INITIAL_WINDOW_SIZE, 0]);
      yield* repeated(5000, (at) => ask(2 * at + 1, "/large"));
    }),
    counted: {},
  },
  {
    name: "HTTP/2: a table of 4 GiB for heads, and a block that takes it",
    times: 5,
    run: http2("plain", function* () {
      yield settings([HEADER_TABLE_SIZE, 0xffff_ffff]);
      yield* repeated(50, (at) => ask(2 * at + 1));
      // RFC 7541 section 6.3: from now on the table has 2^28 bytes; nobody has allowed more than 4,096.
      yield frame(
        Frame.HEADERS,
        END_HEADERS | END_STREAM,
        201,
        Buffer.concat([Buffer.of(0x3f, 0xe1, 0xff, 0xff, 0x7f), block(head("GET", "/small"))]),
      );
    }),
    counted: { "http.in.downstream_cx_protocol_error": 1 },
  },
  {
    name: "HTTP/2: one field of 4,000 bytes, named a thousand times",
    times: 5,
    run: http2("hasty_plain", function* () {
      const name = Buffer.from("x-bomb");
      const length = Buffer.of(0x7f, 0x80 | (3900 - 127), (3900 - 127) >> 7);
      // RFC 7541 section 6.2.1: into the table; then by its index, 62.
      const field = Buffer.concat([Buffer.of(0x40, name.length), name, length, Buffer.alloc(3900, 0x79)]);
      const bomb = Buffer.concat([block(head("GET", "/small")), field, Buffer.alloc(1000, 0x80 | 62)]);
      yield* repeated(100, (at) => frame(Frame.HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, bomb));
    }),
    counted: {},
  },
];
