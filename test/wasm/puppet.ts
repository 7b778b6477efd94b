/**
 * A guest that does what a test tells it: a real module that imports every host function of the table and exports
 * every callback. Each callback walks a script in its memory: which host functions to call, with what, in order.
 *
 * Memory: 1024 count of callbacks seen │ 1040 allocator switches │ 2048 trace │ 65536 scripts, texts, cells │ 131072 heap
 */
import binaryen from "assemblyscript/binaryen";
import { EXPORTS, HOST_FUNCTIONS } from "../../abi/functions.ts";

export const TRACE_COUNT = 1024;
/** Nonzero: the allocator answers 0. */
export const ALLOCATOR_FAILS = 1040;
/** Nonzero: the allocator grows the memory first. */
export const ALLOCATOR_GROWS = 1044;
/** Calls of the allocator. */
export const ALLOCATOR_CALLS = 1048;
const TRACE = 2048;
const DATA = 65_536;
const DATA_SIZE = 65_536;
const HEAP = DATA + DATA_SIZE;
const MAX_ARGS = 12;
const RECORD = 8 + MAX_ARGS * 16;

/** Things a script can do besides calling the host. */
const Special = { TRAP: 1000, GROW: 1001, OVERFLOW: 1002, SPIN_ONCE: 1003 } as const;

const NEVER_EXPORTED = new Set(["_initialize", "_start", "main", "__main_void", "__wasm_call_ctors"]);
export const CALLBACKS = EXPORTS.filter((one) => !NEVER_EXPORTED.has(one.name) && !one.name.includes("alloc")).map(
  (one) => one.name,
);
const FUNCTIONS = HOST_FUNCTIONS.filter((one) => one.module !== "wasi_unstable");

export type Argument = number | bigint | { readonly load: number };
export interface Call {
  readonly op: number;
  readonly args: readonly Argument[];
  /** Where the record lies once the script is written. */
  at: number;
}

/** `$f<index>` is the name of a host function in the module's text. */
export function functionIndex(name: string): number {
  return FUNCTIONS.findIndex((one) => one.name === name);
}

const VALUE: Readonly<Record<string, string>> = { i: "i32", I: "i64", F: "f64" };

function functionType(type: string): string {
  const [params = "", results = ""] = type.split(">");
  const param = [...params].map((one) => `(param ${VALUE[one]})`).join("");
  return `${param}${[...results].map((one) => `(result ${VALUE[one]})`).join("")}`;
}

function caseFor(type: string, index: number): string {
  const [params = "", result = ""] = type.split(">");
  const convert: Readonly<Record<string, string>> = {
    i: "(i32.wrap_i64 ",
    I: "(i64.or (i64.const 0) ",
    F: "(f64.convert_i64_s ",
  };
  const args = [...params].map((one, n) => `${convert[one]}(call $arg (local.get $at) (i32.const ${n})))`).join("");
  const call = `(call $f${index} ${args})`;
  if (result === "") return call;
  return `(i32.store offset=4 (local.get $at) ${result === "F" ? `(i32.trunc_sat_f64_s ${call})` : call})`;
}

