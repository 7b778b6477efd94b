/**
 * envoy.filters.listener.tls_inspector: tells TLS from what is none, and reads the name and the protocols that
 * downstream asks for, before a filter chain is chosen.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/tls_inspector
 */
import type { TlsInspectorConfig } from "../config/listener-snapshot.ts";
import type { Counter, Histogram, Stats } from "../observe/stats.ts";
import { type ClientHello, ClientHelloReader, HelloState } from "./client-hello.ts";
import { type ListenerFilter, type SocketFacts, Verdict } from "./listener-filter.ts";
import { ja3, ja4 } from "./tls-fingerprints.ts";

/** A hello in records of a few bytes each is mostly headers; nobody sends one. */
const RECORD_OVERHEAD = 2;

/** `tls_inspector.`; one for each listener filter. */
class InspectorStats {
  readonly tooLarge: Counter;
  readonly found: Counter;
  readonly notFound: Counter;
  readonly protocolsFound: Counter;
  readonly protocolsNotFound: Counter;
  readonly nameFound: Counter;
  readonly nameNotFound: Counter;
  readonly bytes: Histogram;

  constructor(stats: Stats) {
    const counter = (name: string): Counter => stats.counter(`tls_inspector.${name}`);
    this.tooLarge = counter("client_hello_too_large");
    this.found = counter("tls_found");
    this.notFound = counter("tls_not_found");
    this.protocolsFound = counter("alpn_found");
    this.protocolsNotFound = counter("alpn_not_found");
    this.nameFound = counter("sni_found");
    this.nameNotFound = counter("sni_not_found");
    this.bytes = stats.histogram("tls_inspector.bytes_processed");
  }
}

/** Makes the filter of each connection. */
export function tlsInspector(config: TlsInspectorConfig, stats: Stats): () => ListenerFilter {
  const counted = new InspectorStats(stats);
  return () => new TlsInspector(config, counted);
}

class TlsInspector implements ListenerFilter {
  readonly maxReadBytes: number;
  readonly #config: TlsInspectorConfig;
  readonly #stats: InspectorStats;
  readonly #reader: ClientHelloReader;

  constructor(config: TlsInspectorConfig, stats: InspectorStats) {
    this.#config = config;
    this.#stats = stats;
    this.#reader = new ClientHelloReader(config.maxHelloBytes);
    this.maxReadBytes = config.maxHelloBytes * RECORD_OVERHEAD;
  }

  onAccept(): Verdict {
    return Verdict.NEED_MORE;
  }

  onData(facts: SocketFacts, bytes: Buffer): Verdict {
    const state = this.#reader.read(bytes);
    if (state === HelloState.MORE) return Verdict.NEED_MORE;
    const stats = this.#stats;
    stats.bytes.record(bytes.length);
    switch (state) {
      case HelloState.FOUND:
        this.#note(facts, this.#reader.hello!);
        return Verdict.CONTINUE;
      case HelloState.TOO_LARGE:
        stats.tooLarge.inc();
        facts.failure = `tls_inspector: the hello has more than ${this.#config.maxHelloBytes} bytes`;
        return Verdict.CLOSE;
      case HelloState.BROKEN:
        stats.notFound.inc();
        if (!this.#config.closeOnBrokenHello) return Verdict.CONTINUE;
        facts.failure = "tls_inspector: a malformed hello";
        return Verdict.CLOSE;
      case HelloState.NOT_TLS:
        stats.notFound.inc();
        return Verdict.CONTINUE;
    }
  }

  #note(facts: SocketFacts, hello: ClientHello): void {
    const stats = this.#stats;
    stats.found.inc();
    (hello.serverName === "" ? stats.nameNotFound : stats.nameFound).inc();
    (hello.protocols.length === 0 ? stats.protocolsNotFound : stats.protocolsFound).inc();
    facts.transportProtocol = "tls";
    facts.serverName = hello.serverName;
    if (hello.protocols.length > 0) facts.applicationProtocols = hello.protocols;
    if (this.#config.ja3) facts.ja3 = ja3(hello);
    if (this.#config.ja4) facts.ja4 = ja4(hello);
  }
}
