/**
 * One running VM: a module with its memory in this thread. The only place that calls into the guest, so the only
 * place that sees a trap, keeps track of the current and effective context, and runs deferred actions.
 *
 * Life: construct → link → start → callbacks → fail or close. After a failure the guest is never called again.
 */
import * as LogLevel from "../../../abi/log-level.ts";
import * as Status from "../../../abi/status.ts";
import { ProxyError } from "../../errors.ts";
import { GUEST_PAGE_BYTES, GUEST_START_FUEL_FACTOR, MAX_CLEARED_BYTES } from "../../limits.ts";
import { Expressions } from "../cel/expressions.ts";
import type { KeptExpressions } from "../cel/expressions.ts";
import { ContextTable } from "./context-table.ts";
import { VmContext } from "../contexts/context.ts";
import type { Context } from "../contexts/context.ts";
import type { RootContext } from "../contexts/root-context.ts";
import type { CallbackMeter } from "../callback-meter.ts";
import type { Plugin } from "../plugin.ts";
import type { WasmEnvironment } from "../environment.ts";
import { describeFailure, failureReason, GuestExit } from "./failure.ts";
import type { FailureReason } from "./failure.ts";
import type { GuestStrings } from "./guest-strings.ts";
import { GuestOutput } from "./output.ts";
import type { LogGate } from "./log-gate.ts";
import { GuestMemory } from "./memory.ts";
import type { GuestMetric } from "../shared/metrics.ts";
import type { TokenBucket } from "../shared/token-bucket.ts";
import type { LoadedModule } from "../module/module.ts";
import { GuestFlag, HostExport, Restriction } from "../module/hardened.ts";
import { statusName } from "../values/status-name.ts";

/** An exported function of the guest. Functions without a result answer undefined, which nobody looks at. */
export type GuestFunction = (...args: number[]) => number;

/** What all instances of one VM have in common. */
export interface VmFacts {
  readonly vmId: string;
  readonly module: LoadedModule;
  readonly vmConfiguration: Uint8Array;
  /** `KEY=VALUE` strings, UTF-8, each with its zero byte. */
  readonly environ: readonly Buffer[];
  /** Name of a host function or callback to whether the guest may use it; undefined: everything. */
  readonly allowedCapabilities: ReadonlySet<string> | undefined;
  /** Units for one callback. */
  readonly fuel: number;
  readonly gate: LogGate;
  readonly meter: CallbackMeter;
  /** Strings of the guest by address, shared by its instances. */
  readonly strings: GuestStrings;
  readonly environment: WasmEnvironment;
}

/** State of a started instance: what copies of it begin with. */
export interface Snapshot {
  /** Size of the memory. */
  readonly bytes: number;
  /** Contents up to the last byte that is not zero. */
  readonly memory: Uint8Array;
  readonly globals: readonly (number | bigint)[];
  readonly roots: readonly { readonly id: number; readonly plugin: Plugin }[];
  /** What the host kept for the guest. */
  readonly nextId: number;
  readonly metrics: readonly (GuestMetric | null)[];
  readonly buckets: readonly TokenBucket[];
  readonly expressions: KeptExpressions;
}
/** What went wrong, where; handed to the owner of the instance. */
export interface GuestFailure {
  readonly error: unknown;
  readonly reason: FailureReason;
  readonly callback: string;
  readonly context: Context;
}

export class Instance {
  readonly facts: VmFacts;
  readonly memory: GuestMemory;
  readonly contexts = new ContextTable();
  /** Metrics this instance has defined, by `id >> 2`; 0 is never used. */
  readonly metrics: (GuestMetric | null)[] = [null];
  readonly metricIds = new Map<string, number>();
  /** Token buckets this instance has defined, by id - 1. */
  readonly buckets: TokenBucket[] = [];
  readonly expressions = new Expressions();
  current: Context;
  effective: Context;
  failed = false;
  /** Why, once it has. */
  failureReason: FailureReason = "trap";
  /** What was thrown then. */
  failureError: unknown = undefined;
  /** A root context for each plugin of the VM, in the VM's order. */
  readonly roots: RootContext[] = [];
  /** Set while the instance belongs to one stream: that stream is over. */
  onUnused: (() => void) | null = null;
  /** What the host's tables held when this instance's state was that of its snapshot. */
  #adopted: Snapshot | null = null;
  #exports: WebAssembly.Exports = {};
  #depth = 0;
  #running = false;
  #deferred: Context[] = [];
  readonly #onFailure: (failure: GuestFailure) => void;

