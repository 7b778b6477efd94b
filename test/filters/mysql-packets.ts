/** Packets of the MySQL protocol, built by hand; and a session of the mysql_proxy module that takes them in pieces. */
import { readStruct } from "../../runtime/wasm/values/struct-wire.ts";
import { loadGuest } from "./guest.ts";
import type { ScriptedHost } from "./scripted-host.ts";

export const Capability = {
  CONNECT_WITH_DB: 1 << 3,
  COMPRESS: 1 << 5,
  PROTOCOL_41: 1 << 9,
  SSL: 1 << 11,
  SECURE_CONNECTION: 1 << 15,
  PLUGIN_AUTH: 1 << 19,
  CONNECT_ATTRS: 1 << 20,
  AUTH_LENENC: 1 << 21,
  ZSTD: 1 << 26,
  QUERY_ATTRIBUTES: 1 << 27,
} as const;
export const MODERN =
  Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH | Capability.CONNECT_WITH_DB;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
function zeroEnded(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function header(sequence: number, length: number): Buffer {
  return Buffer.of(length & 0xff, (length >> 8) & 0xff, (length >> 16) & 0xff, sequence & 0xff);
}
export function packet(sequence: number, ...parts: (Uint8Array | string)[]): Buffer {
  const payload = Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array)));
  return Buffer.concat([header(sequence, payload.length), payload]);
}

export function greeting(capabilities: number = 0xffff_ffff & ~Capability.COMPRESS & ~Capability.ZSTD): Buffer {
  const low = Buffer.from(u32(capabilities).subarray(0, 2));
  const high = Buffer.from(u32(capabilities).subarray(2));
  const scramble = Buffer.alloc(8, 0x41);
  return packet(
    0,
    Buffer.of(10),
    zeroEnded("5.5.5-10.11.6-MariaDB"),
    u32(77),
    scramble,
    Buffer.of(0),
    low,
    Buffer.of(33, 2, 0),
    high,
    Buffer.of(21),
    Buffer.alloc(10),
    Buffer.alloc(12, 0x42),
    Buffer.of(0),
    zeroEnded("mysql_native_password"),
  );
}

export interface LoginOptions {
  readonly capabilities?: number;
  readonly database?: string;
  readonly auth?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly sequence?: number;
}

export function login41(options: LoginOptions = {}): Buffer {
  const { capabilities = MODERN, database = "shop", auth = Buffer.alloc(20, 7), sequence = 1 } = options;
  const lenenc = (capabilities & Capability.AUTH_LENENC) !== 0 && auth.length > 250;
  return packet(
    sequence,
    u32(capabilities),
    u32(1 << 24),
    Buffer.of(33),
    Buffer.alloc(23),
    zeroEnded("clerk"),
    lenenc ? Buffer.of(0xfc, auth.length & 0xff, auth.length >> 8) : Buffer.of(auth.length),
    auth,
    (capabilities & Capability.CONNECT_WITH_DB) === 0 ? "" : zeroEnded(database),
    zeroEnded("mysql_native_password"),
    options.attributes ?? "",
  );
}

/** Of clients before 4.1. */
export function login320(database: string): Buffer {
  return packet(
    1,
    Buffer.of(Capability.CONNECT_WITH_DB, 0x20, 0xff, 0xff, 0xff),
    zeroEnded("old"),
    zeroEnded("scramble"),
    zeroEnded(database),
  );
}

export function sslRequest(): Buffer {
  return packet(1, u32(MODERN | Capability.SSL), u32(1 << 24), Buffer.of(33), Buffer.alloc(23));
}

