/** envoy.config.overload.v3.OverloadManager: the bound of downstream connections. */
import type { Message } from "../document/message.ts";
import type { Snapshot } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

const DOWNSTREAM = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
/** What Envoy read before there was a resource monitor, and still reads. */
const RUNTIME_KEY = "overload.global_downstream_max_connections";

/** Downstream connections of the process at most; the resource monitor before the runtime key, as in Envoy. */
export function buildMaxConnections(context: BuildContext, bootstrap: Message, runtime: Snapshot["runtime"]): number {
  const fallback = runtime[RUNTIME_KEY];
  let most = typeof fallback === "number" ? fallback : Infinity;
  for (const monitor of bootstrap.message("overload_manager")?.messages("resource_monitors") ?? []) {
    const any = monitor.message("typed_config");
    if (any?.any === undefined) continue;
    if (any.anyType === DOWNSTREAM) most = any.any.number("max_active_downstream_connections");
    else context.unsupported(monitor, "typed_config", `the resource monitor ${any.anyType}`);
  }
  return most;
}
