import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import protobuf from "protobufjs/minimal.js";
import { ProtoCursor, WireType } from "../../runtime/codec/proto-wire.ts";

type Field = readonly [number: number, wire: number, content: bigint | Uint8Array];

const number = fc.integer({ min: 1, max: 2 ** 29 - 1 });
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const field: fc.Arbitrary<Field> = fc.oneof(
  fc.tuple(number, fc.constant(WireType.VARINT), fc.bigInt(0n, 2n ** 53n)),
  fc.tuple(number, fc.constant(WireType.FIXED64), bytesOf(8)),
  fc.tuple(number, fc.constant(WireType.DELIMITED), fc.uint8Array({ maxLength: 200 })),
  fc.tuple(number, fc.constant(WireType.FIXED32), bytesOf(4)),
);

function written(fields: readonly Field[]): Buffer {
  const writer = protobuf.Writer.create();
  for (const [of, wire, content] of fields) {
    writer.uint32(((of << 3) | wire) >>> 0);
    if (typeof content === "bigint") writer.uint64(content.toString());
    else if (wire === WireType.DELIMITED) writer.bytes(content);
    else for (const byte of content) writer.uint32(byte & 0x7f);
  }
  return Buffer.from(writer.finish());
}

/** Fixed fields hold what {@link written} can write of them: bytes below 128. */
function expected([of, wire, content]: Field): Field {
  if (typeof content === "bigint" || wire === WireType.DELIMITED) return [of, wire, content];
  return [of, wire, content.map((byte) => byte & 0x7f)];
}

function read(bytes: Buffer): { readonly fields: readonly Field[]; readonly malformed: boolean } {
  const fields: Field[] = [];
  const cursor = new ProtoCursor(bytes);
  while (cursor.next()) {
    const { number: of, wire, value, content } = cursor;
    fields.push([of, wire, wire === WireType.VARINT ? BigInt(value) : new Uint8Array(content)]);
  }
  return { fields, malformed: cursor.malformed };
}

test("fields come back as protobufjs wrote them, and a message that is cut inside of one is malformed", () => {
  fc.assert(
    fc.property(fc.array(field, { maxLength: 8 }), fc.nat(), (fields, cut) => {
      const bytes = written(fields);
      assert.deepEqual(read(bytes), { fields: fields.map(expected), malformed: false });
      const ends = fields.map((_, at) => written(fields.slice(0, at + 1)).length);
      const length = cut % (bytes.length + 1);
      const whole = length === 0 || ends.includes(length);
      assert.equal(read(bytes.subarray(0, length)).malformed, !whole);
    }),
  );
});

test("whatever the bytes are, the walk ends inside them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const held = read(Buffer.from(bytes)).fields.flatMap(([, , content]) =>
        typeof content === "bigint" ? [] : content,
      );
      assert.ok(held.every((content) => content.length <= bytes.length));
    }),
  );
});

for (const [what, bytes] of [
  ["a field of number 0", [0x00, 0x01]],
  ["a group", [0x0b, 0x0c]],
  ["a tag of more than 32 bits", [0x88, 0x80, 0x80, 0x80, 0x10, 0x01]],
  ["a varint of eleven bytes", [0x08, ...Array<number>(10).fill(0x80), 0x01]],
  ["a length past the end", [0x0a, 0x02, 0x61]],
] as const) {
  test(`${what} is malformed`, () => {
    assert.deepEqual(read(Buffer.from(bytes)), { fields: [], malformed: true });
  });
}
