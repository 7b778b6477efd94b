/** The part of the snapshot that is about particular kinds of clusters. */

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
