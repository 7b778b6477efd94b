/** protobuf's JSON mapping, kind by kind: what is accepted, what it becomes, and what is refused where. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Decoder } from "../../runtime/config/document/decode.ts";
import { dumpMessage } from "../../runtime/config/document/dump.ts";
import { parseTree } from "../../runtime/config/document/tree.ts";
import { Problems } from "../../runtime/config/problem.ts";
import { schemaOfDescriptors } from "../../runtime/config/schema/artifact.ts";
import { encodeMessage } from "../../runtime/config/schema/wire.ts";
import { descriptorsOf, loadTypes } from "./descriptors.ts";

const PROTO = `
syntax = "proto3";
package t;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Color { RED = 0; DARK_GREEN = 1; }
message M {
  string text = 1; bool yes = 2; int32 i = 3; uint32 u = 4; int64 l = 5; uint64 ul = 6;
  double d = 7; float f = 8; bytes raw = 9; Color color = 10; M inner_message = 11;
  repeated string texts = 12; repeated int32 numbers = 13; repeated M list = 14;
  map<string, string> by_text = 15; map<int32, M> by_number = 16; map<bool, Color> by_flag = 17;
  oneof choice { string a = 18; uint32 b = 19; }
  google.protobuf.Any any = 20; google.protobuf.Duration duration = 21; google.protobuf.Timestamp time = 22;
  google.protobuf.Struct struct = 23; google.protobuf.Value value = 24; google.protobuf.ListValue items = 25;
  google.protobuf.UInt32Value wu = 26; google.protobuf.BoolValue wb = 27; google.protobuf.StringValue ws = 28;
  google.protobuf.UInt64Value wul = 29; google.protobuf.BytesValue wy = 30; google.protobuf.DoubleValue wd = 31;
  sint32 s = 32; sint64 sl = 33; fixed32 x = 34; fixed64 xl = 35; sfixed32 sx = 36; sfixed64 sxl = 37; optional int32 opt = 38;
}
`;

const schema = schemaOfDescriptors(descriptorsOf(PROTO));
const types = loadTypes(PROTO);

function decode(
  text: string,
  allowUnknownFields = false,
): { json: unknown; errors: string[]; bytes: Uint8Array; warnings: string[] } {
  const problems = new Problems();
  const tree = parseTree({ name: "t", text, base: "/" }, problems);
  const short = (list: readonly { line: number; column: number; path: string; rule: string }[]): string[] =>
    list.map((p) => `${p.line}:${p.column} ${p.path} ${p.rule}`);
  if (tree === undefined)
    return { json: undefined, errors: short(problems.errors), bytes: new Uint8Array(0), warnings: [] };
  const message = new Decoder(schema, problems, { allowUnknownFields }).message(schema.expect("t.M"), tree, "");
  return {
    json: dumpMessage(message, schema),
    errors: short(problems.errors),
    bytes: encodeMessage(message),
    warnings: short(problems.warnings),
  };
}

/** Text, and the protobuf JSON that it means. */
const GOOD: readonly [text: string, json: object][] = [
  ["text: a", { text: "a" }],
  ['text: "1.0"', { text: "1.0" }],
  ["text: yes", { text: "yes" }],
  ['text: ""', {}],
  ["yes: true", { yes: true }],
  ["yes: false", {}],
  ["i: -5", { i: -5 }],
  ['i: "-5"', { i: -5 }],
  ["i: 5.0", { i: 5 }],
  ["i: 1e3", { i: 1000 }],
  ["u: 4294967295", { u: 4294967295 }],
  ["l: -9223372036854775808", { l: "-9223372036854775808" }],
  ["ul: 18446744073709551615", { ul: "18446744073709551615" }],
  ['ul: "18446744073709551615"', { ul: "18446744073709551615" }],
  ["l: 7", { l: "7" }],
  ["d: 1", { d: 1 }],
  ['d: "1.5e3"', { d: 1500 }],
  ["d: NaN", { d: "NaN" }],
  ["d: -Infinity", { d: "-Infinity" }],
  ["f: 0.5", { f: 0.5 }],
  ["raw: aGk=", { raw: "aGk=" }],
  ["raw: _-8", { raw: "/+8=" }],
  ["color: DARK_GREEN", { color: "DARK_GREEN" }],
  ["color: 1", { color: "DARK_GREEN" }],
  ["color: 77", { color: 77 }],
  ["color: RED", {}],
  ["innerMessage: {text: a}", { inner_message: { text: "a" } }],
  ["inner_message: {innerMessage: {u: 1}}", { inner_message: { inner_message: { u: 1 } } }],
  ["inner_message: {}", { inner_message: {} }],
  ["inner_message: null", {}],
  ["text: ~", {}],
  ["texts: [a, b]", { texts: ["a", "b"] }],
  ["texts: []", { texts: [] }],
  ["numbers: [1, -2]", { numbers: [1, -2] }],
  ["list: [{text: a}, {}]", { list: [{ text: "a" }, {}] }],
  ["by_text: {a: b, 1: c}", { by_text: { a: "b", 1: "c" } }],
  ["by_number: {1: {text: a}}", { by_number: { 1: { text: "a" } } }],
  ["by_flag: {true: DARK_GREEN}", { by_flag: { true: "DARK_GREEN" } }],
  ['a: ""', { a: "" }],
  ["b: 0", { b: 0 }],
  ["a: null\nb: 1", { b: 1 }],
  ["duration: 1.5s", { duration: "1.500s" }],
  ["duration: -0.000000001s", { duration: "-0.000000001s" }],
  ["duration: 0s", { duration: "0s" }],
  ["duration: 0.25s", { duration: "0.250s" }],
  ['time: "2026-01-02T03:04:05.5+01:00"', { time: "2026-01-02T02:04:05.500Z" }],
  ["struct: {a: 1, b: [true, null, {c: x}]}", { struct: { a: 1, b: [true, null, { c: "x" }] } }],
  ["struct: {__proto__: {a: 1}}", { struct: JSON.parse('{"__proto__":{"a":1}}') as object }],
  ["value: null", { value: null }],
  ["value: [1, a]", { value: [1, "a"] }],
  ["items: [1, {a: b}]", { items: [1, { a: "b" }] }],
  ["wu: 0", { wu: 0 }],
  ["wu: null", {}],
  ['wu: "7"', { wu: 7 }],
  ["wb: false", { wb: false }],
  ["ws: a", { ws: "a" }],
  ["wul: 18446744073709551615", { wul: "18446744073709551615" }],
  ["wy: aGk=", { wy: "aGk=" }],
  ["wd: 1.5", { wd: 1.5 }],
  ["s: -1", { s: -1 }],
  ["sl: -1", { sl: "-1" }],
  ["x: 1", { x: 1 }],
  ["xl: 1", { xl: "1" }],
  ["sx: -1", { sx: -1 }],
  ["sxl: -1", { sxl: "-1" }],
  ["opt: 0", { opt: 0 }],
  ['any: {"@type": type.googleapis.com/t.M, text: a}', { any: { "@type": "type.googleapis.com/t.M", text: "a" } }],
  [
    'any: {"@type": whatever/google.protobuf.StringValue, value: a}',
    { any: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "a" } },
  ],
  [
    'any: {"@type": x/google.protobuf.Duration, value: 1s}',
    { any: { "@type": "type.googleapis.com/google.protobuf.Duration", value: "1s" } },
  ],
  [
    'any: {"@type": x/google.protobuf.Struct, value: {a: 1}}',
    { any: { "@type": "type.googleapis.com/google.protobuf.Struct", value: { a: 1 } } },
  ],
  [
    'any: {"@type": type.googleapis.com/udpa.type.v1.TypedStruct, type_url: t.M, value: {texts: a}}',
    { any: { "@type": "type.googleapis.com/t.M", texts: ["a"] } },
  ],
  [
    'any: {"@type": type.googleapis.com/xds.type.v3.TypedStruct, typeUrl: type.googleapis.com/t.M, value: {innerMessage: {u: 3}}}',
    { any: { "@type": "type.googleapis.com/t.M", inner_message: { u: 3 } } },
  ],
  ["any: {}", { any: {} }],
  [
    "inner_message: &m {text: a}\nlist: [*m, {<<: *m, u: 1}]",
    { inner_message: { text: "a" }, list: [{ text: "a" }, { u: 1, text: "a" }] },
  ],
  ['{"text": "\\u00e9\\ud83d\\ude00\\/", "i": 1,\n\t"texts": ["a"]}', { text: "é😀/", i: 1, texts: ["a"] }],
  ["", {}],
  ["# nothing\n", {}],
];

