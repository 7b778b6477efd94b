/**
 * Seals and opens NaCl's secret boxes (XSalsa20 and Poly1305), which cosign seals private keys with and Node's OpenSSL does not know.
 * Sources: "Cryptography in NaCl" and "Extending the Salsa20 nonce" (D. J. Bernstein); RFC 8439, 2.5 for Poly1305.
 * Made for small files that are read once, not for traffic.
 */
import { timingSafeEqual } from "node:crypto";

const KEY_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
const BLOCK = 64;
/** "expand 32-byte k", as four little-endian words. */
const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
const PRIME = (1n << 130n) - 5n;
/** Bits of Poly1305's key half that are cleared. */
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

/** Seals a message under a key of 32 bytes and a nonce of 24, which no other message under that key may have. */
export function sealBox(message: Buffer, nonce: Buffer, key: Buffer): Buffer {
  const { checksumKey, pad } = keyStream(message.length, nonce, key);
  const sealed = xor(message, pad);
  return Buffer.concat([poly1305(sealed, checksumKey), sealed]);
}

/** What was sealed; undefined when key, nonce or box are not those that belong together. */
export function openBox(box: Buffer, nonce: Buffer, key: Buffer): Buffer | undefined {
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES || box.length < TAG_BYTES) return undefined;
  const sealed = box.subarray(TAG_BYTES);
  const { checksumKey, pad } = keyStream(sealed.length, nonce, key);
  if (!timingSafeEqual(poly1305(sealed, checksumKey), box.subarray(0, TAG_BYTES))) return undefined;
  return xor(sealed, pad);
}

/** The first 32 bytes of the stream are the key of the checksum, and what the message is mixed with goes on behind them. */
function keyStream(length: number, nonce: Buffer, key: Buffer): { readonly checksumKey: Buffer; readonly pad: Buffer } {
  const stream = salsa20(hsalsa20(key, nonce.subarray(0, 16)), nonce.subarray(16), KEY_BYTES + length);
  return { checksumKey: stream.subarray(0, KEY_BYTES), pad: stream.subarray(KEY_BYTES) };
}

function xor(bytes: Buffer, pad: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, at) => byte ^ pad[at]!));
}

/** A key for Salsa20 out of a key and the first 16 bytes of a long nonce. */
function hsalsa20(key: Buffer, nonce: Buffer): Buffer {
  const mixed = rounds(state(key, nonce));
  const out = Buffer.alloc(KEY_BYTES);
  [0, 5, 10, 15, 6, 7, 8, 9].forEach((word, at) => out.writeUInt32LE(mixed[word]!, 4 * at));
  return out;
}

function salsa20(key: Buffer, nonce: Buffer, length: number): Buffer {
  const out = Buffer.alloc(Math.ceil(length / BLOCK) * BLOCK);
  const counted = Buffer.alloc(16);
  nonce.copy(counted);
  for (let block = 0; block * BLOCK < length; block++) {
    counted.writeUInt32LE(block, 8);
    const before = state(key, counted);
    const after = rounds(before);
    for (let word = 0; word < 16; word++)
      out.writeUInt32LE((before[word]! + after[word]!) >>> 0, block * BLOCK + 4 * word);
  }
  return out;
}

/** Salsa20's square of words: constants on the diagonal, the key in two halves, and 16 bytes of input. */
function state(key: Buffer, input: Buffer): Uint32Array {
  const k = (word: number): number => key.readUInt32LE(4 * word);
  const n = (word: number): number => input.readUInt32LE(4 * word);
  const [a, b, c, d] = SIGMA;
  return Uint32Array.of(a, k(0), k(1), k(2), k(3), b, n(0), n(1), n(2), n(3), c, k(4), k(5), k(6), k(7), d);
}

/** Twenty rounds: ten times columns, then rows. */
function rounds(start: Uint32Array): Uint32Array {
  const x = start.slice();
  const quarter = (a: number, b: number, c: number, d: number): void => {
    x[b]! ^= rotate(x[a]! + x[d]!, 7);
    x[c]! ^= rotate(x[b]! + x[a]!, 9);
    x[d]! ^= rotate(x[c]! + x[b]!, 13);
    x[a]! ^= rotate(x[d]! + x[c]!, 18);
  };
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12);
    quarter(5, 9, 13, 1);
    quarter(10, 14, 2, 6);
    quarter(15, 3, 7, 11);
    quarter(0, 1, 2, 3);
    quarter(5, 6, 7, 4);
    quarter(10, 11, 8, 9);
    quarter(15, 12, 13, 14);
  }
  return x;
}

function rotate(value: number, bits: number): number {
  const word = value >>> 0;
  return (word << bits) | (word >>> (32 - bits));
}

function poly1305(message: Buffer, key: Buffer): Buffer {
  const r = littleEndian(key.subarray(0, 16)) & CLAMP;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    sum = ((sum + littleEndian(block) + (1n << BigInt(8 * block.length))) * r) % PRIME;
  }
  const tag = (sum + littleEndian(key.subarray(16))) & ((1n << 128n) - 1n);
  return Buffer.from(tag.toString(16).padStart(32, "0"), "hex").reverse();
}

function littleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
