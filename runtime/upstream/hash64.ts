/**
 * The hashes by which hosts are chosen: xxHash64 and MurmurHash64A, bit for bit Envoy's, so that both send the same
 * key to the same host. A number of 64 bits is two halves of 32 here, since BigInt would allocate for each request.
 * https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */

/** 64 bits, filled by the functions below; both halves are unsigned. */
export interface Hash64 {
  hi: number;
  lo: number;
}

/** Where the last operation left its result. */
let hi = 0;
let lo = 0;

const scratch = { buffer: Buffer.allocUnsafe(1024) };

/** The hash of a byte string (one character per byte), from a seed that may be `into` itself. */
export function xxHash64Text(text: string, seed: Readonly<Hash64>, into: Hash64): void {
  const { length } = text;
  if (scratch.buffer.length < length) scratch.buffer = Buffer.allocUnsafe(2 * length);
  scratch.buffer.latin1Write(text, 0, length);
  xxHash64(scratch.buffer, length, seed, into);
}

/** The hash of the first `length` bytes. */
export function xxHash64(bytes: Uint8Array, length: number, seed: Readonly<Hash64>, into: Hash64): void {
  let at = 0;
  if (length >= 32) at = stripes(bytes, length, seed);
  else add(seed.hi, seed.lo, P5.hi, P5.lo);
  add(hi, lo, 0, length);
  for (; at + 8 <= length; at += 8) {
    let h = hi;
    let l = lo;
    round(0, 0, word(bytes, at + 4), word(bytes, at));
    h ^= hi;
    l ^= lo;
    rotate(h, l, 27);
    multiply(hi, lo, P1.hi, P1.lo);
    add(hi, lo, P4.hi, P4.lo);
  }
  if (at + 4 <= length) {
    const h = hi;
    const l = lo;
    multiply(0, word(bytes, at), P1.hi, P1.lo);
    rotate(h ^ hi, l ^ lo, 23);
    multiply(hi, lo, P2.hi, P2.lo);
    add(hi, lo, P3.hi, P3.lo);
    at += 4;
  }
  for (; at < length; at++) {
    const h = hi;
    const l = lo;
    multiply(0, bytes[at]!, P5.hi, P5.lo);
    rotate(h ^ hi, l ^ lo, 11);
    multiply(hi, lo, P1.hi, P1.lo);
  }
  avalanche();
  into.hi = hi >>> 0;
  into.lo = lo >>> 0;
}

interface Half64 {
  readonly hi: number;
  readonly lo: number;
}
const P1: Half64 = { hi: 0x9e3779b1, lo: 0x85ebca87 };
const P2: Half64 = { hi: 0xc2b2ae3d, lo: 0x27d4eb4f };
const P3: Half64 = { hi: 0x165667b1, lo: 0x9e3779f9 };
const P4: Half64 = { hi: 0x85ebca77, lo: 0xc2b2ae63 };
const P5: Half64 = { hi: 0x27d4eb2f, lo: 0x165667c5 };

/** Four lanes of eight bytes each; returns where they end. */
function stripes(bytes: Uint8Array, length: number, seed: Half64): number {
  add(P1.hi, P1.lo, P2.hi, P2.lo);
  add(hi, lo, seed.hi, seed.lo);
  let [h1, l1] = [hi, lo];
  add(seed.hi, seed.lo, P2.hi, P2.lo);
  let [h2, l2] = [hi, lo];
  let [h3, l3]: [number, number] = [seed.hi, seed.lo];
  // Minus P1 is its complement plus one.
  add(seed.hi, seed.lo, ~P1.hi, ~P1.lo);
  add(hi, lo, 0, 1);
  let [h4, l4] = [hi, lo];
  let at = 0;
  for (; at + 32 <= length; at += 32) {
    round(h1, l1, word(bytes, at + 4), word(bytes, at));
    h1 = hi;
    l1 = lo;
    round(h2, l2, word(bytes, at + 12), word(bytes, at + 8));
    h2 = hi;
    l2 = lo;
    round(h3, l3, word(bytes, at + 20), word(bytes, at + 16));
    h3 = hi;
    l3 = lo;
    round(h4, l4, word(bytes, at + 28), word(bytes, at + 24));
    h4 = hi;
    l4 = lo;
  }
  rotate(h1, l1, 1);
  let h = hi;
  let l = lo;
  rotate(h2, l2, 7);
  add(h, l, hi, lo);
  h = hi;
  l = lo;
  rotate(h3, l3, 12);
  add(h, l, hi, lo);
  h = hi;
  l = lo;
  rotate(h4, l4, 18);
  add(h, l, hi, lo);
  merge(h1, l1);
  merge(h2, l2);
  merge(h3, l3);
  merge(h4, l4);
  return at;
}

