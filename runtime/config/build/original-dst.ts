/** envoy.config.cluster.v3.Cluster.OriginalDstLbConfig. */
import { ORIGINAL_DST_CLEANUP_MS } from "../../limits.ts";
import type { OriginalDstConfig } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

const HEADER = "x-envoy-original-dst-host";

/** How a cluster of the type ORIGINAL_DST finds its hosts. */
export function buildOriginalDst(context: BuildContext, cluster: Message): OriginalDstConfig {
  const config = cluster.message("original_dst_lb_config");
  const key = config?.message("metadata_key");
  const segments = key?.messages("path").map((segment) => segment.text("key")) ?? [];
  const named = config?.has("http_header_name") === true;
  if (named && !config.flag("use_http_header"))
    context.error(
      config,
      "http_header_name",
      "cluster",
      "ORIGINAL_DST cluster: invalid config http_header_name=* and use_http_header=false. Set use_http_header to true if http_header_name is desired",
    );
  const header = named ? context.header(config, "http_header_name") : HEADER;
  return {
    header: config?.flag("use_http_header") === true ? header : "",
    metadataPath: key === undefined ? [] : [key.text("key"), ...segments],
    port: config?.wrappedNumber("upstream_port_override", 0) ?? 0,
    cleanupIntervalMs: context.millis(cluster, "cleanup_interval", ORIGINAL_DST_CLEANUP_MS),
  };
}
