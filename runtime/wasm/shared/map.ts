/**
 * A map from bytes to bytes in shared memory: two halves of which one is live.
 *
 *   words: lock │ live half │ counters …
 *   half:  used bytes │ used slots │ bytes of dead records │ entries │ index: one u32 per slot (0 free, 1 removed, else offset of a record) │ records
 *   record: u32 hash │ u32 cas │ u32 key bytes │ u32 value bytes │ key │ value, padded to 4
 *
 * A record is written behind all others first and becomes visible by one store into the index; nothing visible is
 * ever changed. When a half is full the live records are copied to the other one, which one store makes live.
 * So a thread that dies anywhere, even with the lock, leaves the map whole: at worst some bytes unused.
 *
 * Every method but the constructor needs the lock.
 */
import { randomInt } from "node:crypto";
import { MAX_SHARED_ENTRIES, SHARED_DATA_BYTES } from "../../limits.ts";
import { SharedLock } from "./lock.ts";

const LOCK = 0;
const LIVE = 1;
/** Words 2 to 15 count things for the owner of the map. */
const HEADER_WORDS = 16;
const SLOTS = MAX_SHARED_ENTRIES * 2;
const USED_BYTES = 0;
const USED_SLOTS = 1;
/** Of records that were replaced or removed: what copying would free. May be a little off after a thread died; a copy sets it right. */
const DEAD_BYTES = 2;
const ENTRIES = 3;
const INDEX = 4;
const RECORDS = (INDEX + SLOTS) * 4;
const HALF_BYTES = RECORDS + SHARED_DATA_BYTES;
const REMOVED = 1;
const RECORD_HEADER = 16;
/** Of a half that must be free after copying, so that copying stays rare however full the map is. */
const HEADROOM = SHARED_DATA_BYTES / 8;

/** Counters in the header words. */
export const MapCounter = { CAS: 2, METRIC_SLOTS: 3, METRICS: 4, BUCKETS: 5, QUEUES: 6, OWNERS: 7 } as const;
/** Word that hashes begin with: at random, or a guest could choose keys that all fall on one slot, and look for them under the lock. */
const SEED = 8;

/** Bytes of a map. */
export const SHARED_MAP_BYTES = HEADER_WORDS * 4 + 2 * HALF_BYTES;

export interface MapRecord {
  readonly value: Buffer;
  readonly cas: number;
}

export class SharedMap {
  readonly lock: SharedLock;
  readonly words: Int32Array;
  readonly #halves: readonly [Half, Half];
  readonly #seed: number;

  constructor(buffer: SharedArrayBuffer, owner: number) {
    this.words = new Int32Array(buffer, 0, HEADER_WORDS);
    this.lock = new SharedLock(this.words, LOCK, owner);
    // Whoever comes first; 0 is none yet.
    Atomics.compareExchange(this.words, SEED, 0, randomInt(1, 0x7fff_ffff));
    this.#seed = Atomics.load(this.words, SEED);
    this.#halves = [new Half(buffer, HEADER_WORDS * 4), new Half(buffer, HEADER_WORDS * 4 + HALF_BYTES)];
  }

  /** A copy of what is stored, or undefined. */
  get(key: Buffer): MapRecord | undefined {
    const half = this.#live();
    const at = half.words[half.slotOf(key, this.#hash(key)) + INDEX]!;
    return at <= REMOVED ? undefined : { value: half.valueAt(at), cas: half.wordAt(at, 1) };
  }

  /** Stores a value under a fresh cas number; false when the map is full. */
  put(key: Buffer, value: Uint8Array): boolean {
    let half = this.#live();
    const size = recordSize(key.length, value.length);
    const hash = this.#hash(key);
    if (half.words[ENTRIES]! >= MAX_SHARED_ENTRIES && !half.has(key, hash)) return false;
    if (half.freeBytes < size || half.words[USED_SLOTS]! >= (SLOTS / 4) * 3) {
      // Copying takes milliseconds, so a full map must not try it again for every value that does not fit.
      if (half.freeBytes + half.words[DEAD_BYTES]! < size + HEADROOM) return false;
      half = this.#copy();
      if (half.freeBytes < size) return false;
    }
    half.append(key, hash, value, this.count(MapCounter.CAS, 1));
    return true;
  }

  /** False when there was nothing. */
  remove(key: Buffer): boolean {
    const half = this.#live();
    const slot = half.slotOf(key, this.#hash(key)) + INDEX;
    const at = half.words[slot]!;
    if (at <= REMOVED) return false;
    half.words[slot] = REMOVED;
    half.bury(at);
    half.words[ENTRIES]!--;
    return true;
  }

  /** All entries whose key begins with the byte `kind`. */
  entries(kind: number): [key: Buffer, value: Buffer][] {
    const half = this.#live();
    const found: [Buffer, Buffer][] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = half.words[slot + INDEX]!;
      if (at <= REMOVED) continue;
      const key = half.keyAt(at);
      if (key[0] === kind) found.push([key, half.valueAt(at)]);
    }
    return found;
  }

  /** Adds to a counter of {@link MapCounter} and returns it; never 0. */
  count(counter: number, by: number): number {
    const next = (this.words[counter]! + by) >>> 0 || 1;
    this.words[counter] = next;
    return next;
  }

  /** FNV-1a, 32 bits, from the seed on. */
  #hash(key: Buffer): number {
    let hash = this.#seed;
    for (const byte of key) {
      hash = Math.imul(hash ^ byte, 0x01000193);
      // Without this, low bits would follow from low bits alone.
      hash ^= hash >>> 15;
    }
    return hash >>> 0;
  }

  #live(): Half {
    return this.#halves[this.words[LIVE]! & 1]!;
  }