  /** Standard output and standard error. */
  readonly output = new GuestOutput((descriptor, text) =>
    this.log(descriptor === 1 ? LogLevel.INFO : LogLevel.ERROR, text),
  );

  constructor(facts: VmFacts, onFailure: (failure: GuestFailure) => void) {
    this.facts = facts;
    this.memory = new GuestMemory(facts.strings, (units) => this.spend(units));
    this.#onFailure = onFailure;
    this.current = this.effective = new VmContext();
  }

  /** Instantiates and runs the start functions. Throws ProxyError `GUEST_START`. */
  link(imports: WebAssembly.Imports): void {
    try {
      this.#instantiate(imports);
      this.#setGlobal(HostExport.BUDGET, Math.min(this.facts.fuel * GUEST_START_FUEL_FACTOR, MAX_FUEL));
      this.#setGlobal(HostExport.RESTRICTED, Restriction.ACTIVE);
      this.#start();
      this.#setGlobal(HostExport.RESTRICTED, Restriction.NONE);
      this.output.flush();
    } catch (error) {
      this.failed = true;
      this.output.flush();
      const reason = failureReason(error, this.#exports);
      throw new ProxyError("GUEST_START", "guest", `start function: ${describeFailure(error, reason)}`, error);
    }
  }

  /** The plugins are configured: from now on each callback has the fuel of one. */
  started(): void {
    this.#setGlobal(HostExport.BUDGET, this.facts.fuel);
  }

  #instantiate(imports: WebAssembly.Imports): void {
    const { module } = this.facts;
    const instance = new WebAssembly.Instance(module.module, withStorage(imports, module));
    this.#exports = instance.exports;
    this.facts.environment.onInstance?.(module, instance.exports);
    const allocator = instance.exports[module.allocator] as GuestFunction;
    this.memory.attach(instance.exports["memory"] as WebAssembly.Memory, allocator);
  }

