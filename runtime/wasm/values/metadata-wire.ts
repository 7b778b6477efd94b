/** Serializes `envoy.config.core.v3.Metadata` and `Locality` from plain values, for properties that are whole messages. */
import { WireType } from "../../codec/proto-wire.ts";

/** `filter_metadata` (1): namespace to google.protobuf.Struct. */
export function metadataMessage(namespaces: Iterable<readonly [string, unknown]>): Buffer {
  const entries: Buffer[] = [];
  for (const [name, fields] of namespaces) {
    entries.push(field(1, Buffer.concat([field(1, Buffer.from(name)), field(2, structMessage(fields))])));
  }
  return Buffer.concat(entries);
}

/** google.protobuf.Struct: `fields` (1) is a map of string to Value. */
export function structMessage(value: unknown): Buffer {
  if (typeof value !== "object" || value === null) return Buffer.alloc(0);
  const entries = Object.entries(value).map(([key, one]) =>
    field(1, Buffer.concat([field(1, Buffer.from(key)), field(2, valueMessage(one))])),
  );
  return Buffer.concat(entries);
}

export function localityMessage(region: string, zone: string, subZone: string): Buffer {
  const texts = [region, zone, subZone];
  return Buffer.concat(texts.map((text, n) => (text === "" ? Buffer.alloc(0) : field(n + 1, Buffer.from(text)))));
}

/** google.protobuf.Value: null 1, number 2, string 3, bool 4, struct 5, list 6. */
function valueMessage(value: unknown): Buffer {
  switch (typeof value) {
    case "number": {
      const bytes = Buffer.alloc(9);
      bytes[0] = (2 << 3) | WireType.FIXED64;
      bytes.writeDoubleLE(value, 1);
      return bytes;
    }
    case "string":
      return field(3, Buffer.from(value));
    case "boolean":
      return Buffer.of((4 << 3) | WireType.VARINT, value ? 1 : 0);
    case "object":
      if (value === null) break;
      if (Array.isArray(value)) return field(6, Buffer.concat(value.map((one) => field(1, valueMessage(one)))));
      return field(5, structMessage(value));
    default:
  }
  return Buffer.of((1 << 3) | WireType.VARINT, 0);
}

function field(number: number, contents: Buffer): Buffer {
  const head: number[] = [(number << 3) | WireType.DELIMITED];
  let left = contents.length;
  while (left > 0x7f) {
    head.push((left & 0x7f) | 0x80);
    left >>>= 7;
  }
  head.push(left);
  return Buffer.concat([Buffer.from(head), contents]);
}
