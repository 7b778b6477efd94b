/**
 * The choice of a filter chain, as Envoy makes it: nine levels, at each the most specific branch that is
 * there and fits, and never back up: what fails below falls to the default chain. The configuration builds the
 * tree to find conflicts, the listener to choose with it.
 */
import { isLoopback } from "../observe/address-text.ts";
import { IpRanges } from "../observe/ip-ranges.ts";
import type { FilterChainMatch } from "./listener-snapshot.ts";

/** What is known of a connection when its chain is chosen. */
export interface ChainFacts {
  /** A unix socket: addresses are "", ports 0. */
  readonly pipe: boolean;
  /** Restored where a listener filter did so. */
  readonly localIp: string;
  readonly localPort: number;
  /** Lower case, "" when unknown. */
  readonly serverName: string;
  readonly transportProtocol: string;
  /** In downstream's order. */
  readonly applicationProtocols: readonly string[];
  readonly directRemoteIp: string;
  /** Restored where a listener filter did so. */
  readonly remoteIp: string;
  readonly remotePort: number;
}

/** Envoy compares the address of a unix socket as this one. */
const PIPE_IP = "255.255.255.255";
const EVERYTHING = ["0.0.0.0/0", "::/0"];
const ANY_TEXT = [""];
const ANY_PORT = [0];

type Ports<T> = Map<number, T>;
type SourceIps<T> = IpRanges<Ports<T>>;
interface SourceTypes<T> {
  any: SourceIps<T> | undefined;
  local: SourceIps<T> | undefined;
  external: SourceIps<T> | undefined;
}
type DirectSourceIps<T> = IpRanges<SourceTypes<T>>;
type ApplicationProtocols<T> = Map<string, DirectSourceIps<T>>;
type TransportProtocols<T> = Map<string, ApplicationProtocols<T>>;
type ServerNames<T> = Map<string, TransportProtocols<T>>;
type DestinationIps<T> = IpRanges<ServerNames<T>>;

export class FilterChainTree<T> {
  readonly #ports: Ports<DestinationIps<T>> = new Map();

  /** Adds a chain. Returns the chain that already has one of its places, if any; the rest of its places is taken. */
  add(match: FilterChainMatch, chain: T): T | undefined {
    const destinations = branch(this.#ports, match.destinationPort, () => new IpRanges<ServerNames<T>>());
    let holder: T | undefined;
    for (const ip of orElse(match.prefixRanges, EVERYTHING)) {
      const names = destinations.at(ip, () => new Map());
      for (const name of orElse(match.serverNames, ANY_TEXT)) {
        const suffix = name.startsWith("*.") ? name.slice(1) : name;
        const transports = branch<string, TransportProtocols<T>>(names, suffix, newMap);
        const applications = branch<string, ApplicationProtocols<T>>(transports, match.transportProtocol, newMap);
        for (const protocol of orElse(match.applicationProtocols, ANY_TEXT)) {
          const sources = branch(applications, protocol, () => new IpRanges<SourceTypes<T>>());
          holder ??= addSource(sources, match, chain);
        }
      }
    }
    return holder;
  }

  /** The chain of a connection; undefined when none matches. */
  find(facts: ChainFacts): T | undefined {
    const destinations = this.#ports.get(facts.localPort) ?? this.#ports.get(0);
    const names = destinations?.find(facts.pipe ? PIPE_IP : facts.localIp);
    const applications = byServerName(names, facts.serverName, facts.transportProtocol);
    const direct = byApplicationProtocol(applications, facts.applicationProtocols);
    const types = direct?.find(facts.pipe ? PIPE_IP : facts.directRemoteIp);
    const sources = types === undefined ? undefined : bySourceType(types, facts);
    const ports = sources?.find(facts.pipe ? PIPE_IP : facts.remoteIp);
    return ports?.get(facts.remotePort) ?? ports?.get(0);
  }
}

function addSource<T>(sources: DirectSourceIps<T>, match: FilterChainMatch, chain: T): T | undefined {
  const type = match.sourceType === "ANY" ? "any" : match.sourceType === "EXTERNAL" ? "external" : "local";
  let holder: T | undefined;
  for (const direct of orElse(match.directSourcePrefixRanges, EVERYTHING)) {
    const types = sources.at(direct, newTypes<T>);
    const ranges = (types[type] ??= new IpRanges());
    for (const source of orElse(match.sourcePrefixRanges, EVERYTHING)) {
      const ports = ranges.at(source, () => new Map());
      for (const port of orElse(match.sourcePorts, ANY_PORT)) {
        const held = ports.get(port);
        if (held === undefined) ports.set(port, chain);
        else holder ??= held;
      }
    }
  }
  return holder;
}

/** The exact name, then `.b.c` and `.c` of `a.b.c`, then chains that name none. */
function byServerName<T>(
  names: ServerNames<T> | undefined,
  name: string,
  transport: string,
): ApplicationProtocols<T> | undefined {
  if (names === undefined) return undefined;
  let transports = name === "" ? undefined : names.get(name);
  let dot = name.indexOf(".", 1);
  while (transports === undefined && dot !== -1 && dot < name.length - 1) {
    transports = names.get(name.slice(dot));
    dot = name.indexOf(".", dot + 1);
  }
  transports ??= names.get("");
  return transports?.get(transport) ?? transports?.get("");
}

function byApplicationProtocol<T>(
  applications: ApplicationProtocols<T> | undefined,
  offered: readonly string[],
): DirectSourceIps<T> | undefined {
  if (applications === undefined) return undefined;
  for (const protocol of offered) {
    const found = applications.get(protocol);
    if (found !== undefined) return found;
  }
  return applications.get("");
}

function bySourceType<T>(types: SourceTypes<T>, facts: ChainFacts): SourceIps<T> | undefined {
  if (types.local === undefined && types.external === undefined) return types.any;
  return (isSameIpOrLoopback(facts) ? types.local : types.external) ?? types.any;
}

function isSameIpOrLoopback({ pipe, remoteIp, localIp }: ChainFacts): boolean {
  return pipe || remoteIp === localIp || isLoopback(remoteIp);
}

function branch<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function newMap<K, V>(): Map<K, V> {
  return new Map();
}

function newTypes<T>(): SourceTypes<T> {
  return { any: undefined, local: undefined, external: undefined };
}

function orElse<V>(list: readonly V[], none: readonly V[]): readonly V[] {
  return list.length === 0 ? none : list;
}