function moduleText(exported: readonly string[], marker: string, extra: string): string {
  const imports = FUNCTIONS.map(
    (one, n) => `(import "${one.module}" "${one.name}" (func $f${n} ${functionType(one.type)}))`,
  );
  const cases = FUNCTIONS.map(
    (one, n) => `(if (i32.eq (local.get $op) (i32.const ${n + 1})) (then ${caseFor(one.type, n)} (return)))`,
  );
  const callbacks = exported.map((name) => {
    const type = EXPORTS.find((one) => one.name === name)!.types[0]!;
    const [params = "", result = ""] = type.split(">");
    const given = [0, 1, 2].map((n) => (n < params.length ? `(local.get ${n})` : "(i32.const 0)")).join("");
    const run = `(call $run (i32.const ${CALLBACKS.indexOf(name)}) ${given})`;
    return `(func (export "${name}") ${functionType(type)} ${result === "" ? `(drop ${run})` : run})`;
  });
  return `(module
    ${imports.join("\n")}
    (memory (export "memory") 4)
    (global $heap (mut i32) (i32.const ${HEAP}))
    (data (i32.const ${DATA}) "${"\\a5\\5a\\a5\\5a".repeat(DATA_SIZE / 4)}")
    ${extra}
    (func (export "${marker}"))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
      (i32.store (i32.const ${ALLOCATOR_CALLS}) (i32.add (i32.load (i32.const ${ALLOCATOR_CALLS})) (i32.const 1)))
      (if (i32.load (i32.const ${ALLOCATOR_FAILS})) (then (return (i32.const 0))))
      (if (i32.load (i32.const ${ALLOCATOR_GROWS})) (then (drop (memory.grow (i32.const 1)))))
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
      (block $enough (loop $more
        (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $enough (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
        (br $more)))
      (local.get $at))
    (func $arg (param $at i32) (param $n i32) (result i64) (local $from i32)
      (local.set $from (i32.add (local.get $at) (i32.add (i32.const 8) (i32.mul (local.get $n) (i32.const 16)))))
      (if (i32.load (local.get $from)) (then (return (i64.load32_u (i32.load offset=8 (local.get $from))))))
      (i64.load offset=8 (local.get $from)))
    (func $deep (param $n i32) (result i32) (i32.add (call $deep (i32.add (local.get $n) (i32.const 1))) (i32.const 1)))
    (func $exec (param $op i32) (param $at i32)
      (if (i32.eq (local.get $op) (i32.const ${Special.TRAP})) (then (unreachable)))
      (if (i32.eq (local.get $op) (i32.const ${Special.GROW})) (then (drop (memory.grow (i32.const 1))) (return)))
      (if (i32.eq (local.get $op) (i32.const ${Special.OVERFLOW})) (then (drop (call $deep (i32.const 0))) (return)))
      ${cases.join("\n")})
    (func $run (param $index i32) (param $a i32) (param $b i32) (param $c i32) (result i32) (local $at i32) (local $op i32) (local $seen i32)
      (local.set $seen (i32.load (i32.const ${TRACE_COUNT})))
      (i32.store (i32.const ${TRACE_COUNT}) (i32.add (local.get $seen) (i32.const 1)))
      (local.set $seen (i32.add (i32.const ${TRACE}) (i32.mul (i32.and (local.get $seen) (i32.const 2047)) (i32.const 16))))
      (i32.store (local.get $seen) (local.get $index))
      (i32.store offset=4 (local.get $seen) (local.get $a))
      (i32.store offset=8 (local.get $seen) (local.get $b))
      (i32.store offset=12 (local.get $seen) (local.get $c))
      (local.set $at (i32.load (i32.add (i32.const ${DATA}) (i32.mul (local.get $index) (i32.const 8)))))
      (block $end (loop $next
        (br_if $end (i32.eqz (local.get $at)))
        (local.set $op (i32.load (local.get $at)))
        (br_if $end (i32.eqz (local.get $op)))
        (call $exec (local.get $op) (local.get $at))
        (local.set $at (i32.add (local.get $at) (i32.const ${RECORD})))
        (br $next)))
      (i32.load offset=4 (i32.add (i32.const ${DATA}) (i32.mul (local.get $index) (i32.const 8)))))
    ${callbacks.join("\n")})`;
}

