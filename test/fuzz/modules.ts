/**
 * `npm run fuzz:modules -- --cases N --seed N`: damaged modules through the loader and the rewriter. Each must be refused
 * with a ProxyError or be hardened; what V8 takes before, it must take after, what runs must run the same, and the fuel
 * that it takes must stand for what ran.
 */
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ProxyError } from "../../runtime/errors.ts";
import { readModuleBinary } from "../../runtime/wasm/module/binary.ts";
import { harden } from "../../runtime/wasm/module/harden.ts";
import { HostExport } from "../../runtime/wasm/module/hardened.ts";
import type { HardenOptions } from "../../runtime/wasm/module/hardened.ts";
import { MERGED_SEGMENT_INSTRUCTIONS, SMALL_LEAF_INSTRUCTIONS } from "../../runtime/limits.ts";
import { SectionId } from "../../runtime/wasm/module/layout.ts";
import { EXACT, exactlyMetered } from "../wasm/exact-meter.ts";
import { PROGRAMS } from "./module-programs.ts";
import { generator } from "./random.ts";
import type { Random } from "./random.ts";
import { assemble } from "../wasm/puppet.ts";

// The types of the runtime do not know it.
const { validate } = WebAssembly as unknown as { validate(bytes: Uint8Array): boolean };

const MEMORY_PAGES = 1024;
const FUEL = 200_000;

/** What happened to the cases. */
export interface Outcome {
  cases: number;
  /** Refused by us. */
  refused: number;
  /** Of these, modules that V8 takes: with the reason, digits left out, and how often. */
  readonly strict: Map<string, number>;
  /** Hardened, and taken by V8. */
  hardened: number;
  /** Ran before and after, with the same outcome. */
  alike: number;
  /** Of these, ran to the end, so that the fuel taken could be held against what ran. */
  weighed: number;
  readonly faults: string[];
}

function corpus(): Uint8Array[] {
  const built = globSync(fileURLToPath(new URL("../../build/filters/*.wasm", import.meta.url))).sort();
  return [...PROGRAMS.map((text) => assemble(text)), ...built.map((path) => readFileSync(path))];
}

/** One to four damages: a bit, a byte, a run cut out or doubled, an end cut off, a number made long. */
function damaged(module: Uint8Array, random: Random): Buffer {
  let bytes = Buffer.from(module);
  for (let left = 1 + random(4); left > 0; left--) {
    // Most near the front, where sections say how big they are.
    const at = 8 + random(random(3) === 0 ? Math.min(200, bytes.length - 8) : bytes.length - 8);
    const run = 1 + random(12);
    switch (random(7)) {
      case 0:
        bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes[at] = random(256);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + run)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at + run), bytes.subarray(at)]);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(0x80 | bytes[at]!, 0), bytes.subarray(at + 1)]);
        break;
      default:
        bytes[at] = [0x7f, 0x80, 0xff, 0, 0x0b, 0x0f, 0x03, 0x10][random(8)]!;
    }
    if (bytes.length < 16) break;
  }
  return bytes;
}

/** What `run` of a module answers: its value, or that it failed; undefined when there is nothing to compare. */
function result(bytes: Uint8Array, hardened: boolean): string | undefined {
  const module = new WebAssembly.Module(new Uint8Array(bytes));
  // Without fuel an undamaged-looking loop may never end, so imports and loops of strangers are not run.
  if (WebAssembly.Module.imports(module).length > 0) return undefined;
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module);
  } catch (error) {
    return error instanceof Error ? error.name : "?";
  }
  const { run, memory } = instance.exports;
  if (typeof run !== "function") return undefined;
  let answer: string;
  try {
    if (hardened) {
      (instance.exports[HostExport.BUDGET] as WebAssembly.Global).value = FUEL;
      (instance.exports[HostExport.START] as (() => void) | undefined)?.();
      (instance.exports[HostExport.FUEL] as WebAssembly.Global).value = FUEL;
    }
    answer = String(run());
  } catch (error) {
    const fuel = hardened ? ((instance.exports[HostExport.FUEL] as WebAssembly.Global).value as number) : 0;
    if (fuel < 0) return "out of fuel";
    return error instanceof Error ? error.name : "?";
  }
  const contents = memory instanceof WebAssembly.Memory ? Buffer.from(memory.buffer) : Buffer.alloc(0);
  let sum = 0;
  for (let at = 0; at < contents.length; at += 97) sum = (Math.imul(sum, 31) + contents[at]!) | 0;
  return `${answer} ${contents.length} ${sum}`;
}

