/** The listener filters that are built in, and which connections each looks at. */
import type { ListenerFilterKind, ListenerFilterPredicate } from "../config/listener-snapshot.ts";
import type { Stats } from "../observe/stats.ts";
import type { ListenerConfig } from "../config/snapshot.ts";
import type { ListenerFilterFactory, SocketFacts } from "./listener-filter.ts";
import { httpInspector } from "./http-inspector.ts";
import { needOriginalDestinations } from "./native-sockets.ts";
import { originalDst, transparentDst } from "./original-dst.ts";
import { proxyProtocol } from "./proxy-protocol.ts";
import { tlsInspector } from "./tls-inspector.ts";

/** A listener filter of a listener, made once. */
export interface ConfiguredFilter {
  readonly factory: ListenerFilterFactory;
  /** True for connections that the filter leaves alone; null: there are none. */
  readonly disabled: ((facts: SocketFacts) => boolean) | null;
}

/** Makes the filters of a listener. Throws ProxyError NATIVE_SOCKETS where this system does not have what one of them asks of it. */
export function listenerFilters(config: ListenerConfig, stats: Stats): ConfiguredFilter[] {
  return config.listenerFilters.map(({ name, filter, disabled }) => ({
    factory: { name, create: creator(filter, config, stats) },
    disabled: disabled === undefined ? null : predicate(disabled),
  }));
}

function creator(filter: ListenerFilterKind, config: ListenerConfig, stats: Stats): ListenerFilterFactory["create"] {
  switch (filter.kind) {
    case "original_dst": {
      if (config.socket.transparent === true) return () => transparentDst;
      needOriginalDestinations();
      return () => originalDst;
    }
    case "tls_inspector":
      return tlsInspector(filter, stats);
    case "http_inspector":
      return httpInspector(stats);
    case "proxy_protocol":
      return proxyProtocol(filter, stats, `listener.${config.statPrefix}.`);
  }
}

function predicate(rule: ListenerFilterPredicate): (facts: SocketFacts) => boolean {
  switch (rule.kind) {
    case "any":
      return () => true;
    case "not": {
      const inner = predicate(rule.rule);
      return (facts) => !inner(facts);
    }
    case "or": {
      const rules = rule.rules.map(predicate);
      return (facts) => rules.some((one) => one(facts));
    }
    case "and": {
      const rules = rule.rules.map(predicate);
      return (facts) => rules.every((one) => one(facts));
    }
    case "destination_port":
      return ({ localPort }) => localPort >= rule.start && localPort < rule.end;
  }
}
