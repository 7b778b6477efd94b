/** envoy.config.core.v3.Node, and what the command line adds to it. */
import { Message } from "../document/message.ts";
import { encodeMessage } from "../schema/wire.ts";
import type { Schema } from "../schema/schema.ts";
import type { NodeConfig } from "../snapshot.ts";

/** `--service-node`, `--service-cluster`, `--service-zone`: used where the bootstrap leaves the field empty. */
export interface NodeOptions {
  readonly serviceCluster?: string | undefined;
  readonly serviceNode?: string | undefined;
  readonly serviceZone?: string | undefined;
}

/** The node of a bootstrap; the options are written into its message, so that the dump shows them too. */
export function buildNode(schema: Schema, bootstrap: Message, options: NodeOptions): NodeConfig {
  const node = child(schema, bootstrap, "node");
  fill(node, "id", options.serviceNode);
  fill(node, "cluster", options.serviceCluster);
  if (options.serviceZone !== undefined) fill(child(schema, node, "locality"), "zone", options.serviceZone);
  const locality = node.message("locality");
  return {
    id: node.text("id"),
    cluster: node.text("cluster"),
    zone: locality?.text("zone") ?? "",
    region: locality?.text("region") ?? "",
    subZone: locality?.text("sub_zone") ?? "",
    metadata: (node.message("metadata")?.json ?? {}) as Readonly<Record<string, unknown>>,
    serialized: encodeMessage(node),
  };
}

function child(schema: Schema, owner: Message, name: string): Message {
  const found = owner.message(name);
  if (found !== undefined) return found;
  const field = owner.type.byName.get(name);
  const made = new Message(schema.expect(field?.typeName ?? ""), owner.at, owner.pathOf(name));
  if (field !== undefined) owner.slots.set(name, { field, value: made, at: owner.at, spots: [] });
  return made;
}

function fill(message: Message, name: string, value: string | undefined): void {
  const field = message.type.byName.get(name);
  if (value === undefined || field === undefined || message.text(name) !== "") return;
  message.slots.set(name, { field, value, at: message.at, spots: [] });
}
