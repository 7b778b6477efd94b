/** Which limit a descriptor has, and how much of its current window is used: all in memory. */

/** Seconds of one window, by the unit's name in the limits file. */
const UNIT_SECONDS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: 86_400 };
/** Windows kept at most; a descriptor may carry any header's value, so their number is not ours to choose. */
const MAX_WINDOWS = 100_000;

/** One level of the limits file. */
export interface LimitNode {
  readonly key: string;
  readonly value?: string;
  readonly rate_limit?: { readonly name?: string; readonly unit: string; readonly requests_per_unit: number };
  readonly descriptors?: readonly LimitNode[];
}

/** The limits file. */
export interface LimitsFile {
  readonly domain: string;
  readonly descriptors: readonly LimitNode[];
}

export interface Entry {
  readonly key: string;
  readonly value: string;
}

/** What was decided on one descriptor; undefined limit: none is configured, which is OK. */
export interface Decision {
  readonly overLimit: boolean;
  readonly limit: { readonly name: string; readonly unit: string; readonly requestsPerUnit: number } | undefined;
  readonly remaining: number;
  readonly secondsUntilReset: number;
}

interface Window {
  used: number;
  readonly endsAtMs: number;
}

export class Limiter {
  readonly #limits: LimitsFile;
  readonly #now: () => number;
  readonly #windows = new Map<string, Window>();

  /** `now` gives milliseconds. Throws when a limit's unit is not second, minute, hour or day. */
  constructor(limits: LimitsFile, now: () => number = Date.now) {
    checkUnits(limits.descriptors);
    this.#limits = limits;
    this.#now = now;
  }

  /** Counts `hits` on the descriptor. A window begins with its first hit and is over one unit later. */
  decide(domain: string, entries: readonly Entry[], hits: number): Decision {
    const node = domain === this.#limits.domain ? find(this.#limits.descriptors, entries) : undefined;
    const limit = node?.rate_limit;
    if (limit === undefined) return { overLimit: false, limit: undefined, remaining: 0, secondsUntilReset: 0 };
    const window = this.#window(JSON.stringify(entries), UNIT_SECONDS[limit.unit.toLowerCase()]! * 1000);
    window.used += hits;
    return {
      overLimit: window.used > limit.requests_per_unit,
      limit: { name: limit.name ?? "", unit: limit.unit.toUpperCase(), requestsPerUnit: limit.requests_per_unit },
      remaining: Math.max(0, limit.requests_per_unit - window.used),
      secondsUntilReset: Math.max(0, Math.ceil((window.endsAtMs - this.#now()) / 1000)),
    };
  }

  #window(name: string, lengthMs: number): Window {
    const now = this.#now();
    let window = this.#windows.get(name);
    if (window === undefined || window.endsAtMs <= now) {
      this.#windows.delete(name);
      if (this.#windows.size >= MAX_WINDOWS) this.#forgetOldest();
      this.#windows.set(name, (window = { used: 0, endsAtMs: now + lengthMs }));
    }
    return window;
  }

  /** Insertion order is age, so the first key is the oldest window. */
  #forgetOldest(): void {
    for (const name of this.#windows.keys()) {
      this.#windows.delete(name);
      return;
    }
  }
}

/** Walks one level per entry; a node without a value holds for every value. */
function find(nodes: readonly LimitNode[], entries: readonly Entry[]): LimitNode | undefined {
  const [first, ...rest] = entries;
  if (first === undefined) return undefined;
  const named = nodes.filter((node) => node.key === first.key);
  const node =
    named.find((candidate) => candidate.value === first.value) ??
    named.find((candidate) => candidate.value === undefined);
  if (node === undefined || rest.length === 0) return node;
  return find(node.descriptors ?? [], rest);
}

function checkUnits(nodes: readonly LimitNode[]): void {
  for (const node of nodes) {
    const unit = node.rate_limit?.unit;
    if (unit !== undefined && UNIT_SECONDS[unit.toLowerCase()] === undefined) throw new Error(`unknown unit ${unit}`);
    checkUnits(node.descriptors ?? []);
  }
}
