/** envoy.config.core.v3.Metadata. */
import type { Message } from "../document/message.ts";

/** `metadata.filter_metadata` of a message: namespace to its struct. */
export function filterMetadata(owner: Message): Readonly<Record<string, unknown>> {
  const entries = owner.message("metadata")?.map("filter_metadata") ?? new Map<string, never>();
  return Object.fromEntries(
    [...entries].map(([key, value]) => [key, typeof value === "object" && "json" in value ? value.json : undefined]),
  );
}
