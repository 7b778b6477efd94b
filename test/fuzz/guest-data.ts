/**
 * `npm run fuzz:guests -- --cases N --seed N`: what guests hand over in their memory, damaged: serialized maps, held
 * against another decoder, and the pieces of WASI's writes, held against a model of what they must answer.
 */
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { MAX_PAIRS, MAX_PAIRS_BYTES, MAX_WRITE_PIECES } from "../../runtime/limits.ts";
import { decodePairs, encodePairs } from "../../runtime/wasm/values/pairs.ts";
import { BytesStage } from "../wasm/bytes-stage.ts";
import { assemble } from "../wasm/puppet.ts";
import { generator } from "./random.ts";
import type { Random } from "./random.ts";

/** How the cases ended, by kind of ending; a fault says how to run it again. */
export interface Endings {
  readonly counts: Record<string, number>;
  readonly faults: string[];
}

function fuzz(cases: number, seed: number, one: (random: Random) => string): Endings {
  const endings: Endings = { counts: {}, faults: [] };
  for (let n = 0; n < cases; n++) {
    try {
      const ending = one(generator(Math.imul(seed, 1_000_003) + n));
      endings.counts[ending] = (endings.counts[ending] ?? 0) + 1;
    } catch (error) {
      endings.faults.push(`seed ${seed}, case ${n}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return endings;
}

// ---- pairs ----------------------------------------------------------------------------------------

/** Another reading of the same form, field by field with nothing kept in step. */
function readPairs(bytes: Buffer): string[] | undefined {
  if (bytes.length === 0 || (bytes.length === 1 && bytes[0] === 0)) return [];
  if (bytes.length < 4 || bytes.length > MAX_PAIRS_BYTES) return undefined;
  const count = bytes.readUInt32LE(0);
  if (count > MAX_PAIRS || bytes.length < 4 + 8 * count) return undefined;
  const sizes = Array.from({ length: 2 * count }, (_, n) => bytes.readUInt32LE(4 + 4 * n));
  const whole = sizes.reduce((sum, size) => sum + size + 1, 4 + 8 * count);
  if (whole !== bytes.length) return undefined;
  const starts = sizes.map((_, n) => sizes.slice(0, n).reduce((sum, size) => sum + size + 1, 4 + 8 * count));
  const texts = starts.map((start, n) => bytes.subarray(start, start + sizes[n]!).latin1Slice());
  return starts.every((start, n) => bytes[start + sizes[n]!] === 0) ? texts : undefined;
}

function randomText(random: Random): string {
  const bytes = Buffer.alloc(random(random(8) === 0 ? 200 : 12));
  for (let n = 0; n < bytes.length; n++) bytes[n] = random(256);
  return bytes.latin1Slice();
}

/** Sizes that are too large in one way or another. */
const HUGE = [0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff0, 65_536, 1 << 20] as const;

function damagedPairs(random: Random): Buffer {
  const list = Array.from({ length: 2 * random(12) }, () => randomText(random));
  let bytes = encodePairs(list);
  for (let left = random(4); left > 0; left--) {
    const at = random(Math.max(bytes.length, 1));
    switch (random(5)) {
      case 0:
        if (bytes.length > 0) bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes = bytes.subarray(0, at);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(random(256)), bytes.subarray(at)]);
        break;
      case 3:
        // A count or a length.
        if (bytes.length >= 8)
          bytes.writeUInt32LE(HUGE[random(HUGE.length)]!, 4 * random(Math.min(bytes.length >> 2, 25)));
        break;
      default:
        if (bytes.length >= 4) bytes.writeUInt32LE(random(2 * list.length + 2), 0);
    }
  }
  return bytes;
}

/** Maps at any place of a memory, damaged: a list as another decoder reads it, or none; and back to the same bytes. */
export function fuzzPairs(cases: number, seed: number): Endings {
  return fuzz(cases, seed, (random) => {
    const bytes = damagedPairs(random);
    const before = random(9);
    const memory = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(random(9), random(2) * 0xff)]);
    const list = decodePairs(memory, before, bytes.length);
    assert.deepEqual(list, readPairs(bytes));
    if (list === undefined) return "refused";
    if (list.length > 0) assert.equal(encodePairs(list).compare(bytes), 0, "written again it differs");
    return list.length === 0 ? "empty" : "read";
  });
}

// ---- WASI -----------------------------------------------------------------------------------------

const PAGES = 2;
const BYTES = PAGES * 65_536;
/** Where the guest finds what to call with, and leaves the answer. */
const CALL_AT = 16;
const ANSWER_AT = 64;
const DATA_AT = 128;
const argument = (n: number): string => `(i32.load (i32.const ${CALL_AT + 4 * n}))`;
const GUEST = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") ${PAGES} ${PAGES}) (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.store (i32.const ${ANSWER_AT}) (if (result i32) ${argument(4)}
      (then (call $write ${argument(0)} ${argument(1)} ${argument(2)} ${argument(3)}))
      (else (call $pwrite ${argument(0)} ${argument(1)} ${argument(2)} (i64.const 0) ${argument(3)}))))
    (i32.const 0)))`;

const Errno = { SUCCESS: 0, BADF: 8, FAULT: 21, INVAL: 28 } as const;

interface Write {
  readonly fd: number;
  readonly at: number;
  readonly count: number;
  readonly writtenAt: number;
}

/** An address: mostly inside, often at the edge, sometimes anywhere. */
function address(random: Random): number {
  switch (random(4)) {
    case 0:
      return BYTES - random(24);
    case 1:
      return random(8) === 0 ? HUGE[random(HUGE.length)]! : DATA_AT + random(2048);
    default:
      return DATA_AT + random(BYTES - DATA_AT);
  }
}

/** What `write` must answer, and the sum that it must tell. */
function expected(memory: Buffer, { fd, at, count, writtenAt }: Write): { errno: number; size: number } {
  if (fd !== 1 && fd !== 2) return { errno: Errno.BADF, size: 0 };
  if (count > MAX_WRITE_PIECES) return { errno: Errno.INVAL, size: 0 };
  if (at + 8 * count > BYTES) return { errno: Errno.FAULT, size: 0 };
  let size = 0;
  for (let n = 0; n < count; n++) {
    const length = memory.readUInt32LE(at + 8 * n + 4);
    if (memory.readUInt32LE(at + 8 * n) + length > BYTES) return { errno: Errno.FAULT, size: 0 };
    size += length;
  }
  return { errno: writtenAt + 4 > BYTES ? Errno.FAULT : Errno.SUCCESS, size: size >>> 0 };
}

/** Pieces of a write: most whole, many of them damaged. */
function layPieces(memory: Buffer, at: number, count: number, random: Random): void {
  const damage = random(3) === 0;
  for (let n = 0; n < count && at + 8 * n + 8 <= BYTES; n++) {
    const from = damage ? address(random) : DATA_AT + random(4096);
    const length = damage && random(4) === 0 ? HUGE[random(HUGE.length)]! : random(300);
    memory.writeUInt32LE(from >>> 0, at + 8 * n);
    memory.writeUInt32LE(length, at + 8 * n + 4);
  }
}

/** Writes of damaged pieces through a real guest: the answer is that of a model, and nothing else in memory changes. */
export function fuzzWrites(cases: number, seed: number): Endings {
  const stage = BytesStage.started(assemble(GUEST), { fuel: 0x7fff_ffff });
  stage.log.level = 6;
  const stream = stage.stream();
  const { memory } = stage.instance;
  memory.has(0, BYTES);
  // One memory for all cases: what was there before is damage too.
  const bytes = memory.bytes;
  const endings = fuzz(cases, seed, (random) => {
    const write: Write = {
      fd: random(8) === 0 ? HUGE[random(HUGE.length)]! : 1 + random(random(8) === 0 ? 4 : 2),
      at: address(random),
      count:
        random(6) === 0
          ? [MAX_WRITE_PIECES + 1, 0xffff_ffff, 0x2000_0000, 0, MAX_WRITE_PIECES][random(5)]!
          : random(12),
      writtenAt: address(random),
    };
    layPieces(bytes, write.at, Math.min(write.count, 64), random);
    for (const [n, value] of [write.fd, write.at, write.count, write.writtenAt, random(2)].entries())
      bytes.writeUInt32LE(value, CALL_AT + 4 * n);
    const before = Buffer.from(bytes);
    const { errno, size } = expected(before, write);
    stream.requestHead();
    assert.equal(stage.instance.failed, false, "the guest failed");
    assert.equal(bytes.readUInt32LE(ANSWER_AT), errno);
    before.writeUInt32LE(errno, ANSWER_AT);
    if (errno === Errno.SUCCESS) before.writeUInt32LE(size, write.writtenAt);
    assert.equal(before.compare(bytes), 0, "something else was written");
    return Object.keys(Errno).find((name) => Errno[name as keyof typeof Errno] === errno)!;
  });
  stage.vm.close();
  return endings;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { cases: { type: "string", default: "100000" }, seed: { type: "string", default: "1" } },
  });
  for (const [name, run] of [
    ["pairs", fuzzPairs],
    ["writes", fuzzWrites],
  ] as const) {
    const { counts, faults } = run(Number(values.cases), Number(values.seed));
    console.log(name, counts);
    for (const fault of faults.slice(0, 20)) console.log(`FAULT ${fault}`);
    if (faults.length > 0) process.exitCode = 1;
  }
}
