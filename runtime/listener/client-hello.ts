/**
 * The first flight of TLS, read without taking part in it (RFC 8446 sections 4.1.2 and 5.1): what downstream asks
 * for and offers. Bytes may come in any pieces, and the hello may lie in several records; nothing is read twice.
 */

/** What is known after some bytes. */
export const HelloState = {
  MORE: 0,
  FOUND: 1,
  /** It is no TLS. */
  NOT_TLS: 2,
  /** It begins as TLS, and is no hello. */
  BROKEN: 3,
  /** The hello says that it is larger than allowed. */
  TOO_LARGE: 4,
} as const;
export type HelloState = (typeof HelloState)[keyof typeof HelloState];

export interface ClientHello {
  /** "" when no name is asked for; lower case. */
  readonly serverName: string;
  /** As offered, in downstream's order. */
  readonly protocols: readonly string[];
  /** Of the hello itself: 0x0303 for TLS 1.2 and above. */
  readonly legacyVersion: number;
  readonly ciphers: readonly number[];
  /** Types of extensions in their order. */
  readonly extensions: readonly number[];
  readonly groups: readonly number[];
  readonly pointFormats: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  readonly versions: readonly number[];
}

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
/** RFC 8446 section 5.1. */
const MAX_RECORD_BYTES = 2 ** 14;

/** Types of extensions, as IANA has them. */
export const Extension = {
  SERVER_NAME: 0,
  SUPPORTED_GROUPS: 10,
  POINT_FORMATS: 11,
  SIGNATURE_ALGORITHMS: 13,
  ALPN: 16,
  SUPPORTED_VERSIONS: 43,
} as const;
/** RFC 6066 section 3: the kind of name that is a host's. */
const HOST_NAME = 0;
/** RFC 1035 section 2.3.4: a name in the DNS is no longer. */
const MAX_HOST_NAME_BYTES = 255;
/** RFC 8446 section 4.1.2. */
const RANDOM_BYTES = 32;

/** Reads one hello of one connection. */
export class ClientHelloReader {
  readonly #maxBytes: number;
  /** Where the next record begins in all bytes. */
  #at = 0;
  /** Content of the records so far; most hellos lie in one. What lies in several is gathered in `#gathered`. */
  #content: Buffer = NO_BYTES;
  #gathered: Buffer = NO_BYTES;
  hello: ClientHello | null = null;

  /** `maxBytes` of the handshake message with its header. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes from the connection's first on, all that came. */
  read(bytes: Buffer): HelloState {
    for (;;) {
      const state = this.#readRecord(bytes);
      if (state !== HelloState.FOUND) return state;
      const content = this.#content;
      if (content.length > 0 && content[0] !== CLIENT_HELLO) return HelloState.BROKEN;
      if (content.length < HANDSHAKE_HEADER_BYTES) continue;
      const end = HANDSHAKE_HEADER_BYTES + content.readUIntBE(1, 3);
      if (end > this.#maxBytes) return HelloState.TOO_LARGE;
      if (content.length < end) continue;
      this.hello = parseHello(content.subarray(HANDSHAKE_HEADER_BYTES, end));
      return this.hello === null ? HelloState.BROKEN : HelloState.FOUND;
    }
  }

  /** Takes the next record whole. FOUND: it is there. */
  #readRecord(bytes: Buffer): HelloState {
    const at = this.#at;
    const first = at === 0 ? HelloState.NOT_TLS : HelloState.BROKEN;
    if (bytes.length > at && bytes[at] !== HANDSHAKE_RECORD) return first;
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return first;
    if (bytes.length < at + RECORD_HEADER_BYTES) return HelloState.MORE;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return HelloState.BROKEN;
    const from = at + RECORD_HEADER_BYTES;
    if (bytes.length < from + length) {
      // A record that tells its hello's size need not be waited for when that is too much.
      return this.#isTooLarge(bytes.subarray(from)) ? HelloState.TOO_LARGE : HelloState.MORE;
    }
    const piece = bytes.subarray(from, from + length);
    this.#content = this.#content.length === 0 ? piece : this.#gather(piece);
    this.#at = from + length;
    return HelloState.FOUND;
  }

