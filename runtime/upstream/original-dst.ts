/**
 * The hosts of a cluster of the type ORIGINAL_DST: one for each destination that streams wanted to reach, made
 * when the first asks for it and forgotten when none did for a while.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/service_discovery#original-destination
 */
import type { OriginalDstConfig } from "../config/cluster-snapshot.ts";
import { MAX_ORIGINAL_DST_HOSTS } from "../limits.ts";
import type { Counter } from "../observe/stats.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { type IpPort, ipPort, parseIpPort } from "../observe/address-text.ts";
import type { Host } from "./host.ts";

/** Filter state that names a destination before anything else does. */
const FILTER_STATE = "envoy.network.transport_socket.original_dst_address";

/** What the hosts are made with, and who is told of them. */
export interface OriginalDstOptions {
  readonly config: OriginalDstConfig;
  readonly createHost: (ip: string, port: number) => Host;
  /** The hosts are others now. */
  readonly onHosts: (hosts: readonly Host[]) => void;
  /** Destinations that were named and are none. */
  readonly invalid: Counter;
}

export class OriginalDst {
  readonly #options: OriginalDstOptions;
  readonly #hosts = new Map<string, Host>();
  /** Hosts that were asked for since the last look. */
  readonly #used = new Set<Host>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: OriginalDstOptions) {
    this.#options = options;
  }

  /** The host that a stream wants; null when it wants none that is known. */
  pick(stream: StreamInfo | undefined): Host | null {
    if (stream === undefined) return null;
    const wanted = this.#destination(stream);
    if (wanted === undefined) return null;
    const port = this.#options.config.port || wanted.port;
    const key = ipPort(wanted.ip, port);
    const host = this.#hosts.get(key) ?? this.#create(key, wanted.ip, port);
    if (host !== null) this.#used.add(host);
    return host;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#forgetUnused(), this.#options.config.cleanupIntervalMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #create(key: string, ip: string, port: number): Host | null {
    if (this.#hosts.size >= MAX_ORIGINAL_DST_HOSTS) return null;
    const host = this.#options.createHost(ip, port);
    this.#hosts.set(key, host);
    this.#options.onHosts([...this.#hosts.values()]);
    return host;
  }

  /** In Envoy's order; what is malformed is counted and left out. */
  #destination(stream: StreamInfo): IpPort | undefined {
    const { header, metadataPath } = this.#options.config;
    const state = stream.stateOf(FILTER_STATE);
    const { connection } = stream;
    return (
      (state === undefined ? undefined : this.#parse(Buffer.from(state).toString("latin1"))) ??
      (header === "" ? undefined : this.#parse(stream.requestHeaders?.get(header))) ??
      (metadataPath.length === 0 ? undefined : this.#parse(metadataValue(stream, metadataPath))) ??
      (connection.localAddressRestored ? destination(connection.localAddress) : undefined)
    );
  }

  #parse(text: string | null | undefined): IpPort | undefined {
    if (text === undefined || text === null) return undefined;
    const parsed = destination(text);
    if (parsed === undefined) this.#options.invalid.inc();
    return parsed;
  }

  #forgetUnused(): void {
    let changed = false;
    for (const [key, host] of this.#hosts) {
      if (this.#used.has(host) || host.rqActive > 0) continue;
      this.#hosts.delete(key);
      host.pool.drain();
      changed = true;
    }
    this.#used.clear();
    if (changed) this.#options.onHosts([...this.#hosts.values()]);
  }
}

function metadataValue(stream: StreamInfo, [namespace = "", ...keys]: readonly string[]): string | undefined {
  let value: unknown = stream.dynamicMetadata?.get(namespace) ?? stream.connection.metadata?.get(namespace);
  for (const key of keys) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return typeof value === "string" ? value : undefined;
}

/** Port 0 is nobody's. */
function destination(text: string): IpPort | undefined {
  const parsed = parseIpPort(text);
  return parsed === undefined || parsed.port === 0 ? undefined : parsed;
}
