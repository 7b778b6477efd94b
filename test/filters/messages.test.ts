/** Generated message classes against protobufjs: the same bytes mean the same, and no bytes make a guest trap. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { fc } from "../properties.ts";
import { loadGuest } from "./guest.ts";
import type { ScriptedHost } from "./scripted-host.ts";

const PROTO = fileURLToPath(new URL("../guests/messages/messages.proto", import.meta.url));
const Everything = protobuf.loadSync(PROTO).lookupType("test.messages.v1.Everything");

let host: ScriptedHost;
let encoded: Buffer | undefined;

before(async () => {
  host = await loadGuest("test/guests/messages");
  host.foreign.set("encoded", (bytes) => (encoded = bytes));
});

/** What the guest makes of the bytes: encoded anew; undefined when it refuses them. */
function through(bytes: Uint8Array): Buffer | undefined {
  encoded = Buffer.alloc(0);
  return host.start(bytes) ? encoded : undefined;
}

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const uint32 = fc.nat(0xffffffff);
const float = fc.float({ noNaN: true });
const text = fc.string({ unit: "binary", maxLength: 20 }).map((value) => value.toWellFormed());
const bytes = fc.uint8Array({ maxLength: 200 });
const inner = fc.letrec((tie) => ({
  inner: fc.record({ name: text, children: fc.array(tie("inner"), { maxLength: 2 }) }, { requiredKeys: [] }),
})).inner;

const plain = fc.record(
  {
    aDouble: fc.double({ noNaN: true }),
    aFloat: float,
    anInt32: fc.integer(),
    anInt64: int64,
    aUint32: uint32,
    aUint64: uint64,
    aSint32: fc.integer(),
    aSint64: int64,
    aFixed32: uint32,
    aFixed64: uint64,
    aSfixed32: fc.integer(),
    aSfixed64: int64,
    aBool: fc.boolean(),
    aString: text,
    someBytes: bytes,
    color: fc.constantFrom(0, 1, 7, 99),
    inner,
    ints: fc.array(fc.integer()),
    longs: fc.array(int64),
    strings: fc.array(text),
    inners: fc.array(inner, { maxLength: 4 }),
    colors: fc.array(fc.constantFrom(0, 1, 7)),
    loose: fc.array(fc.integer()),
    counts: fc.dictionary(text, fc.integer(), { maxKeys: 4 }),
    byId: fc.dictionary(uint32.map(String), inner, { maxKeys: 4 }),
    maybe: fc.integer(),
    duration: fc.record({ seconds: int64, nanos: fc.integer() }),
    wrapped: fc.record({ value: uint32 }),
    doubles: fc.array(fc.double({ noNaN: true })),
    bools: fc.array(fc.boolean()),
    blobs: fc.array(bytes, { maxLength: 4 }),
    default: fc.boolean(),
  },
  { requiredKeys: [] },
);
const oneof = fc.oneof(
  fc.constant({}),
  fc.record({ text }),
  fc.record({ number: uint32 }),
  fc.record({ message: inner }),
);
const message = fc.tuple(plain, oneof).map(([fields, choice]) => ({ ...fields, ...choice }));

/** The message as plain JSON: absent and default fields alike. */
function meaning(data: Uint8Array): unknown {
  return Everything.toObject(Everything.decode(data), {
    longs: String,
    bytes: String,
    enums: Number,
    oneofs: true,
    arrays: true,
    objects: true,
    json: true,
  });
}

