/** The part of the snapshot that is about sockets: how they are bound, and which filter chain they get. */
import type { PassedFields } from "./cluster-snapshot.ts";
import type { AccessLogConfig, Address, FilterChainConfig } from "./snapshot.ts";

/** envoy.config.core.v3.TrafficDirection, as far as anybody asks. */
export const INBOUND = 1;

export interface ListenerConfig {
  readonly name: string;
  readonly address: Address;
  readonly additionalAddresses: readonly Address[];
  /** `listener.<statPrefix>.` with `:` as `_`. */
  readonly statPrefix: string;
  readonly bindToPort: boolean;
  readonly reusePort: boolean;
  readonly backlog: number;
  readonly socket: SocketSettings;
  /** `exact`: each accepted connection goes to the worker with the fewest. */
  readonly connectionBalance: "none" | "exact";
  /** Hands connections with a restored destination to the listener that has that address. */
  readonly useOriginalDst: boolean;
  readonly ignoreGlobalConnectionLimit: boolean;
  /** False: `/healthcheck/fail` does not make it close connections. Envoy: `drain_type` MODIFY_ONLY. */
  readonly drainsOnHealthCheckFail: boolean;
  readonly perConnectionBufferLimitBytes: number;
  readonly trafficDirection: number;
  readonly listenerFilters: readonly ListenerFilterConfig[];
  /** 0 = off. Envoy: `listener_filters_timeout`, 15 s. */
  readonly listenerFiltersTimeoutMs: number;
  readonly continueOnListenerFiltersTimeout: boolean;
  readonly filterChains: readonly FilterChainConfig[];
  /** Taken when no chain of `filterChains` matches; undefined: the connection is closed. */
  readonly defaultFilterChain: FilterChainConfig | undefined;
  readonly accessLogs: readonly AccessLogConfig[];
}

/** How the sockets of a listener are made, as far as Envoy's defaults are changed. */
export interface SocketSettings {
  /** IP_TRANSPARENT; undefined: as the system has it. */
  readonly transparent: boolean | undefined;
  /** IP_FREEBIND; undefined: as the system has it. */
  readonly freebind: boolean | undefined;
  /** TCP_FASTOPEN: connections whose handshake is not finished; undefined: as the system has it. */
  readonly tcpFastOpenQueueLength: number | undefined;
  /** `socket_options` of each address: `address` first, then the additional ones. */
  readonly options: readonly (readonly SocketOptionConfig[])[];
}

/** envoy.config.core.v3.SocketOption. */
export interface SocketOptionConfig {
  readonly level: number;
  readonly name: number;
  /** A number is a C int. */
  readonly value: number | Uint8Array;
  /** Set before bind, after it, or after listen. */
  readonly state: "PREBIND" | "BOUND" | "LISTENING";
}

/** One listener filter, in the order of the configuration. */
export interface ListenerFilterConfig {
  /** ListenerFilter.name. */
  readonly name: string;
  /** Connections that the filter leaves alone; undefined: none. */
  readonly disabled: ListenerFilterPredicate | undefined;
  readonly filter: ListenerFilterKind;
}

/** What each listener filter is configured with. */
export type ListenerFilterKind =
  | { readonly kind: "original_dst" }
  | ({ readonly kind: "tls_inspector" } & TlsInspectorConfig)
  | { readonly kind: "http_inspector" }
  | ({ readonly kind: "proxy_protocol" } & ProxyProtocolConfig);

/** envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector. */
export interface TlsInspectorConfig {
  readonly ja3: boolean;
  readonly ja4: boolean;
  readonly maxHelloBytes: number;
  /** What begins as TLS and is no hello ends the connection; else it is taken for something else. */
  readonly closeOnBrokenHello: boolean;
}

/** envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol. */
export interface ProxyProtocolConfig {
  readonly allowMissing: boolean;
  readonly disallowedVersions: readonly (1 | 2)[];
  readonly statPrefix: string;
  /** Types of fields of version 2 that hosts may be told. */
  readonly passed: PassedFields;
  /** Fields of version 2 that become dynamic metadata. */
  readonly rules: readonly { readonly type: number; readonly namespace: string; readonly key: string }[];
}

/** envoy.config.listener.v3.ListenerFilterChainMatchPredicate. */
export type ListenerFilterPredicate =
  | { readonly kind: "or" | "and"; readonly rules: readonly ListenerFilterPredicate[] }
  | { readonly kind: "not"; readonly rule: ListenerFilterPredicate }
  | { readonly kind: "any" }
  /** From `start` to below `end`; of the restored destination where there is one. */
  | { readonly kind: "destination_port"; readonly start: number; readonly end: number };

/** envoy.config.listener.v3.FilterChainMatch; empty lists, "" and 0 match everything. */
export interface FilterChainMatch {
  readonly destinationPort: number;
  /** `10.0.0.0/8`, `2001:db8::/32`. */
  readonly prefixRanges: readonly string[];
  /** Lower case; `*.example.com` stands for every name below. */
  readonly serverNames: readonly string[];
  readonly transportProtocol: string;
  readonly applicationProtocols: readonly string[];
  readonly directSourcePrefixRanges: readonly string[];
  readonly sourceType: "ANY" | "SAME_IP_OR_LOOPBACK" | "EXTERNAL";
  readonly sourcePrefixRanges: readonly string[];
  readonly sourcePorts: readonly number[];
}
