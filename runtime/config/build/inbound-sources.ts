/**
 * Connections of a sidecar to the application beside it must be told from its others by where they come from: the rules of
 * `sluice sidecar iptables`, as Istio's, lead the others that end at the sidecar's own machine back into it.
 */
import { SIDECAR_SOURCE_V4, SIDECAR_SOURCE_V6 } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** Warns of clusters that pass inbound connections on to where they wanted to go, from an address like any other. */
export function checkInboundSources(
  context: BuildContext,
  listeners: readonly Message[],
  clusters: readonly Message[],
): void {
  const suspects = clusters.filter(
    (one) => context.enumName(one, "type") === "ORIGINAL_DST" && !one.has("upstream_bind_config"),
  );
  if (suspects.length === 0) return;
  for (const listener of listeners) {
    if (context.enumName(listener, "traffic_direction") !== "INBOUND" || !restoresDestination(listener)) continue;
    const used = new Set(clusterNames(listener));
    for (const cluster of suspects) {
      const name = cluster.text("name");
      if (used.has(name))
        context.warn(
          cluster,
          "",
          "source-address",
          `cluster ${name} passes connections of the inbound listener ${listener.text("name")} on: without an upstream_bind_config of ${SIDECAR_SOURCE_V4} and ${SIDECAR_SOURCE_V6} the rules of a sidecar lead them back to it`,
        );
    }
  }
}

function restoresDestination(listener: Message): boolean {
  return listener
    .messages("listener_filters")
    .some((filter) => filter.message("typed_config")?.any?.type.name.endsWith(".original_dst.v3.OriginalDst") === true);
}

/** Wherever they stand in it. */
function* clusterNames(message: Message): Generator<string> {
  if (message.any !== undefined) yield* clusterNames(message.any);
  if (message.type.name.endsWith(".ClusterWeight")) yield message.text("name");
  for (const [field, { value }] of message.slots) {
    if (field === "cluster" && typeof value === "string") yield value;
    const members = Array.isArray(value) ? value : value instanceof Map ? value.values() : [value];
    for (const member of members) if (typeof member === "object" && "slots" in member) yield* clusterNames(member);
  }
}
