/**
 * `node test/fuzz/modules-generated.ts --cases N --seed N [--tool wasm-opt]`: random valid modules, made of random bytes by
 * Binaryen's fuzzer, must run the same hardened as they are: what they log and answer, where they trap, their memory.
 * Not part of the tests: each module costs a process.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { GUEST_STACK_BYTES } from "../../runtime/limits.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";

const FUEL = 2_000_000_000;

/** What the fuzzer may use. Programs of the tool differ in age, so a set that one does not know is left out for good. */
const FEATURES: readonly (readonly string[])[] = [
  [
    "mutable-globals",
    "sign-ext",
    "nontrapping-float-to-int",
    "bulk-memory",
    "multivalue",
    "simd",
    "tail-call",
    "extended-const",
  ],
  ["mutable-globals", "sign-ext", "bulk-memory", "multivalue", "reference-types", "tail-call"],
  ["mutable-globals", "sign-ext", "multivalue", "reference-types", "exception-handling", "tail-call"],
  ["mutable-globals"],
];

type Trace = string[];
/** What goes in and out of WebAssembly, as far as it can be told apart. */
type Value = number | bigint | object | null | undefined;
type Callable = (...args: Value[]) => Value;

function importsOf(module: WebAssembly.Module, trace: Trace): WebAssembly.Imports {
  const imports: WebAssembly.Imports = {};
  for (const { module: space, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== "function") continue;
    (imports[space] ??= {})[name] = (...args: Value[]): number => {
      if (trace.length < 5000) trace.push(`${name} ${args.map(textOf).join()}`);
      return 0;
    };
  }
  return imports;
}

/** Calls all exports with zeros and small numbers. Undefined: it ran into a bound that only hardened modules have. */
function run(bytes: Uint8Array, hardened: boolean): Trace | undefined {
  const module = new WebAssembly.Module(bytes);
  const trace: Trace = [];
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module, importsOf(module, trace));
  } catch (error) {
    if (error instanceof WebAssembly.LinkError || error instanceof RangeError) return undefined;
    trace.push(`instantiation: ${nameOf(error)}`);
    return trace;
  }
  const { exports } = instance;
  const set = (name: string, value: number): void => {
    if (hardened) (exports[name] as WebAssembly.Global).value = value;
  };
  const bounded = (error: unknown): boolean =>
    error instanceof RangeError ||
    (hardened && (read(exports, HostExport.FUEL) < 0 || read(exports, HostExport.STACK) > GUEST_STACK_BYTES));
  const names = Object.keys(exports).filter((name) => !name.startsWith("sluice_") && name !== "hangLimitInitializer");
  // Without hardening it runs when the module is instantiated.
  const start = hardened ? exports[HostExport.START] : undefined;
  if (typeof start === "function") {
    set(HostExport.BUDGET, FUEL);
    try {
      (start as () => void)();
    } catch (error) {
      if (bounded(error)) return undefined;
      trace.push(`instantiation: ${nameOf(error)}`);
      return trace;
    }
  }
  for (const name of names) {
    const one = exports[name];
    if (typeof one !== "function") continue;
    (exports["hangLimitInitializer"] as (() => void) | undefined)?.();
    set(HostExport.FUEL, FUEL);
    set(HostExport.BUDGET, FUEL);
    try {
      trace.push(`${name} = ${textOf(callWithZeros(one as Callable))}`);
    } catch (error) {
      if (bounded(error)) return undefined;
      trace.push(`${name}: ${nameOf(error)}`);
    }
    if (hardened && read(exports, HostExport.STACK) > 0) set(HostExport.STACK, 0);
  }
  const memory = Object.values(exports).find((one) => one instanceof WebAssembly.Memory);
  if (memory !== undefined) trace.push(`memory ${checksum(new Uint8Array(memory.buffer))}`);
  return trace;
}

/** Parameters are numbers of either kind or references; V8 says which by what it takes. */
function callWithZeros(one: Callable): Value {
  const args: Value[] = Array.from({ length: one.length }, () => 0);
  for (let n = 0; n <= args.length; n++) {
    try {
      return one(...args);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const next = args.findIndex((arg) => arg === 0);
      if (next < 0) throw error;
      args[next] = /BigInt/.test(error.message) ? 0n : null;
    }
  }
  return undefined;
}

function textOf(value: Value): string {
  if (Array.isArray(value)) return value.map(textOf).join();
  return typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : value === undefined
      ? "nothing"
      : "ref";
}

function nameOf(error: unknown): string {
  return error instanceof Error
    ? `${error.name}: ${error.message.replace(/WebAssembly\.\w+\(\).*/, "")}`
    : "an exception";
}

function read(exports: WebAssembly.Exports, name: string): number {
  return Number((exports[name] as WebAssembly.Global).value);
}

function checksum(bytes: Uint8Array): number {
  let sum = bytes.length | 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
  return sum;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      cases: { type: "string", default: "500" },
      seed: { type: "string", default: "1" },
      tool: { type: "string", default: "wasm-opt" },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "modules-"));
  const counts = { cases: 0, notMade: 0, refused: 0, bounded: 0, alike: 0, lines: 0, faults: 0 };
  const refusals = new Map<string, number>();
  try {
    for (let n = 0; n < Number(values.cases); n++) {
      counts.cases++;
      const bytes = generate(values.tool, folder, Number(values.seed) * 1_000_003 + n);
      if (bytes === undefined) {
        counts.notMade++;
        continue;
      }
      let code: Uint8Array;
      try {
        code = harden(bytes, readModuleBinary(bytes), { memoryPages: 65_536 }).bytes;
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
        counts.refused++;
        refusals.set(error.message, (refusals.get(error.message) ?? 0) + 1);
        continue;
      }
      const before = run(bytes, false);
      const after = run(code, true);
      if (before === undefined || after === undefined) {
        counts.bounded++;
        continue;
      }
      counts.lines += before.length;
      const differs = before.findIndex((line, at) => line !== after[at]);
      if (differs < 0 && before.length === after.length) counts.alike++;
      else {
        counts.faults++;
        console.log(`FAULT case ${n}: before "${before[differs]}", hardened "${after[differs]}"`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  console.log(counts);
  for (const [reason, count] of refusals) console.log(`  refused: ${count} ${reason}`);
  process.exitCode = counts.faults > 0 ? 1 : 0;
}

const unknown = new Set<number>();

/** A valid module; undefined when the tool, or V8, does not know what it is made of. */
function generate(tool: string, folder: string, seed: number): Uint8Array | undefined {
  let state = seed >>> 0;
  const random = Buffer.alloc(2000 + (seed % 6000));
  for (let at = 0; at < random.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    random[at] = state >>> 24;
  }
  const from = join(folder, "random");
  const to = join(folder, "module.wasm");
  writeFileSync(from, random);
  for (let n = 0; n < FEATURES.length; n++) {
    const set = (seed + n) % FEATURES.length;
    if (unknown.has(set)) continue;
    const features = FEATURES[set]!.map((one) => `--enable-${one}`);
    try {
      execFileSync(tool, ["-ttf", from, "--denan", "-o", to, ...features], { stdio: "pipe" });
    } catch (error) {
      if (/[Uu]nknown option/.test(String(error))) unknown.add(set);
      continue;
    }
    const bytes = readFileSync(to);
    if (WebAssembly.validate(bytes)) return bytes;
  }
  return undefined;
}

main();
