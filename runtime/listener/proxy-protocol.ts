/**
 * envoy.filters.listener.proxy_protocol: addresses come from the header that a load balancer puts in front.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/proxy_protocol
 */
import type { ProxyProtocolConfig } from "../config/listener-snapshot.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import { plainIp } from "../observe/address-text.ts";
import { type ListenerFilter, type SocketFacts, Verdict } from "./listener-filter.ts";
import { MAX_PROXY_HEADER_BYTES, type ProxyHeader, readProxyHeader } from "./proxy-header.ts";

/** `proxy_proto.[<stat_prefix>.]versions.v1.` and v2. */
interface VersionStats {
  readonly found: Counter;
  readonly disallowed: Counter;
  readonly error: Counter;
}

/** Makes the filter, which is the same for all connections of a listener; `scope` is `listener.<stat_prefix>.`. */
export function proxyProtocol(config: ProxyProtocolConfig, stats: Stats, scope: string): () => ListenerFilter {
  const filter = new ProxyProtocol(config, stats, scope);
  return () => filter;
}

class ProxyProtocol implements ListenerFilter {
  readonly maxReadBytes = MAX_PROXY_HEADER_BYTES;
  readonly #config: ProxyProtocolConfig;
  readonly #versions: Readonly<Record<1 | 2, VersionStats>>;
  readonly #missingAllowed: Counter;
  readonly #missingRefused: Counter;
  /** Of the listener. */
  readonly #errors: Counter;

  constructor(config: ProxyProtocolConfig, stats: Stats, scope: string) {
    const prefix = `proxy_proto.${config.statPrefix === "" ? "" : `${config.statPrefix}.`}`;
    const version = (name: string): VersionStats => ({
      found: stats.counter(`${prefix}versions.${name}.found`),
      disallowed: stats.counter(`${prefix}versions.${name}.disallowed`),
      error: stats.counter(`${prefix}versions.${name}.error`),
    });
    this.#config = config;
    this.#versions = { 1: version("v1"), 2: version("v2") };
    this.#missingAllowed = stats.counter(`${prefix}not_found_allowed`);
    this.#missingRefused = stats.counter(`${prefix}not_found_disallowed`);
    this.#errors = stats.counter(`${scope}downstream_cx_proxy_proto_error`);
  }

  onAccept(): Verdict {
    return Verdict.NEED_MORE;
  }

  onData(facts: SocketFacts, bytes: Buffer): Verdict {
    const answer = readProxyHeader(bytes);
    switch (answer.kind) {
      case "more":
        return Verdict.NEED_MORE;
      case "none":
        if (this.#config.allowMissing) {
          this.#missingAllowed.inc();
          return Verdict.CONTINUE;
        }
        this.#missingRefused.inc();
        return this.#refuse(facts, "there is no header");
      case "bad":
        this.#versions[answer.version].error.inc();
        return this.#refuse(facts, answer.reason);
      case "found":
        return this.#take(facts, answer.header);
    }
  }

  #take(facts: SocketFacts, header: ProxyHeader): Verdict {
    const stats = this.#versions[header.version];
    if (this.#config.disallowedVersions.includes(header.version)) {
      stats.disallowed.inc();
      return this.#refuse(facts, `version ${header.version} is not allowed`);
    }
    stats.found.inc();
    facts.consume(header.bytes);
    const { source, destination } = header;
    if (source !== null && destination !== null) {
      facts.remoteIp = plainIp(source.ip);
      facts.remotePort = source.port;
      facts.restoreDestination(destination);
    }
    const { passed } = this.#config;
    const kept = header.fields.filter(({ type }) => passed === "all" || passed.includes(type));
    // The bytes they lie in are the socket's.
    if (kept.length > 0) facts.proxyFields = kept.map(({ type, value }) => ({ type, value: Buffer.from(value) }));
    for (const { type, namespace, key } of this.#config.rules) {
      const field = header.fields.find((one) => one.type === type);
      if (field === undefined) continue;
      const metadata = (facts.metadata ??= new Map());
      metadata.set(namespace, { ...metadata.get(namespace), [key]: field.value.toString("utf8") });
    }
    return Verdict.CONTINUE;
  }

  #refuse(facts: SocketFacts, reason: string): Verdict {
    this.#errors.inc();
    facts.failure = `proxy_protocol: ${reason}`;
    return Verdict.CLOSE;
  }
}