export function ok(sequence: number): Buffer {
  return packet(sequence, Buffer.of(0, 0, 0, 2, 0, 0, 0));
}
export function error(sequence: number): Buffer {
  return packet(sequence, Buffer.of(0xff, 0x15, 0x04), "#28000", "Access denied");
}
export function authSwitch(sequence: number): Buffer {
  return packet(sequence, Buffer.of(0xfe), zeroEnded("caching_sha2_password"), Buffer.alloc(20, 0x43), Buffer.of(0));
}
export function moreData(sequence: number): Buffer {
  return packet(sequence, Buffer.of(0x01, 0x04));
}
export function command(code: number, text: Uint8Array | string): Buffer {
  return packet(0, Buffer.of(code), text);
}
export function query(text: Uint8Array | string): Buffer {
  return command(0x03, text);
}
/** One column, one row. */
export function resultSet(): Buffer {
  const column = packet(2, Buffer.of(3), "def", Buffer.alloc(20));
  const end = Buffer.of(0xfe, 0, 0, 2, 0);
  return Buffer.concat([packet(1, Buffer.of(1)), column, packet(3, end), packet(4, Buffer.of(1), "7"), packet(5, end)]);
}

const DOWNSTREAM = 2;
const UPSTREAM = 3;

/** One connection through the module. */
export class MysqlSession {
  readonly host: ScriptedHost;
  readonly #id: number;
  /** Data callbacks carry as many bytes as this. */
  readonly #pieceBytes: number;

  private constructor(host: ScriptedHost, id: number, pieceBytes: number) {
    this.host = host;
    this.#id = id;
    this.#pieceBytes = pieceBytes;
    this.#call("proxy_on_context_create", 1);
    this.#call("proxy_on_new_connection");
  }

  static async open(pieceBytes = 65_536): Promise<MysqlSession> {
    const host = await loadGuest("filters/mysql_proxy");
    // stat_prefix: "db"
    if (!host.start(Buffer.from("0a026462", "hex"))) throw new Error("the filter refuses its configuration");
    return new MysqlSession(host, 20, pieceBytes);
  }

  /** Another connection of the same instance. */
  another(id: number, pieceBytes = 65_536): MysqlSession {
    return new MysqlSession(this.host, id, pieceBytes);
  }

  #call(name: string, ...args: number[]): number {
    return this.host.exports[name]!(this.#id, ...args);
  }

  #send(kind: number, bytes: Uint8Array): this {
    for (let at = 0; at < bytes.length; at += this.#pieceBytes) {
      const piece = Buffer.from(bytes.subarray(at, at + this.#pieceBytes));
      this.host.buffers.set(kind, piece);
      const name = kind === DOWNSTREAM ? "proxy_on_downstream_data" : "proxy_on_upstream_data";
      if (this.#call(name, piece.length, 0) !== 0) throw new Error("the filter held bytes back");
      if (!this.host.buffers.get(kind)!.equals(piece)) throw new Error("the filter changed bytes");
    }
    return this;
  }

  client(...packets: Uint8Array[]): this {
    return this.#send(DOWNSTREAM, Buffer.concat(packets));
  }
  server(...packets: Uint8Array[]): this {
    return this.#send(UPSTREAM, Buffer.concat(packets));
  }
  /** Greeting, login, OK. */
  loggedIn(options: LoginOptions = {}): this {
    return this.server(greeting()).client(login41(options)).server(ok(2));
  }
  close(): void {
    this.#call("proxy_on_delete");
  }

  /** Counters that are not 0, without their prefix. */
  get counters(): Record<string, number> {
    const counted = this.host.metrics.filter(({ value }) => value !== 0n);
    return Object.fromEntries(counted.map(({ name, value }) => [name.replace(/^mysql\.db\./, ""), Number(value)]));
  }
  /** What a namespace of the metadata held, one after the other. */
  told(namespace: string): (Record<string, unknown> | undefined)[] {
    return this.host.metadata.filter((one) => one.namespace === namespace).map(({ fields }) => readStruct(fields));
  }
  /** What the metadata hold now: of the last queries, and of the session. */
  get tables(): Record<string, unknown> | undefined {
    return this.told("envoy.filters.network.mysql_proxy").at(-1);
  }
  get everything(): Record<string, unknown> | undefined {
    return this.told("sluice.mysql_proxy").at(-1);
  }
}