describe("generated messages", () => {
  it("decode and encode every kind of field like protobufjs", () => {
    fc.assert(
      fc.property(message, (value) => {
        const data = Everything.encode(Everything.fromObject(value)).finish();
        const back = through(data);
        assert.ok(back !== undefined);
        assert.deepEqual(asJson(meaning(back)), asJson(meaning(data)));
      }),
      { numRuns: 600 },
    );
  });

  it("accept packed and unpacked lists for either declaration", () => {
    const unpacked = Buffer.from([0x90, 0x01, 5, 0x90, 0x01, 6]);
    assert.deepEqual((meaning(through(unpacked)!) as { ints: number[] }).ints, [5, 6]);
    const packed = Buffer.from([0xba, 0x01, 2, 7, 8]);
    assert.deepEqual((meaning(through(packed)!) as { loose: number[] }).loose, [7, 8]);
  });

  it("merge a nested message that comes twice, and keep the last scalar and oneof member", () => {
    const parts = [
      { inner: { name: "a" }, anInt32: 1, text: "t" },
      { inner: { children: [{ name: "b" }] }, anInt32: 2, number: 9 },
    ].map((part) => Everything.encode(Everything.fromObject(part)).finish());
    const result = meaning(through(Buffer.concat(parts))!) as Record<string, unknown>;
    assert.deepEqual(result["inner"], { name: "a", children: [{ name: "b", children: [] }] });
    assert.equal(result["anInt32"], 2);
    assert.equal(result["number"], 9);
    assert.equal(result["text"], undefined);
  });

  it("skip unknown fields of every wire type", () => {
    const number = 4000;
    const unknown = protobuf.Writer.create();
    unknown.uint32(number * 8).uint64(1);
    unknown.uint32(number * 8 + 1).fixed64(1);
    unknown.uint32(number * 8 + 2).bytes(Buffer.from("abc"));
    unknown
      .uint32(number * 8 + 3)
      .uint32(13 * 8)
      .uint32(1)
      .uint32(number * 8 + 4);
    unknown.uint32(number * 8 + 5).fixed32(1);
    unknown.uint32(3 * 8).int32(-7);
    assert.equal((meaning(through(unknown.finish())!) as { anInt32: number }).anInt32, -7);
  });

  it("refuse what is malformed, and never trap", () => {
    const cases: readonly (readonly [string, number[]])[] = [
      ["field number 0", [0, 0]],
      ["a cut varint", [24, 0x80]],
      ["a varint of 11 bytes", [24, ...Array<number>(10).fill(0xff), 1]],
      ["a cut fixed32", [77, 1, 2]],
      ["a cut fixed64", [81, 1, 2]],
      ["a length beyond the end", [114, 5, 97]],
      ["a length beyond the address space", [114, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
      ["a nested length beyond its message", [0x8a, 0x01, 2, 10, 9]],
      ["wire type 6", [30]],
      ["an end of group without a start", [28]],
      ["a group without an end", [0x83, 0xfa, 0x01, 8, 1]],
      ["text that is no UTF-8", [114, 2, 0xc3, 0x28]],
      ["an overlong form", [114, 2, 0xc0, 0x80]],
      ["a surrogate", [114, 3, 0xed, 0xa0, 0x80]],
      ["above U+10FFFF", [114, 4, 0xf4, 0x90, 0x80, 0x80]],
    ];
    for (const [name, data] of cases) assert.equal(through(Buffer.from(data)), undefined, name);
  });

  it("refuse messages nested too deep", () => {
    const nested = (depth: number): Uint8Array => {
      let data: Uint8Array = new Uint8Array();
      for (let i = 0; i < depth; i++) data = protobuf.Writer.create().uint32(18).bytes(data).finish();
      return protobuf.Writer.create().uint32(138).bytes(data).finish();
    };
    assert.ok(through(nested(90)) !== undefined);
    assert.equal(through(nested(101)), undefined);
  });

  it("survive arbitrary bytes and damaged messages", () => {
    const damaged = fc.tuple(message, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
      const data = Buffer.from(Everything.encode(Everything.fromObject(value)).finish());
      if (data.length > 0) data[at % data.length] = byte;
      return data;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged), (data) => {
        const back = through(data);
        if (back !== undefined) assert.ok(through(back) !== undefined);
      }),
      { numRuns: 1500 },
    );
  });
});

/** As JSON: no prototypes, no undefined. */
function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
