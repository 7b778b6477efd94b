/** envoy.config.core.v3.Metadata. */
import type { Message } from "../document/message.ts";

/** `metadata.filter_metadata` of a message, or that of another field: namespace to its struct. */
export function filterMetadata(owner: Message, field = "metadata"): Readonly<Record<string, unknown>> {
  const entries = owner.message(field)?.map("filter_metadata") ?? new Map<string, never>();
  return Object.fromEntries(
    [...entries].map(([key, value]) => [key, typeof value === "object" && "json" in value ? value.json : undefined]),
  );
}

/** What `metadata_match` wants of the metadata that balancers look at; nothing for none. */
export function metadataMatch(owner: Message): { readonly metadataMatch?: Readonly<Record<string, unknown>> } {
  const wanted = filterMetadata(owner, "metadata_match")["envoy.lb"];
  return wanted === undefined ? {} : { metadataMatch: wanted as Readonly<Record<string, unknown>> };
}