/** WebAssembly text to bytes. */
export function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  try {
    module.setFeatures(binaryen.Features.All);
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

const assembled = new Map<string, Buffer>();

export interface PuppetOptions {
  /** Callbacks that the module exports; default all. */
  readonly callbacks?: readonly string[];
  readonly marker?: string;
  /** More text inside the module. */
  readonly extra?: string;
}

/** The script of one puppet: written before the guest starts, or later into its live memory. */
export class Puppet {
  readonly #options: PuppetOptions;
  readonly #data = Buffer.alloc(DATA_SIZE);
  /** Behind the callback table. */
  #next = 1024;
  /** Set once the guest lives. */
  live: { readonly bytes: Buffer; has(at: number, size: number): boolean } | null = null;

  constructor(options: PuppetOptions = {}) {
    this.#options = options;
    // Callbacks with a result say "go on" or "fine" unless the script says otherwise.
    for (const name of ["proxy_on_vm_start", "proxy_on_configure", "proxy_on_done"]) this.#setResult(name, 1);
  }

  /** A text in guest memory: address and size, to be spread into arguments. */
  text(text: string | Uint8Array): [number, number] {
    const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
    const at = this.#take(bytes.length);
    this.#write(at, bytes);
    return [at, bytes.length];
  }

  /** Eight bytes for the host to write to. */
  cell(): number {
    return this.#take(8);
  }

  call(name: string, ...args: Argument[]): Call {
    const index = functionIndex(name);
    if (index < 0) throw new Error(`no host function ${name}`);
    return { op: index + 1, args, at: 0 };
  }
  trap(): Call {
    return { op: Special.TRAP, args: [], at: 0 };
  }
  grow(): Call {
    return { op: Special.GROW, args: [], at: 0 };
  }
  overflow(): Call {
    return { op: Special.OVERFLOW, args: [], at: 0 };
  }

  /** What the guest does in `callback`, and what it answers. */
  on(callback: string, result: number, ...calls: Call[]): this {
    const start = this.#take((calls.length + 1) * RECORD);
    calls.forEach((call, n) => {
      call.at = start + n * RECORD;
      const record = Buffer.alloc(RECORD);
      record.writeInt32LE(call.op, 0);
      // A status nobody has answered yet.
      record.writeInt32LE(-1, 4);
      call.args.forEach((arg, index) => {
        const loads = typeof arg === "object";
        record.writeInt32LE(loads ? 1 : 0, 8 + index * 16);
        record.writeBigInt64LE(BigInt.asIntN(64, BigInt(loads ? arg.load : arg)), 16 + index * 16);
      });
      this.#write(call.at, record);
    });
    this.#write(start + calls.length * RECORD, Buffer.alloc(4));
    this.#setResult(callback, result);
    const pointer = Buffer.alloc(4);
    pointer.writeUInt32LE(start);
    this.#write(DATA + CALLBACKS.indexOf(callback) * 8, pointer);
    return this;
  }

  /** The module with the script as it stands. */
  bytes(): Uint8Array {
    const { callbacks = CALLBACKS, marker = "proxy_abi_version_0_2_1", extra = "" } = this.#options;
    const text = moduleText(callbacks, marker, extra);
    let module = assembled.get(text);
    if (module === undefined) assembled.set(text, (module = Buffer.from(assemble(text))));
    const at = module.indexOf(Buffer.from("a55aa55aa55aa55a", "hex"));
    const copy = Buffer.from(module);
    this.#data.copy(copy, at);
    return copy;
  }

  #setResult(callback: string, result: number): void {
    const index = CALLBACKS.indexOf(callback);
    if (index < 0) throw new Error(`no callback ${callback}`);
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(result);
    this.#write(DATA + index * 8 + 4, bytes);
  }

  #take(size: number): number {
    const at = DATA + this.#next;
    this.#next += (size + 15) & ~7;
    if (this.#next > DATA_SIZE) throw new Error("the puppet's script is too long");
    return at;
  }

  #write(at: number, bytes: Uint8Array): void {
    this.#data.set(bytes, at - DATA);
    if (this.live !== null && this.live.has(at, bytes.length)) this.live.bytes.set(bytes, at);
  }
}

/** One callback the guest has seen. */
export interface Seen {
  readonly name: string;
  readonly args: readonly [number, number, number];
}

/** Callbacks so far, from guest memory. */
export function readTrace(bytes: Buffer): Seen[] {
  const count = bytes.readUInt32LE(TRACE_COUNT);
  return Array.from({ length: Math.min(count, 2048) }, (_, n) => {
    const at = TRACE + n * 16;
    return {
      name: CALLBACKS[bytes.readUInt32LE(at)]!,
      args: [bytes.readInt32LE(at + 4), bytes.readInt32LE(at + 8), bytes.readInt32LE(at + 12)],
    };
  });
}
