/** The part of the snapshot that configures the network filters of the host itself. */
import type { ConnectionHashPolicy } from "./hash-policy-snapshot.ts";
import type { AccessLogConfig, HeaderMutation, StringMatcher } from "./snapshot.ts";

/** Every network filter but http_connection_manager and Wasm modules. */
export type NativeFilterConfig =
  | { readonly kind: "tcp_proxy"; readonly name: string; readonly tcp: TcpProxyConfig }
  | { readonly kind: "echo"; readonly name: string }
  | { readonly kind: "direct_response"; readonly name: string; readonly response: Uint8Array }
  | { readonly kind: "sni_cluster"; readonly name: string }
  | { readonly kind: "connection_limit"; readonly name: string; readonly limit: ConnectionLimitConfig }
  | { readonly kind: "rbac"; readonly name: string; readonly rbac: NetworkRbacConfig };

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy. */
export interface TcpProxyConfig {
  readonly statPrefix: string;
  /** One entry for `cluster`, several for `weighted_clusters`. */
  readonly clusters: readonly {
    readonly name: string;
    readonly weight: number;
    /** Added to tcp_proxy's own. */
    readonly metadataMatch?: Readonly<Record<string, unknown>> | undefined;
  }[];
  /** The metadata `envoy.lb` that hosts must have; absent: any. */
  readonly metadataMatch?: Readonly<Record<string, unknown>> | undefined;
  /** Absent: connections have no hash. */
  readonly hashPolicy?: ConnectionHashPolicy | undefined;
  /** Absent: hosts get the bytes as they are. */
  readonly tunneling?: TunnelingConfig | undefined;
  /** 0: never. Envoy: `idle_timeout`, 1 hour. */
  readonly idleTimeoutMs: number;
  /** 0: never. Envoy: `max_downstream_connection_duration`. */
  readonly maxConnectionDurationMs: number;
  /** Percent of that duration that are added at random. */
  readonly maxConnectionDurationJitterPercent: number;
  readonly maxConnectAttempts: number;
  /** True: no host is asked for before downstream has sent something. */
  readonly connectOnData: boolean;
  /** Bytes that are read before there is a host; 0: none. */
  readonly maxEarlyDataBytes: number;
  /** Waits before further attempts; undefined: none. */
  readonly backoff: { readonly baseMs: number; readonly maxMs: number } | undefined;
  readonly accessLogs: readonly AccessLogConfig[];
  /** Milliseconds between records of a connection that lives on; 0: one record at its end. */
  readonly accessLogFlushIntervalMs: number;
  readonly accessLogOnConnected: boolean;
  readonly accessLogOnStart: boolean;
}

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig. */
export interface TunnelingConfig {
  /** A format string: what the host is to connect to. */
  readonly hostname: string;
  /** POST in the place of CONNECT. */
  readonly post: boolean;
  readonly postPath: string;
  readonly headers: HeaderMutation;
}

/** envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit. */
export interface ConnectionLimitConfig {
  readonly statPrefix: string;
  readonly maxConnections: number;
  /** Milliseconds that a connection over the limit is kept waiting before it is closed. */
  readonly delayMs: number;
  /** What holds while the runtime does not have the key. */
  readonly enabled: boolean;
  readonly runtimeKey: string;
  /** Names the count that all workers share; as unique as the place in the configuration. */
  readonly countKey: string;
}

/** envoy.extensions.filters.network.rbac.v3.RBAC. */
export interface NetworkRbacConfig {
  readonly statPrefix: string;
  readonly shadowStatPrefix: string;
  readonly rules: RbacRules | undefined;
  readonly shadowRules: RbacRules | undefined;
  /** False: the first bytes decide for the connection. */
  readonly continuous: boolean;
  /** Milliseconds that a refused connection is kept waiting before it is closed. */
  readonly delayDenyMs: number;
}

/** envoy.config.rbac.v3.RBAC. */
export interface RbacRules {
  readonly action: "ALLOW" | "DENY" | "LOG";
  /** By name, in the order in which they are tried. */
  readonly policies: readonly { readonly name: string; readonly match: RbacMatcher }[];
}

/** Permissions and principals alike: what a connection may be, and who. */
export type RbacMatcher =
  | { readonly kind: "and" | "or"; readonly of: readonly RbacMatcher[] }
  | { readonly kind: "not"; readonly of: RbacMatcher }
  | { readonly kind: "any" | "never" }
  /** `10.0.0.0/8`; `whose`: the destination, the peer that listener filters restored, or the physical one. */
  | { readonly kind: "ip"; readonly whose: "destination" | "remote" | "direct_remote"; readonly cidr: string }
  /** From `start` to below `end`. */
  | { readonly kind: "port"; readonly start: number; readonly end: number }
  | { readonly kind: "server_name"; readonly name: StringMatcher }
  | { readonly kind: "metadata"; readonly metadata: MetadataMatcher }
  | { readonly kind: "filter_state"; readonly key: string; readonly value: StringMatcher }
  /** A peer whose certificate passed validation; `name`: one of its URI or DNS names, or its subject. */
  | { readonly kind: "authenticated"; readonly name: StringMatcher | undefined };

/** envoy.type.matcher.v3.MetadataMatcher. */
export interface MetadataMatcher {
  readonly namespace: string;
  readonly path: readonly string[];
  readonly value: ValueMatcher;
  readonly invert: boolean;
}

/** envoy.type.matcher.v3.ValueMatcher. */
export type ValueMatcher =
  | { readonly kind: "null" }
  | { readonly kind: "bool" | "present"; readonly value: boolean }
  /** `end` is not in the range; the same as `start` for one number. */
  | { readonly kind: "double"; readonly start: number; readonly end: number }
  | { readonly kind: "string"; readonly string: StringMatcher }
  /** Some member of a list. */
  | { readonly kind: "one_of"; readonly value: ValueMatcher }
  | { readonly kind: "or"; readonly of: readonly ValueMatcher[] };