function merge(laneHi: number, laneLo: number): void {
  const h = hi;
  const l = lo;
  round(0, 0, laneHi, laneLo);
  multiply(h ^ hi, l ^ lo, P1.hi, P1.lo);
  add(hi, lo, P4.hi, P4.lo);
}

/** rotl(accumulator + input * P2, 31) * P1 */
function round(accHi: number, accLo: number, inHi: number, inLo: number): void {
  multiply(inHi, inLo, P2.hi, P2.lo);
  add(accHi, accLo, hi, lo);
  rotate(hi, lo, 31);
  multiply(hi, lo, P1.hi, P1.lo);
}

function avalanche(): void {
  // x ^= x >>> 33
  lo ^= hi >>> 1;
  multiply(hi, lo, P2.hi, P2.lo);
  // x ^= x >>> 29
  const l = lo ^ ((lo >>> 29) | (hi << 3));
  hi ^= hi >>> 29;
  multiply(hi, l, P3.hi, P3.lo);
  // x ^= x >>> 32
  lo ^= hi;
}

/** MurmurHash64A of a byte string, with the seed that Envoy (and libstdc++'s `std::hash`) uses. */
export function murmurHash64Text(text: string, into: Hash64): void {
  const bytes = Buffer.from(text, "latin1");
  const { length } = bytes;
  multiply(0, length, MURMUR.hi, MURMUR.lo);
  let h = hi;
  let l = lo ^ MURMUR_SEED;
  let at = 0;
  for (; at + 8 <= length; at += 8) {
    multiply(word(bytes, at + 4), word(bytes, at), MURMUR.hi, MURMUR.lo);
    // x ^= x >>> 47
    lo ^= hi >>> 15;
    multiply(hi, lo, MURMUR.hi, MURMUR.lo);
    multiply(h ^ hi, l ^ lo, MURMUR.hi, MURMUR.lo);
    h = hi;
    l = lo;
  }
  if (at < length) {
    for (let byte = length - 1; byte >= at; byte--) {
      const place = byte - at;
      if (place >= 4) h ^= bytes[byte]! << (8 * (place - 4));
      else l ^= bytes[byte]! << (8 * place);
    }
    multiply(h, l, MURMUR.hi, MURMUR.lo);
    h = hi;
    l = lo;
  }
  l ^= h >>> 15;
  multiply(h, l, MURMUR.hi, MURMUR.lo);
  lo ^= hi >>> 15;
  into.hi = hi >>> 0;
  into.lo = lo >>> 0;
}

const MURMUR: Half64 = { hi: 0xc6a4a793, lo: 0x5bd1e995 };
const MURMUR_SEED = 0xc70f6907;

/** The remainder of a hash divided by a number below 2^26: all intermediate numbers stay exact. */
export function remainder(hash: Readonly<Hash64>, divisor: number): number {
  return ((hash.hi % divisor) * (4_294_967_296 % divisor) + (hash.lo % divisor)) % divisor;
}

/** Adds the hash of one more policy: the old one is rotated, so that two equal ones do not cancel out. */
export function combine(into: Hash64, more: Readonly<Hash64>): void {
  const { hi: h, lo: l } = into;
  into.hi = (((h << 1) | (l >>> 31)) ^ more.hi) >>> 0;
  into.lo = (((l << 1) | (h >>> 31)) ^ more.lo) >>> 0;
}

/** As Envoy prints it: 16 hexadecimal digits. */
export function hashText(hash: Readonly<Hash64>): string {
  return hash.hi.toString(16).padStart(8, "0") + hash.lo.toString(16).padStart(8, "0");
}

/** Little-endian. */
function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function add(aHi: number, aLo: number, bHi: number, bLo: number): void {
  const sum = (aLo >>> 0) + (bLo >>> 0);
  lo = sum | 0;
  hi = (aHi + bHi + (sum > 0xffff_ffff ? 1 : 0)) | 0;
}

/** By 1 to 31 bits to the left. */
function rotate(aHi: number, aLo: number, bits: number): void {
  hi = (aHi << bits) | (aLo >>> (32 - bits));
  lo = (aLo << bits) | (aHi >>> (32 - bits));
}

/** The low 64 bits of the product, from products of 16 bits each. */
function multiply(aHi: number, aLo: number, bHi: number, bLo: number): void {
  const a0 = aLo & 0xffff;
  const a1 = aLo >>> 16;
  const b0 = bLo & 0xffff;
  const b1 = bLo >>> 16;
  const low = a0 * b0;
  const cross = a1 * b0 + (low >>> 16);
  const middle = a0 * b1 + (cross & 0xffff);
  const carry = a1 * b1 + Math.floor(cross / 65_536) + Math.floor(middle / 65_536);
  lo = ((middle & 0xffff) << 16) | (low & 0xffff);
  hi = (carry + Math.imul(aHi, bLo) + Math.imul(aLo, bHi)) | 0;
}
