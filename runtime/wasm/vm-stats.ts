/** Numbers of one VM: how often it was started, how many instances it has, how much memory and fuel they take. */
import { VM_GAUGES_INTERVAL_MS } from "../limits.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import type { Instance } from "./instance/instance.ts";
import type { PoolStats } from "./pool.ts";

/** Envoy's name of the engine, in its statistics. */
const RUNTIME = "wasm.envoy.wasm.runtime.v8";

export class VmStats implements PoolStats {
  readonly misses: Counter;
  readonly exhausted: Counter;
  readonly #stats: Stats;
  readonly #prefix: string;
  readonly #created: Counter;
  readonly #active: Gauge;
  readonly #instances: Gauge;
  readonly #memory: Gauge;
  readonly #fuel: Counter;
  readonly #present: ReadonlySet<Instance>;
  /** Fuel of instances that are gone, and what was reported of all. */
  #goneFuel = 0n;
  #reportedFuel = 0n;
  /** Other VMs may have plugins of the same name: each adds its part. */
  #reportedBytes = 0;

  constructor(plugin: string, stats: Stats, present: ReadonlySet<Instance>) {
    this.#stats = stats;
    this.#prefix = `wasm.${plugin}.`;
    this.#present = present;
    this.misses = stats.counter(`${this.#prefix}pool_misses`);
    this.exhausted = stats.counter(`${this.#prefix}pool_exhausted`);
    this.#created = stats.counter(`${RUNTIME}.created`);
    this.#active = stats.gauge(`${RUNTIME}.active`);
    this.#instances = stats.gauge(`${this.#prefix}instances`);
    this.#memory = stats.gauge(`${this.#prefix}vm_memory_size`);
    this.#fuel = stats.counter(`${this.#prefix}fuel_used`);
  }

  count(name: string): void {
    this.#stats.counter(this.#prefix + name).inc();
  }

  created(): void {
    this.#created.inc();
    this.#active.inc();
    this.#instances.inc();
  }

  dismissed(instance: Instance): void {
    this.#goneFuel += instance.fuelUsed;
    this.#active.dec();
    this.#instances.dec();
    // The last look at it: nobody asks a VM without instances again.
    if (this.#present.size === 0) this.refresh();
  }

  /** Brings memory and fuel up to date, and answers them; not for the path of a request. */
  refresh(): { readonly memory: number; readonly fuelUsed: number } {
    let bytes = 0;
    let fuel = this.#goneFuel;
    for (const instance of this.#present) {
      bytes += instance.memory.size;
      fuel += instance.fuelUsed;
    }
    this.#memory.add(bytes - this.#reportedBytes);
    this.#reportedBytes = bytes;
    this.#fuel.add(Number(fuel - this.#reportedFuel));
    this.#reportedFuel = fuel;
    return { memory: bytes, fuelUsed: Number(fuel) };
  }
}

/** Refreshes the numbers of VMs from time to time; the timer keeps no thread alive. Answers what stops it. */
export function refreshRegularly(all: () => Iterable<VmStats>): () => void {
  const timer = setInterval(() => {
    for (const one of all()) one.refresh();
  }, VM_GAUGES_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
