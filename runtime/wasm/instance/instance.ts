/**
 * One running VM: a module with its memory in this thread. The only place that calls into the guest, so the only
 * place that sees a trap, keeps track of the current and effective context, and runs deferred actions.
 *
 * Life: construct → link → start → callbacks → fail or close. After a failure the guest is never called again.
 */
import * as LogLevel from "../../../abi/log-level.ts";
import { ProxyError } from "../../errors.ts";
import { ContextTable } from "./context-table.ts";
import { VmContext } from "../contexts/context.ts";
import type { Context } from "../contexts/context.ts";
import type { WasmEnvironment } from "../environment.ts";
import type { GuestStrings } from "./guest-strings.ts";
import { GuestMemory } from "./memory.ts";
import type { GuestMetric } from "../shared/metrics.ts";
import type { TokenBucket } from "../shared/token-bucket.ts";
import type { LoadedModule } from "../module/module.ts";
import { HostExport } from "../module/hardened.ts";
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
  /** Strings of the guest by address, shared by its instances. */
  readonly strings: GuestStrings;
  readonly environment: WasmEnvironment;
}

/** Thrown through the guest by proc_exit and abort: nothing may run behind them. */
export class GuestExit extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "GuestExit";
    this.exitCode = exitCode;
  }
}

/** What went wrong, where; handed to the owner of the instance. */
export interface GuestFailure {
  readonly error: unknown;
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
  current: Context;
  effective: Context;
  failed = false;
  #exports: WebAssembly.Exports = {};
  #depth = 0;
  #running = false;
  #deferred: Context[] = [];
  readonly #onFailure: (failure: GuestFailure) => void;

  constructor(facts: VmFacts, onFailure: (failure: GuestFailure) => void) {
    this.facts = facts;
    this.memory = new GuestMemory(facts.strings);
    this.#onFailure = onFailure;
    this.current = this.effective = new VmContext();
  }

  /** Instantiates and runs the start functions. Throws ProxyError `GUEST_START`. */
  link(imports: WebAssembly.Imports): void {
    const { module } = this.facts;
    try {
      const instance = new WebAssembly.Instance(module.module, withStorage(imports, module));
      this.#exports = instance.exports;
      const allocator = instance.exports[module.allocator] as GuestFunction;
      this.memory.attach(instance.exports["memory"] as WebAssembly.Memory, allocator);
      (instance.exports[HostExport.BUDGET] as WebAssembly.Global).value = 2_000_000_000;
      this.#start();
    } catch (error) {
      this.failed = true;
      throw new ProxyError("GUEST_START", "guest", `start function: ${describeFailure(error)}`, error);
    }
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
    let result = 0;
    try {
      result = callback(context.id, a, b);
    } catch (error) {
      this.#fail(error, name, context);
    }
    this.#depth--;
    this.current = current;
    this.effective = effective;
    return result;
  }

  /** The same with more arguments, for callbacks that are not on the path of every request. */
  callWith(context: Context, callback: GuestFunction, name: string, args: readonly number[]): number {
    const result = this.call(context, (id) => callback(id, ...args), name, 0, 0);
    this.settle();
    return result;
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
    const config = this.effective.root?.plugin.config;
    log.guest(level, `wasm log ${config?.name ?? ""} ${config?.rootId ?? ""} ${this.facts.vmId}: ${message}`);
  }

  /** Answers `status` of the host function `call`, and at debug level says why: which argument, what was wrong. */
  refuse(status: number, call: string, why: string): number {
    if (this.facts.environment.log.enabled(LogLevel.DEBUG))
      this.log(LogLevel.DEBUG, `${call} answers ${statusName(status)}: ${why}`);
    return status;
  }

  /** Takes fuel for work that the host does for the guest in proportion to its size. */
  spend(_units: number): void {}

  #fail(error: unknown, callback: string, context: Context): void {
    if (this.failed) return;
    this.failed = true;
    this.#deferred = [];
    this.#onFailure({ error, callback, context });
  }
}

/** One line for people: what kind of failure, without the stack. */
export function describeFailure(error: unknown): string {
  if (error instanceof WebAssembly.RuntimeError) return `trap: ${error.message}`;
  if (error instanceof RangeError) return `trap: stack overflow (${error.message})`;
  return error instanceof Error ? error.message : String(error);
}

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