/** Units that `run` takes when it is charged as `fuel` says; undefined when it does not come to its end. */
function charged(bytes: Uint8Array, fuel: HardenOptions["fuel"]): number | undefined {
  const options = { memoryPages: MEMORY_PAGES, ...(fuel === undefined ? {} : { fuel }) };
  const code = harden(bytes, readModuleBinary(bytes), options).bytes;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
  (exports[HostExport.BUDGET] as WebAssembly.Global).value = FUEL;
  const left = exports[HostExport.FUEL] as WebAssembly.Global;
  try {
    (exports[HostExport.START] as (() => void) | undefined)?.();
    left.value = FUEL;
    (exports["run"] as () => void)();
  } catch {
    return undefined;
  }
  return FUEL - left.value;
}

/** Units that `run` takes by the count of single instructions. */
function counted(bytes: Uint8Array): number {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(exactlyMetered(bytes))));
  const sum = exports[EXACT] as WebAssembly.Global;
  const before = sum.value as bigint;
  (exports["run"] as () => void)();
  return Number((sum.value as bigint) - before);
}

/**
 * Fuel must stand for what ran. With a charge for each segment it is that, but for a unit here and there (a function or
 * round that does nothing takes one) and the rest of a segment that an exception leaves. Merged charges take never less,
 * and for each instruction that runs at most as many more as a charge may stand for.
 */
function weigh(bytes: Uint8Array): string | undefined {
  const exact = charged(bytes, "exact");
  const merged = charged(bytes, undefined);
  if (exact === undefined || merged === undefined) return undefined;
  const ran = counted(bytes);
  const throws = readModuleBinary(bytes).sections.some(({ id }) => id === SectionId.TAG);
  const most = throws ? 2 * ran + 1000 : ran + (ran >> 3) + 4;
  if (exact < ran || exact > most) return `${ran} units ran, ${exact} were charged one by one`;
  // The host's call pays for `run` itself when it is short.
  if (merged + SMALL_LEAF_INSTRUCTIONS < ran || merged > (ran + 1) * MERGED_SEGMENT_INSTRUCTIONS + most)
    return `${ran} units ran, ${merged} were charged`;
  return "";
}

function complaint(bytes: Uint8Array): string {
  try {
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    return `none, ${WebAssembly.Module.exports(module).length} exports`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function one(bytes: Buffer, outcome: Outcome): void {
  outcome.cases++;
  const valid = validate(new Uint8Array(bytes));
  let code: Uint8Array;
  try {
    code = harden(bytes, readModuleBinary(bytes), { memoryPages: MEMORY_PAGES }).bytes;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    outcome.refused++;
    if (valid) {
      const reason = error.message.replace(/0x[0-9a-f]+|\d+/g, "N");
      outcome.strict.set(reason, (outcome.strict.get(reason) ?? 0) + 1);
    }
    return;
  }
  if (!valid) return;
  if (!validate(new Uint8Array(code))) throw new Error(`V8 takes it before, but not hardened: ${complaint(code)}`);
  outcome.hardened++;
  const after = result(code, true);
  // Hardened first: only what ends by itself is run without fuel.
  if (after === undefined || after === "out of fuel") return;
  const before = result(bytes, false);
  // V8's own end of the stack comes as another error than ours.
  if (before === "RangeError" && after === "RuntimeError") return;
  if (before !== after) throw new Error(`before: ${before}; hardened: ${after}`);
  outcome.alike++;
  // Anything that is not a number is how it failed.
  if (!/^-?\d/.test(after)) return;
  const fault = weigh(bytes);
  if (fault === undefined) return;
  if (fault !== "") throw new Error(fault);
  outcome.weighed++;
}

/** Runs `cases` cases. Anything unexpected is a fault, with the case's number to run it again. */
export function fuzzModules(cases: number, seed: number): Outcome {
  const outcome: Outcome = { cases: 0, refused: 0, strict: new Map(), hardened: 0, alike: 0, weighed: 0, faults: [] };
  const modules = corpus();
  for (const module of modules) one(Buffer.from(module), outcome);
  for (let n = 0; n < cases; n++) {
    const random = generator(Math.imul(seed, 1_000_003) + n);
    const bytes = damaged(modules[random(modules.length)]!, random);
    try {
      one(bytes, outcome);
    } catch (error) {
      outcome.faults.push(`seed ${seed}, case ${n}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return outcome;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { cases: { type: "string", default: "100000" }, seed: { type: "string", default: "1" } },
  });
  const { strict, faults, ...numbers } = fuzzModules(Number(values.cases), Number(values.seed));
  console.log(numbers);
  console.log("valid for V8, refused by us:");
  for (const [reason, count] of [...strict].sort((a, b) => b[1] - a[1]).slice(0, 30))
    console.log(`  ${count} ${reason}`);
  for (const fault of faults.slice(0, 20)) console.log(`FAULT ${fault}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
