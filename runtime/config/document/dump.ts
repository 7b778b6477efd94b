/** Messages as protobuf JSON in snake_case, for `/config_dump`. */
import { Message, type Slot } from "./message.ts";
import { isDefault } from "./merge.ts";
import { isStruct, isWrapper } from "./well-known.ts";
import type { Field, Schema } from "../schema/schema.ts";

/** The JSON of a message; secret fields read "[redacted]". */
export function dumpMessage(message: Message, schema: Schema): unknown {
  const name = message.type.name;
  if (name === "google.protobuf.Any") return dumpAny(message, schema);
  if (isStruct(name))
    return message.json ?? (name === "google.protobuf.ListValue" ? [] : name === "google.protobuf.Struct" ? {} : null);
  if (name === "google.protobuf.Duration") return durationText(message);
  if (name === "google.protobuf.Timestamp") return timestampText(message);
  if (name === "google.protobuf.FieldMask") return message.texts("paths").join(",");
  if (isWrapper(name)) {
    const slot = message.slots.get("value");
    return slot === undefined ? null : dumpSlot(slot, schema);
  }
  const result: [string, unknown][] = [];
  for (const slot of message.slots.values()) {
    if (!slot.field.presence && isDefault(slot.value)) continue;
    result.push([slot.field.name, slot.field.sensitive ? "[redacted]" : dumpSlot(slot, schema)]);
  }
  return Object.fromEntries(result);
}

/** `1.500s`: nine, six or three digits as needed. */
export function durationText(message: Message): string {
  const [seconds, nanos] = [message.number("seconds"), message.number("nanos")];
  const sign = seconds < 0 || nanos < 0 ? "-" : "";
  return `${sign}${Math.abs(seconds)}${fraction(Math.abs(nanos))}s`;
}

function timestampText(message: Message): string {
  const whole = new Date(message.number("seconds") * 1000).toISOString().slice(0, 19);
  return `${whole}${fraction(message.number("nanos"))}Z`;
}

function fraction(nanos: number): string {
  if (nanos === 0) return "";
  const digits = String(nanos).padStart(9, "0");
  return `.${digits.endsWith("000000") ? digits.slice(0, 3) : digits.endsWith("000") ? digits.slice(0, 6) : digits}`;
}

function dumpAny(message: Message, schema: Schema): unknown {
  if (message.anyType === "") return {};
  const type = `type.googleapis.com/${message.anyType}`;
  if (message.any === undefined) return { "@type": type };
  const content = dumpMessage(message.any, schema);
  const inline = typeof content === "object" && content !== null && !isStruct(message.anyType);
  return inline ? { "@type": type, ...content } : { "@type": type, value: content };
}

function dumpSlot(slot: Slot, schema: Schema): unknown {
  const { value, field } = slot;
  if (Array.isArray(value)) return value.map((item) => dumpValue(item, field, schema));
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [key, dumpValue(item, field, schema)]));
  return dumpValue(value, field, schema);
}

function dumpValue(value: unknown, field: Field, schema: Schema): unknown {
  if (value instanceof Message) return dumpMessage(value, schema);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (field.kind === "enum" && typeof value === "number")
    return schema.enum(field.typeName)?.byNumber.get(value) ?? value;
  // 64-bit numbers are texts in protobuf JSON.
  if (typeof value === "bigint" || (typeof value === "number" && field.kind.endsWith("64"))) return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value;
}