  #setGlobal(name: string, value: number): void {
    (this.#exports[name] as WebAssembly.Global).value = value;
  }
  #global(name: string): WebAssembly.Global {
    return this.#exports[name] as WebAssembly.Global;
  }

  // ---- copies of a started instance -----------------------------------------------------------

  /** The state of this instance, to make others from; undefined when copying memory and globals does not catch it all. */
  snapshot(): Snapshot | undefined {
    const { hardened } = this.facts.module;
    const flags = this.#global(HostExport.FLAGS).value as number;
    if (!hardened.restorable || (flags & GuestFlag.UNRESTORABLE) !== 0) return undefined;
    const memory = (this.#exports["memory"] as WebAssembly.Memory).buffer;
    return {
      bytes: memory.byteLength,
      memory: trimmed(new Uint8Array(memory)),
      globals: Array.from(hardened.globals, (_, n) => this.#global(`${HostExport.GLOBAL}${n}`).value),
      roots: this.roots.map(({ id, plugin }) => ({ id, plugin })),
      nextId: this.contexts.next,
      metrics: this.metrics.slice(),
      buckets: this.buckets.slice(),
      expressions: this.expressions.keep(),
    };
  }

  /** Instantiates as a copy: no start function runs. Throws what V8 throws when there is no room for another memory. */
  linkCopy(imports: WebAssembly.Imports, snapshot: Snapshot): void {
    this.#instantiate(imports);
    if (!this.takeOver(snapshot)) throw new RangeError("the copy's memory cannot grow");
    this.forget();
    this.started();
  }

  /** Brings the instance to the state of `snapshot`, for good. False when its memory cannot have that size. */
  takeOver(snapshot: Snapshot): boolean {
    const memory = this.#exports["memory"] as WebAssembly.Memory;
    // Behind this there are only zeros: what grows is zeroed, and so is what the snapshot that it has does not hold.
    const end = this.#adopted?.memory.length ?? memory.buffer.byteLength;
    const missing = (snapshot.bytes - memory.buffer.byteLength) / GUEST_PAGE_BYTES;
    if (missing < 0) return false;
    if (missing > 0) {
      try {
        memory.grow(missing);
      } catch {
        // A RangeError: the module's maximum, or the system, forbids it.
        return false;
      }
    }
    snapshot.globals.forEach((value, n) => {
      this.#global(`${HostExport.GLOBAL}${n}`).value = value;
    });
    (this.#exports[HostExport.SAVE] as () => void)();
    this.#restoreMemory(snapshot, end);
    this.#adopted = snapshot;
    return true;
  }

  /** Brings back the state of `snapshot`, which it took over. False when it cannot: the instance is of no more use. */
  restore(snapshot: Snapshot): boolean {
    if (this.failed || this.memory.size !== snapshot.bytes) return false;
    if (snapshot.bytes - snapshot.memory.length > MAX_CLEARED_BYTES) return false;
    const flags = (this.#exports[HostExport.RESTORE] as () => number)();
    if ((flags & GuestFlag.UNRESTORABLE) !== 0) return false;
    this.#restoreMemory(snapshot, snapshot.bytes);
    return true;
  }

  /** `end`: from there on the memory holds zeros already. */
  #restoreMemory(snapshot: Snapshot, end: number): void {
    const memory = new Uint8Array((this.#exports["memory"] as WebAssembly.Memory).buffer);
    const held = snapshot.memory.length;
    memory.set(snapshot.memory);
    if (end > held) memory.fill(0, held, end);
  }

  /** The host's tables for the guest become those of the snapshot that it has. */
  forget(): void {
    const snapshot = this.#adopted;
    if (snapshot === null) return;
    this.#deferred = [];
    this.contexts.next = snapshot.nextId;
    this.expressions.restore(snapshot.expressions);
    if (this.metrics.length === snapshot.metrics.length && this.buckets.length === snapshot.buckets.length) return;
    this.metrics.splice(0, this.metrics.length, ...snapshot.metrics);
    this.metricIds.clear();
    this.buckets.splice(0, this.buckets.length, ...snapshot.buckets);
  }

  /** Units of fuel that callbacks have used so far. */
  get fuelUsed(): bigint {
    return this.#exports[HostExport.USED] === undefined ? 0n : (this.#global(HostExport.USED).value as bigint);
  }

  #start(): void {
    if (this.facts.module.hasStartSection) this.#run(HostExport.START);
    if (this.export("_initialize") !== null) {
      this.#run("_initialize");
      if (this.export("main") !== null) this.#run("main");
      else this.#run("__main_void");
    } else if (this.export("_start") !== null) this.#run("_start");
    else this.#run("__wasm_call_ctors");
  }

  #run(name: string): void {
    const start = this.#exports[name] as GuestFunction | undefined;
    if (typeof start !== "function") return;
    try {
      start(0, 0);
    } catch (error) {
      // A command's normal end.
      if (!(error instanceof GuestExit) || error.exitCode !== 0) throw error;
      // The functions that it left so suddenly are not on the stack any more.
      this.#setGlobal(HostExport.STACK, 0);
    }
  }

  /** A known callback, or null when the module has none or may not be called there. */
  export(name: string): GuestFunction | null {
    const { module, allowedCapabilities } = this.facts;
    if (!module.exports.includes(name)) return null;
    if (allowedCapabilities !== undefined && name.startsWith("proxy_") && !allowedCapabilities.has(name)) return null;
    return this.#exports[name] as GuestFunction;
  }

  /**
   * Calls into the guest for `context`. A trap fails the instance and answers 0: look at `failed` afterwards.
   * Callers whose own actions may be pending handle those, then call `settle`.
   */
  call(context: Context, callback: GuestFunction, name: string, a: number, b: number): number {
    const current = this.current;
    const effective = this.effective;
    this.current = this.effective = context;
    this.#depth++;
    const sample = --this.facts.meter.left < 0 ? { startMs: performance.now(), fuel: this.fuelUsed } : null;
    let result = 0;
    try {
      result = callback(context.id, a, b);
    } catch (error) {
      this.#fail(error, name, context);
    }
    this.#depth--;
    if (sample !== null) this.#measure(sample, context, name);
    if (this.output.waits && this.#depth === 0) this.output.flush();
    this.current = current;
    this.effective = effective;
    return result;
  }

  /** The same with more arguments, for callbacks that are not on the path of every request. */
  callWith(context: Context, callback: GuestFunction, name: string, args: readonly number[]): number {
    this.facts.meter.left = 0;
    const result = this.call(context, (id) => callback(id, ...args), name, 0, 0);
    this.settle();
    return result;
  }

  #measure(sample: { readonly startMs: number; readonly fuel: bigint }, context: Context, name: string): void {
    const milliseconds = performance.now() - sample.startMs;
    const plugin = context.root?.plugin.config.name ?? "";
    this.facts.meter.record(plugin, name, milliseconds, Number(this.fuelUsed - sample.fuel));
  }

  /** `context` has something in `pending` that must wait until no guest code runs. */
  defer(context: Context, action: number): void {
    if (context.pending === 0) this.#deferred.push(context);
    context.pending |= action;
  }

  /** Performs deferred actions if no guest code runs; those may enter the guest and defer more. */
  settle(): void {
    if (this.#deferred.length === 0 || this.#depth !== 0 || this.#running) return;
    this.#running = true;
    let done = 0;
    try {
      while (done < this.#deferred.length) {
        const context = this.#deferred[done++]!;
        if (context.pending !== 0) context.perform();
      }
    } finally {
      this.#deferred.splice(0, done);
      this.#running = false;
    }
  }

  /** Logs for the effective context's plugin, in Envoy's form. Levels of abi/log-level.ts. */
  log(level: number, message: string): void {
    const { log } = this.facts.environment;
    if (!log.enabled(level)) return;
    if (!this.facts.gate.admit(message.length)) return;
    const config = this.effective.root?.plugin.config;
    log.guest(level, `wasm log ${config?.name ?? ""} ${config?.rootId ?? ""} ${this.facts.vmId}: ${message}`);
  }

  /** Answers `status` of the host function `call`, and at debug level says why: which argument, what was wrong. */
  refuse(status: number, call: string, why: string): number {
    if (this.facts.environment.log.enabled(LogLevel.DEBUG))
      this.log(LogLevel.DEBUG, `${call} answers ${statusName(status)}: ${why}`);
    return status;
  }

  /** The answer to a bad address or size, which `argument` names. */
  outside(call: string, argument: string): number {
    if (this.facts.environment.log.enabled(LogLevel.DEBUG))
      this.refuse(Status.INVALID_MEMORY_ACCESS, call, `${argument}: outside of memory`);
    return Status.INVALID_MEMORY_ACCESS;
  }

  /** Takes fuel for work that the host does for the guest in proportion to its size. Ends the callback when none is left. */
  spend(units: number): void {
    const fuel = this.#exports[HostExport.FUEL] as WebAssembly.Global | undefined;
    if (fuel === undefined) return;
    const left = Math.max((fuel.value as number) - units, -1);
    fuel.value = left;
    if (left < 0) throw new GuestExit("a host function had too much to do", "out_of_fuel");
  }

  #fail(error: unknown, callback: string, context: Context): void {
    if (this.failed) return;
    this.failed = true;
    this.#deferred = [];
    this.output.flush();
    this.failureReason = failureReason(error, this.#exports);
    this.failureError = error;
    this.#onFailure({ error, reason: this.failureReason, callback, context });
  }
}

/** The most that the fuel counter, a signed 32-bit number, can hold. */
const MAX_FUEL = 0x7fff_ffff;

/** A copy without the zeros at the end, which most memories have a lot of. */
function trimmed(memory: Uint8Array): Uint8Array {
  let page = memory.length;
  // Page by page first: a word at a time would take tens of milliseconds in a large memory.
  while (page > 0 && Buffer.compare(memory.subarray(page - GUEST_PAGE_BYTES, page), ZERO_PAGE) === 0) {
    page -= GUEST_PAGE_BYTES;
  }
  const words = new Uint32Array(memory.buffer, 0, page / 4);
  let end = words.length;
  while (end > 0 && words[end - 1] === 0) end--;
  return memory.slice(0, end * 4);
}

const ZERO_PAGE = new Uint8Array(GUEST_PAGE_BYTES);

/** Adds fresh memories and tables for modules that import theirs. */
function withStorage(imports: WebAssembly.Imports, module: LoadedModule): WebAssembly.Imports {
  if (module.storage.length === 0) return imports;
  const all: WebAssembly.Imports = { ...imports };
  for (const { module: space, name, kind, minimum, maximum } of module.storage) {
    const limits = { initial: minimum, maximum };
    const value =
      kind === "memory" ? new WebAssembly.Memory(limits) : new WebAssembly.Table({ element: "anyfunc", ...limits });
    all[space] = { ...all[space], [name]: value };
  }
  return all;
}
