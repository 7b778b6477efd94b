/** Structs that guests hand over: what protobuf writes reads back, and nothing else breaks the reader. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { structMessage } from "../../runtime/wasm/values/metadata-wire.ts";
import { readStruct } from "../../runtime/wasm/values/struct-wire.ts";
import { fc } from "../properties.ts";

const object = fc
  .dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 4 }), { noNullPrototype: true })
  .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>);

test("any object reads back", () => {
  fc.assert(fc.property(object, (value) => assert.deepEqual(readStruct(structMessage(value)), value)));
});

test("damaged bytes give an object or nothing, and never throw", () => {
  const damaged = fc.tuple(object, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([value, at, byte]) => {
    const bytes = structMessage(value);
    if (bytes.length > 0) bytes[at % bytes.length] = byte;
    return bytes.subarray(0, Math.max(0, bytes.length - (at % 3)));
  });
  fc.assert(
    fc.property(damaged, (bytes) => {
      const value = readStruct(bytes);
      assert.ok(value === undefined || typeof value === "object");
    }),
  );
});

test("a key named __proto__ is a key", () => {
  const value = JSON.parse('{ "__proto__": { "polluted": true } }') as Record<string, unknown>;
  assert.deepEqual(readStruct(structMessage(value)), value);
  assert.equal(Object.hasOwn({}, "polluted"), false);
});

/** A Struct whose only field holds a Struct, and so on; written from the inside. */
function deep(depth: number): Buffer {
  let bytes: Buffer = Buffer.alloc(0);
  for (let n = 0; n < depth; n++) {
    const value = lengthDelimited(5, bytes);
    bytes = lengthDelimited(1, Buffer.concat([lengthDelimited(1, Buffer.from("in")), lengthDelimited(2, value)]));
  }
  return bytes;
}

function lengthDelimited(number: number, content: Buffer): Buffer {
  const head = [number * 8 + 2];
  let length = content.length;
  for (; length > 127; length >>>= 7) head.push((length & 127) | 128);
  return Buffer.concat([Buffer.from([...head, length]), content]);
}

const nested = (depth: number): Record<string, unknown> => (depth === 0 ? {} : { in: nested(depth - 1) });
for (const [what, bytes] of [
  ["33 structs inside each other", deep(33)],
  ["3,000 structs inside each other", deep(3000)],
  ["a length past the end", Buffer.from([0x0a, 5, 1])],
  ["a field number of 0", Buffer.from([0x02, 0])],
  ["a group", Buffer.from([0x0b, 0x0c])],
  ["a varint without an end", Buffer.alloc(12, 0xff)],
] as const) {
  test(`refused: ${what}`, () => assert.equal(readStruct(bytes), undefined));
}

test("32 structs inside each other are read", () => assert.deepEqual(readStruct(deep(32)), nested(32)));
