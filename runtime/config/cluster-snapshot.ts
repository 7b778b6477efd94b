/** The part of the snapshot that is about particular kinds of clusters. */

/** envoy.config.core.v3.BindConfig: the local addresses of connections to hosts, in Envoy's order of choice. */
export type SourceAddresses = readonly [string, ...string[]];

/** envoy.config.cluster.v3.Cluster.OriginalDstLbConfig, for clusters of the type ORIGINAL_DST. */
export interface OriginalDstConfig {
  /** Header that may name the destination, lower case; "": none. Envoy: `use_http_header`, `http_header_name`. */
  readonly header: string;
  /** Where in dynamic metadata the destination may stand: namespace, then keys; empty: nowhere. */
  readonly metadataPath: readonly string[];
  /** 0: the destination's own port. Envoy: `upstream_port_override`. */
  readonly port: number;
  /** A host that took nothing for that long is forgotten. Envoy: `cleanup_interval`, 5 s. */
  readonly cleanupIntervalMs: number;
}

/** How hosts are found by hashes: ring_hash_lb_config, maglev_lb_config and consistent_hashing_lb_config of a cluster. */
export interface HashingConfig {
  /** Of the policy RING_HASH. Envoy: 1,024 and 8,388,608. */
  readonly minimumRingSize: number;
  readonly maximumRingSize: number;
  readonly function: "XX_HASH" | "MURMUR_HASH_2";
  /** Places of the table of the policy MAGLEV, a prime. Envoy: 65,537. */
  readonly tableSize: number;
  /** Hosts are told apart by name and not by address. */
  readonly useHostname: boolean;
  /** Percent of its share of requests that a host gets at most; absent: no bound. Envoy: `hash_balance_factor`. */
  readonly balanceFactor?: number | undefined;
}

/** envoy.config.cluster.v3.Cluster.LeastRequestLbConfig. */
export interface LeastRequestConfig {
  /** Hosts that are drawn, of which the least busy serves. Envoy: `choice_count`, 2. */
  readonly choices: number;
  /** How much the load of a host takes from its weight. Envoy: `active_request_bias`, 1. */
  readonly bias: number;
}

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig, of clusters that have selectors. */
export interface SubsetsConfig {
  readonly fallback: "NO_FALLBACK" | "ANY_ENDPOINT" | "DEFAULT_SUBSET";
  readonly defaultSubset: Readonly<Record<string, unknown>>;
  readonly selectors: readonly SubsetSelector[];
  readonly panicModeAny: boolean;
  readonly listAsAny: boolean;
  /** `metadata_fallback_policy: FALLBACK_LIST`. */
  readonly fallbackList: boolean;
}

/** Hosts that have the same values under these keys are one subset. */
export interface SubsetSelector {
  /** Sorted, each once. */
  readonly keys: readonly string[];
  readonly fallback: "NOT_DEFINED" | "NO_FALLBACK" | "ANY_ENDPOINT" | "DEFAULT_SUBSET" | "KEYS_SUBSET";
  /** Some of `keys`, of the fallback KEYS_SUBSET. */
  readonly fallbackKeys: readonly string[];
  readonly singleHost: boolean;
}

/** envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport: hosts are told who downstream is. */
export interface UpstreamProxyProtocol {
  readonly version: 1 | 2;
  /** Types of fields of downstream's own header that are passed on. */
  readonly passed: PassedFields;
  readonly added: readonly { readonly type: number; readonly value: Uint8Array }[];
}

/** envoy.config.core.v3.ProxyProtocolPassThroughTLVs. */
export type PassedFields = "all" | readonly number[];

/** What ejects a host, as statistics name it. */
export type OutlierKind =
  | "consecutive_5xx"
  | "consecutive_gateway_failure"
  | "consecutive_local_origin_failure"
  | "success_rate"
  | "local_origin_success_rate"
  | "failure_percentage"
  | "local_origin_failure_percentage";

/** envoy.config.cluster.v3.OutlierDetection. */
export interface OutlierConfig {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayFailure: number;
  readonly consecutiveLocalOriginFailure: number;
  /** Connections that fail, and answers that do not come in time, are told apart from answers. */
  readonly split: boolean;
  readonly intervalMs: number;
  readonly baseEjectionTimeMs: number;
  readonly maxEjectionTimeMs: number;
  readonly maxEjectionTimeJitterMs: number;
  readonly maxEjectionPercent: number;
  readonly alwaysEjectOneHost: boolean;
  readonly successRateMinimumHosts: number;
  readonly successRateRequestVolume: number;
  /** In thousandths. */
  readonly successRateStdevFactor: number;
  readonly failurePercentageThreshold: number;
  readonly failurePercentageMinimumHosts: number;
  readonly failurePercentageRequestVolume: number;
  /** Percent of what is detected that ejects the host. */
  readonly enforcing: Readonly<Record<OutlierKind, number>>;
}
