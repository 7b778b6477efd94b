/**
 * What of Envoy's messages is used here. A field that is set but neither used nor listed as ignored is an error:
 * better refused than silently without effect. Messages that are not in the table are used as a whole.
 */
import { isDefault } from "../document/merge.ts";
import { Message, type Slot } from "../document/message.ts";
import type { Problems } from "../problem.ts";
import { IGNORED_FIELDS, REFUSED_FIELDS, SUPPORTED_FIELDS } from "./support-table.ts";

/** Reports fields and message types that are not supported yet, and warns of the ones that have no effect. */
export function checkSupport(message: Message, problems: Problems): void {
  if (message.any !== undefined) checkSupport(message.any, problems);
  else if (message.anyType !== "" && message.type.name === "google.protobuf.Any") checkOpaque(message, problems);
  const supported = SUPPORTED_FIELDS.get(message.type.name);
  const ignored = IGNORED_FIELDS.get(message.type.name);
  for (const slot of message.slots.values()) {
    const name = slot.field.name;
    if (supported !== undefined && !supported.has(name) && isUsed(slot)) {
      const path = message.pathOf(name);
      const reason = ignored?.get(name) ?? ignored?.get("*");
      const refusal = REFUSED_FIELDS.get(message.type.name)?.get(name);
      if (refusal !== undefined) problems.error(slot.at, path, "not-supported", `not supported: ${name}: ${refusal}`);
      else if (reason === undefined) problems.error(slot.at, path, "not-supported", `not supported yet: ${name}`);
      else problems.warn(slot.at, path, "ignored", `the field has no effect: ${reason}`);
      continue;
    }
    if (
      message.type.name === "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter" &&
      isSkipped(message)
    )
      continue;
    const { value } = slot;
    const members = Array.isArray(value) ? value : value instanceof Map ? value.values() : [value];
    for (const member of members) if (member instanceof Message) checkSupport(member, problems);
  }
}

/** True for an HTTP filter that its author allows to be missing, and that is missing here. */
export function isSkipped(filter: Message): boolean {
  const any = filter.message("typed_config");
  return filter.flag("is_optional") && any !== undefined && any.anyType !== "" && any.any === undefined;
}

function checkOpaque(any: Message, problems: Problems): void {
  if (any.hasFailed("type_url")) return;
  // Unknown types have been reported; what is left are types that Envoy has and we do not.
  problems.error(any.at, any.path, "not-supported", `not supported yet: ${any.anyType}`);
}

/** A default value says what holds anyway. */
function isUsed({ value }: Slot): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (!(value instanceof Message)) return !isDefault(value);
  return value.type.name !== "google.protobuf.BoolValue" || value.flag("value");
}
