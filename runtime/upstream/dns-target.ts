/** One DNS name that is resolved again and again; the cluster turns its answers into hosts. */
import { lookup as systemLookup } from "node:dns/promises";
import type { ClusterConfig } from "../config/snapshot.ts";
import { MAX_DNS_HOSTS } from "../limits.ts";
import { Alarm } from "../timers.ts";
import type { ClusterStats } from "./cluster-stats.ts";

/** Resolves a name to addresses of one family; an empty list when it has none of it. Rejects on failure. */
export type Lookup = (hostname: string, family: 4 | 6) => Promise<readonly string[]>;

/** The answers that mean "no such record", which is not a failure to ask. */
const NO_RECORD = new Set(["ENOTFOUND", "ENODATA", "EAI_NODATA", "EAI_NONAME"]);

/** The resolver of the operating system: hosts file, search domains and all. */
export async function lookupBySystem(hostname: string, family: 4 | 6): Promise<readonly string[]> {
  try {
    const found = await systemLookup(hostname, { all: true, family });
    return found.map((record) => record.address);
  } catch (error) {
    if (NO_RECORD.has((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}

type Family = ClusterConfig["dnsLookupFamily"];

/** Both families by the cluster's preference (AUTO prefers IPv6). Rejects only when nothing could be learnt. */
export async function resolve(lookup: Lookup, hostname: string, family: Family): Promise<readonly string[]> {
  if (family === "V4_ONLY") return lookup(hostname, 4);
  if (family === "V6_ONLY") return lookup(hostname, 6);
  if (family === "ALL") {
    const [v6, v4] = await Promise.allSettled([lookup(hostname, 6), lookup(hostname, 4)]);
    if (v6.status === "rejected" && v4.status === "rejected") throw v4.reason as Error;
    return [...(v6.status === "fulfilled" ? v6.value : []), ...(v4.status === "fulfilled" ? v4.value : [])];
  }
  const [first, second]: [4 | 6, 4 | 6] = family === "AUTO" ? [6, 4] : [4, 6];
  const preferred = await lookup(hostname, first).catch((): readonly string[] => []);
  return preferred.length > 0 ? preferred : lookup(hostname, second);
}

export interface DnsTargetOptions {
  readonly hostname: string;
  readonly config: ClusterConfig;
  readonly stats: ClusterStats;
  readonly lookup: Lookup;
  /** Called with each answer that holds at least one address: sorted unless order matters, without doubles. */
  readonly onAddresses: (addresses: readonly string[]) => void;
}

export class DnsTarget {
  readonly #options: DnsTargetOptions;
  readonly #alarm = new Alarm(() => void this.refresh());
  #stopped = false;

  constructor(options: DnsTargetOptions) {
    this.#options = options;
  }

  /** Asks once and arms the next time; never rejects: a failure keeps what was known and is counted. */
  async refresh(): Promise<void> {
    const { hostname, config, stats, lookup, onAddresses } = this.#options;
    stats.updateAttempt.inc();
    let delay = config.dnsFailureRefreshRateMs;
    try {
      const found = await resolve(lookup, hostname, config.dnsLookupFamily);
      if (this.#stopped) return;
      if (found.length === 0) stats.updateEmpty.inc();
      else {
        stats.updateSuccess.inc();
        delay = config.dnsRefreshRateMs;
        onAddresses([...new Set(found)].slice(0, MAX_DNS_HOSTS));
      }
    } catch {
      // Names come and go with their resolver; the counter tells, and the old hosts go on.
      stats.updateFailure.inc();
    }
    if (!this.#stopped) this.#alarm.arm(delay);
  }

  stop(): void {
    this.#stopped = true;
    this.#alarm.disarm();
  }
}