const BAD: readonly [text: string, error: string][] = [
  ["text: 1", "1:7 text type"],
  ["text: 1.0", "1:7 text type"],
  ["text: true", "1:7 text type"],
  ["text: [a]", "1:7 text type"],
  ["text: {a: b}", "1:7 text type"],
  ['yes: "true"', "1:6 yes type"],
  ["yes: 1", "1:6 yes type"],
  ["yes: yes", "1:6 yes type"],
  ["i: 1.5", "1:4 i type"],
  ["i: 2147483648", "1:4 i type"],
  ["i: true", "1:4 i type"],
  ["i: abc", "1:4 i type"],
  ['i: ""', "1:4 i type"],
  ['i: " 5"', "1:4 i type"],
  ['i: "0x5"', "1:4 i type"],
  ["u: -1", "1:4 u type"],
  ["u: .inf", "1:4 u type"],
  ["ul: 18446744073709551616", "1:5 ul type"],
  ["l: 9223372036854775808", "1:4 l type"],
  ["d: abc", "1:4 d type"],
  ['d: ""', "1:4 d type"],
  ["d: true", "1:4 d type"],
  ["f: 1e39", "1:4 f type"],
  ["raw: a b", "1:6 raw type"],
  ["raw: a", "1:6 raw type"],
  ["raw: 5", "1:6 raw type"],
  ["color: GREEN", "1:8 color enum"],
  ["color: red", "1:8 color enum"],
  ["color: 1.5", "1:8 color enum"],
  ["color: true", "1:8 color enum"],
  ["color: [RED]", "1:8 color type"],
  ["inner_message: a", "1:16 inner_message type"],
  ["inner_message: [a]", "1:16 inner_message type"],
  ["inner_message: {nope: 1}", "1:17 inner_message.nope unknown-field"],
  ["txt: a", "1:1 txt unknown-field"],
  ["__proto__: a", "1:1 __proto__ unknown-field"],
  ["constructor: a", "1:1 constructor unknown-field"],
  ["inner_message: {}\ninnerMessage: {}", "2:1 inner_message duplicate-field"],
  ["text: a\ntext: b", "2:1  syntax"],
  ["texts: a", "1:8 texts type"],
  ["texts: {a: b}", "1:8 texts type"],
  ["texts: [a, null]", "1:12 texts[1] type"],
  ["list: [{u: 1}, {u: x}]", "1:20 list[1].u type"],
  ["by_text: [a]", "1:10 by_text type"],
  ["by_text: {a: 1}", '1:14 by_text["a"] type'],
  ["by_text: {a: null}", '1:14 by_text["a"] type'],
  ["by_number: {a: {}}", '1:13 by_number["a"] type'],
  ["by_flag: {1: RED}", '1:11 by_flag["1"] type'],
  ["a: x\nb: 1", "2:1 b oneof"],
  ["duration: 1", "1:11 duration type"],
  ["duration: 1ms", "1:11 duration type"],
  ["duration: 5", "1:11 duration type"],
  ["duration: .5s", "1:11 duration type"],
  ["duration: 1.0000000001s", "1:11 duration type"],
  ["duration: 315576000001s", "1:11 duration type"],
  ["duration: {seconds: 1}", "1:11 duration type"],
  ["time: 2026-01-02", "1:7 time type"],
  ['time: "2026-13-02T00:00:00Z"', "1:7 time type"],
  ["struct: [1]", "1:9 struct type"],
  ["items: {a: 1}", "1:8 items type"],
  ["wu: {value: 1}", "1:5 wu type"],
  ["wu: -1", "1:5 wu type"],
  ['wb: "true"', "1:5 wb type"],
  ["ws: 5", "1:5 ws type"],
  ["any: {text: a}", "1:6 any any"],
  ["any: a", "1:6 any type"],
  ['any: {"@type": 5}', "1:16 any any"],
  ['any: {"@type": x/t.M, nope: 1}', "1:23 any.nope unknown-field"],
  ['any: {"@type": x/google.protobuf.StringValue}', "1:6 any any"],
  ['any: {"@type": x/google.protobuf.StringValue, text: a, value: b}', "1:47 any.text unknown-field"],
  ['any: {"@type": x/udpa.type.v1.TypedStruct, value: {}}', "1:6 any.type_url any"],
  ['any: {"@type": x/udpa.type.v1.TypedStruct, type_url: t.M, value: {u: x}}', "1:70 any.value.u type"],
  ["- a", "1:1  type"],
  ["text: [a", "1:9  syntax"],
  ["text: *a", "1:7  size"],
  ["text: a\n---\ntext: b", "2:1  syntax"],
  ["{[a]: b}", "1:2  size"],
  ["<<: 5", "1:5  size"],
];