  /** Records may hold a byte each: room doubles, so that each byte is copied twice at most. */
  #gather(piece: Buffer): Buffer {
    const before = this.#content;
    const length = before.length + piece.length;
    if (length > this.#gathered.length) {
      this.#gathered = Buffer.allocUnsafe(2 * length);
      before.copy(this.#gathered);
    }
    piece.copy(this.#gathered, before.length);
    return this.#gathered.subarray(0, length);
  }

  #isTooLarge(begun: Buffer): boolean {
    if (this.#content.length > 0 || begun.length < HANDSHAKE_HEADER_BYTES || begun[0] !== CLIENT_HELLO) return false;
    return HANDSHAKE_HEADER_BYTES + begun.readUIntBE(1, 3) > this.#maxBytes;
  }
}

const NO_BYTES = Buffer.alloc(0);

/** A place in bytes that never goes past their end. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;
  /** Something was to be read that is not there. */
  failed = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.failed || this.#at >= this.#bytes.length;
  }

  /** An unsigned number of 1 to 3 bytes; 0 when it is not there. */
  number(size: number): number {
    const bytes = this.take(size);
    return bytes.length === size ? bytes.readUIntBE(0, size) : 0;
  }

  take(size: number): Buffer {
    const end = this.#at + size;
    if (this.failed || end > this.#bytes.length) {
      this.failed = true;
      return NO_BYTES;
    }
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** What stands behind its own length of `size` bytes. */
  vector(size: number): Cursor {
    return new Cursor(this.take(this.number(size)));
  }

  /** All that is left, as numbers of one size. */
  numbers(size: number): number[] {
    const found: number[] = [];
    while (!this.done) found.push(this.number(size));
    return found;
  }
}

function parseHello(bytes: Buffer): ClientHello | null {
  const cursor = new Cursor(bytes);
  const legacyVersion = cursor.number(2);
  cursor.take(RANDOM_BYTES);
  // A session to go on with.
  cursor.vector(1);
  const suites = cursor.vector(2);
  const ciphers = suites.numbers(2);
  // Methods of compression.
  cursor.vector(1);
  const hello = {
    serverName: "",
    protocols: [] as readonly string[],
    legacyVersion,
    ciphers,
    extensions: [] as number[],
    groups: [] as readonly number[],
    pointFormats: [] as readonly number[],
    signatureAlgorithms: [] as readonly number[],
    versions: [] as readonly number[],
  };
  if (cursor.failed || suites.failed) return null;
  // Hellos of old have none.
  const extensions = cursor.done ? new Cursor(NO_BYTES) : cursor.vector(2);
  while (!extensions.done) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    hello.extensions.push(type);
    if (!readExtension(hello, type, content)) return null;
  }
  return cursor.failed || extensions.failed ? null : hello;
}

type Growing = { -readonly [K in keyof ClientHello]: ClientHello[K] };

/** False: an extension that matters is malformed. */
function readExtension(hello: Growing, type: number, content: Cursor): boolean {
  switch (type) {
    case Extension.SERVER_NAME: {
      const name = serverName(content.vector(2));
      if (name === null) return false;
      hello.serverName = name;
      break;
    }
    case Extension.ALPN: {
      const list = content.vector(2);
      const found: string[] = [];
      while (!list.done) found.push(list.take(list.number(1)).toString("latin1"));
      if (list.failed || found.includes("")) return false;
      hello.protocols = found;
      break;
    }
    case Extension.SUPPORTED_GROUPS:
      hello.groups = content.vector(2).numbers(2);
      break;
    case Extension.POINT_FORMATS:
      hello.pointFormats = content.vector(1).numbers(1);
      break;
    case Extension.SIGNATURE_ALGORITHMS:
      hello.signatureAlgorithms = content.vector(2).numbers(2);
      break;
    case Extension.SUPPORTED_VERSIONS:
      hello.versions = content.vector(1).numbers(2);
      break;
  }
  return !content.failed;
}

/** RFC 6066 section 3: a list of names of which one is a host's. Null: malformed. */
function serverName(list: Cursor): string | null {
  while (!list.done) {
    const kind = list.number(1);
    const name = list.take(list.number(2));
    if (list.failed) return null;
    if (kind !== HOST_NAME) continue;
    if (name.length === 0 || name.length > MAX_HOST_NAME_BYTES || name.includes(0)) return null;
    return name.toString("latin1").toLowerCase();
  }
  return list.failed ? null : "";
}