  #copy(): Half {
    const from = this.#live();
    const live = this.words[LIVE]! & 1;
    const to = this.#halves[1 - live]!;
    to.clear();
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = from.words[slot + INDEX]!;
      if (at > REMOVED) to.append(from.keyAt(at), from.wordAt(at, 0), from.valueAt(at), from.wordAt(at, 1));
    }
    this.words[LIVE] = 1 - live;
    return to;
  }
}

class Half {
  /** Header and index. */
  readonly words: Int32Array;
  readonly #bytes: Buffer;

  constructor(buffer: SharedArrayBuffer, at: number) {
    this.words = new Int32Array(buffer, at, INDEX + SLOTS);
    this.#bytes = Buffer.from(buffer, at + RECORDS, SHARED_DATA_BYTES);
  }

  get freeBytes(): number {
    return SHARED_DATA_BYTES - this.words[USED_BYTES]!;
  }

  clear(): void {
    this.words.fill(0);
  }

  // Offsets in the index are shifted by 4, so that 0 and 1 stay free for marks.

  wordAt(at: number, n: number): number {
    return this.#bytes.readUInt32LE(at - 4 + n * 4);
  }
  keyAt(at: number): Buffer {
    const start = at - 4 + RECORD_HEADER;
    return Buffer.from(this.#bytes.subarray(start, start + this.wordAt(at, 2)));
  }
  valueAt(at: number): Buffer {
    const start = at - 4 + RECORD_HEADER + this.wordAt(at, 2);
    return Buffer.from(this.#bytes.subarray(start, start + this.wordAt(at, 3)));
  }

  /** The slot of `key`, or the free (or removed) one where it would go. */
  slotOf(key: Buffer, hash: number): number {
    let slot = hash & (SLOTS - 1);
    let removed = -1;
    for (;;) {
      const at = this.words[slot + INDEX]!;
      if (at === 0) return removed >= 0 ? removed : slot;
      if (at === REMOVED) {
        if (removed < 0) removed = slot;
      } else if (this.wordAt(at, 0) === hash && this.#hasKey(at, key)) return slot;
      slot = (slot + 1) & (SLOTS - 1);
    }
  }

  has(key: Buffer, hash: number): boolean {
    return this.words[this.slotOf(key, hash) + INDEX]! > REMOVED;
  }

  append(key: Buffer, hash: number, value: Uint8Array, cas: number): void {
    const start = this.words[USED_BYTES]!;
    const bytes = this.#bytes;
    bytes.writeUInt32LE(hash, start);
    bytes.writeUInt32LE(cas, start + 4);
    bytes.writeUInt32LE(key.length, start + 8);
    bytes.writeUInt32LE(value.length, start + 12);
    bytes.set(key, start + RECORD_HEADER);
    bytes.set(value, start + RECORD_HEADER + key.length);
    this.words[USED_BYTES] = start + recordSize(key.length, value.length);
    const slot = this.slotOf(key, hash) + INDEX;
    const before = this.words[slot]!;
    if (before === 0) this.words[USED_SLOTS]!++;
    if (before <= REMOVED) this.words[ENTRIES]!++;
    else this.bury(before);
    // The one store that makes the record visible.
    Atomics.store(this.words, slot, start + 4);
  }

  /** The record is not visible any more. */
  bury(at: number): void {
    this.words[DEAD_BYTES]! += recordSize(this.wordAt(at, 2), this.wordAt(at, 3));
  }

  #hasKey(at: number, key: Buffer): boolean {
    if (this.wordAt(at, 2) !== key.length) return false;
    const start = at - 4 + RECORD_HEADER;
    return this.#bytes.compare(key, 0, key.length, start, start + key.length) === 0;
  }
}

function recordSize(keyLength: number, valueLength: number): number {
  return (RECORD_HEADER + keyLength + valueLength + 3) & ~3;
}