describe("JSON mapping", () => {
  for (const [text, json] of GOOD) {
    test(`accepts ${JSON.stringify(text)}`, () => {
      const result = decode(text);
      assert.deepEqual(result.errors, []);
      assert.deepEqual(result.json, json);
    });
  }
  for (const [text, error] of BAD)
    test(`refuses ${JSON.stringify(text)}`, () => assert.deepEqual(decode(text).errors.slice(0, 1), [error]));

  test("unknown fields can be let through as warnings", () => {
    const result = decode("txt: a\nu: 1", true);
    assert.deepEqual([result.errors, result.warnings, result.json], [[], ["1:1 txt unknown-field"], { u: 1 }]);
  });

  test("the wire format is what protobufjs reads", () => {
    const json = {
      text: "é", yes: true, i: -5, u: 7, l: "-9007199254740993", ul: "18446744073709551615", d: 0.1, f: 0.5, raw: "aGk=", color: "DARK_GREEN",
      inner_message: { text: "x" }, texts: ["a", ""], numbers: [1, -2, 300], list: [{ u: 1 }, {}], by_text: { k: "v" }, by_number: { 5: { u: 1 } },
      by_flag: { true: "DARK_GREEN" }, b: 0, s: -3, sl: "-4", x: 5, xl: "6", sx: -7, sxl: "-8", opt: 0,
    }; // prettier-ignore
    const type = types.lookupType("t.M");
    const read = type.toObject(type.decode(decode(JSON.stringify(json)).bytes), {
      longs: String,
      enums: String,
      bytes: String,
    });
    assert.deepEqual(read, { ...json, by_number: { 5: { u: 1 } } });
  });

  test("well-known messages on the wire", () => {
    const { bytes } = decode(
      '{struct: {a: [1, "x", true, null, {b: {}}]}, wu: 7, duration: 1.5s, value: null, any: {"@type": x/t.M, u: 1}}',
    );
    const type = types.lookupType("t.M");
    const read = type.toObject(type.decode(bytes), { longs: Number, enums: String, bytes: String }) as Record<
      string,
      unknown
    >;
    assert.deepEqual(read["duration"], { seconds: 1, nanos: 500_000_000 });
    assert.deepEqual(read["wu"], { value: 7 });
    assert.deepEqual(read["value"], { nullValue: "NULL_VALUE" });
    assert.deepEqual(read["any"], { type_url: "type.googleapis.com/t.M", value: "IAE=" });
    const value = (kind: object): object => kind;
    const list = [
      { numberValue: 1 },
      { stringValue: "x" },
      { boolValue: true },
      { nullValue: "NULL_VALUE" },
      value({ structValue: { fields: { b: { structValue: {} } } } }),
    ];
    assert.deepEqual(read["struct"], { fields: { a: { listValue: { values: list } } } });
  });

  test("suggestions", () => {
    const problems = new Problems();
    const tree = parseTree({ name: "t", text: "inner_mesage: {}\ncolor: DARK_GREN", base: "/" }, problems);
    assert.ok(tree);
    new Decoder(schema, problems, { allowUnknownFields: false }).message(schema.expect("t.M"), tree, "");
    assert.match(problems.errors[0]?.message ?? "", /did you mean "inner_message"\?/);
    assert.match(problems.errors[1]?.message ?? "", /did you mean "DARK_GREEN"\?/);
  });
});
