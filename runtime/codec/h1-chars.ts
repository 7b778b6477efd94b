/**
 * Byte classes of HTTP/1 as 256-entry tables, and the table of header names that turns the bytes of a
 * name into one shared lower-case string.
 *
 * API: `LINE`, `TOKEN`, `TARGET`, `HEX` tables; `fieldName(bytes, at, end, hash)` → string, and the
 * kind of the name it found in `lastKind()`; `guessName` before it, and `beginNames` before a section.
 */

/** 1 for bytes that may stand inside a line: everything but control characters, with HTAB. */
export const LINE = new Uint8Array(256);
/** The byte in lower case for characters of a token (RFC 9110 section 5.6.2), else 0. */
export const TOKEN = new Uint8Array(256);
/** 1 for bytes of a request target: visible ASCII but `#`. */
export const TARGET = new Uint8Array(256);
/** Value of a hexadecimal digit, else 255. */
export const HEX = new Uint8Array(256).fill(255);

for (let byte = 0; byte < 256; byte++) {
  const char = String.fromCharCode(byte);
  if ((byte >= 0x20 && byte !== 0x7f) || byte === 0x09) LINE[byte] = 1;
  if (/[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(char)) TOKEN[byte] = char.toLowerCase().charCodeAt(0);
  if (byte > 0x20 && byte < 0x7f && char !== "#") TARGET[byte] = 1;
  if (/[0-9a-fA-F]/.test(char)) HEX[byte] = Number.parseInt(char, 16);
}

/** Names that the codec itself acts on; every other name is OTHER or UNDERSCORE. */
export const NameKind = {
  OTHER: 0,
  HOST: 1,
  CONTENT_LENGTH: 2,
  TRANSFER_ENCODING: 3,
  CONNECTION: 4,
  EXPECT: 5,
  UPGRADE: 6,
  TE: 7,
  PROXY_CONNECTION: 8,
  /** Removed without a look: keep-alive, http2-settings. */
  DROPPED: 9,
  /** Holds `_`. */
  UNDERSCORE: 10,
} as const;

const KINDS = new Map<string, number>([
  ["host", NameKind.HOST],
  ["content-length", NameKind.CONTENT_LENGTH],
  ["transfer-encoding", NameKind.TRANSFER_ENCODING],
  ["connection", NameKind.CONNECTION],
  ["expect", NameKind.EXPECT],
  ["upgrade", NameKind.UPGRADE],
  ["te", NameKind.TE],
  ["proxy-connection", NameKind.PROXY_CONNECTION],
  ["keep-alive", NameKind.DROPPED],
  ["http2-settings", NameKind.DROPPED],
]);

/** Slots of the name table; a power of two. A name that meets another one in its slot takes its place; slot 0 stays empty. */
const SLOTS = 1024;
/** Longest name that is shared. */
const SLOT_BYTES = 32;

const slotNames: string[] = Array.from({ length: SLOTS }, () => "");
const slotKinds = new Uint8Array(SLOTS);
const slotHashes = new Int32Array(SLOTS);
const slotBytes = new Uint8Array(SLOTS * SLOT_BYTES);
/** The slot that came after a slot last time: peers send their fields in the same order again and again. */
const successors = new Uint16Array(SLOTS);
/** Slot of the name before, or the one that stands for the beginning of a section. */
let previous = 0;
let kind = 0;
let found = "";

/** The {@link NameKind} of the name that {@link fieldName} returned last. */
export function lastKind(): number {
  return kind;
}

/** The name that {@link guessName} found. */
export function guessedName(): string {
  return found;
}

/** Forgets the name before: a new section begins. */
export function beginNames(): void {
  previous = 0;
}

/**
 * Tries the name that followed the previous one last time at `at`: the index of its colon when it is there
 * again, else 0. One pass over the bytes, where {@link fieldName} needs the caller's hash and a second one.
 */
export function guessName(bytes: Uint8Array, at: number): number {
  const slot = successors[previous]!;
  const name = slotNames[slot]!;
  const stop = at + name.length;
  const token = TOKEN;
  const known = slotBytes;
  let from = slot * SLOT_BYTES;
  let i = at;
  while (i < stop && known[from] === token[bytes[i]!]) {
    from++;
    i++;
  }
  if (i < stop || i === at || bytes[i] !== 0x3a) return 0;
  previous = slot;
  kind = slotKinds[slot]!;
  found = name;
  return i;
}

/** Kind of a lower-case name. */
export function kindOf(name: string): number {
  return KINDS.get(name) ?? (name.includes("_") ? NameKind.UNDERSCORE : NameKind.OTHER);
}

/**
 * The lower-case string of the token bytes from `at` to `end`. `hash` must be the caller's running
 * `imul(hash, 31) + TOKEN[byte]` from 0; it only chooses the slot, the bytes decide.
 */
export function fieldName(bytes: Uint8Array, at: number, end: number, hash: number): string {
  const length = end - at;
  const slot = (hash ^ (hash >>> 10) ^ (hash >>> 20)) & (SLOTS - 1);
  const name = slotNames[slot]!;
  if (slotHashes[slot] === hash && name.length === length) {
    const token = TOKEN;
    const known = slotBytes;
    let from = slot * SLOT_BYTES;
    let i = at;
    while (i < end && known[from] === token[bytes[i]!]) {
      from++;
      i++;
    }
    if (i === end) {
      successors[previous] = slot;
      previous = slot;
      kind = slotKinds[slot]!;
      return name;
    }
  }
  return learn(bytes, at, end, hash, slot);
}

function learn(bytes: Uint8Array, at: number, end: number, hash: number, slot: number): string {
  // A fresh flat string: a slice of the head would keep the whole head alive in the table.
  const name = Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at)
    .latin1Slice()
    .toLowerCase();
  kind = kindOf(name);
  if (name.length > SLOT_BYTES || slot === 0) return name;
  successors[previous] = slot;
  previous = slot;
  slotNames[slot] = name;
  slotKinds[slot] = kind;
  slotHashes[slot] = hash;
  for (let i = 0; i < name.length; i++) slotBytes[slot * SLOT_BYTES + i] = name.charCodeAt(i);
  return name;
}
