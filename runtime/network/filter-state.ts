/** Keys of filter state by which network filters tell each other something; the names are Envoy's. */
import type { StreamInfo } from "../observe/stream-info.ts";

/** The cluster of tcp_proxy. */
export const CLUSTER_STATE = "envoy.tcp_proxy.cluster";
/** The idle timeout of tcp_proxy, in milliseconds, as text. */
export const IDLE_TIMEOUT_STATE = "envoy.tcp_proxy.per_connection_idle_timeout_ms";

/** `true`: a connection of a tcp_proxy with tunneling_config goes without a tunnel. */
export const DISABLE_TUNNELING_STATE = "envoy.tcp_proxy.disable_tunneling";

/** A value as text; undefined when nobody set it. */
export function stateText(stream: StreamInfo, key: string): string | undefined {
  const bytes = stream.stateOf(key);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8");
}
