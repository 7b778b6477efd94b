/** Every kind of protoc-gen-validate rule, through a schema built from descriptors as a module carries them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Decoder } from "../../runtime/config/document/decode.ts";
import { parseTree } from "../../runtime/config/document/tree.ts";
import { Problems } from "../../runtime/config/problem.ts";
import { RuleChecker } from "../../runtime/config/rules/check.ts";
import { builtInSchema, Schema } from "../../runtime/config/schema/schema.ts";
import { checkBytes } from "../../runtime/config/rules/values.ts";
import { schemaOfDescriptors } from "../../runtime/config/schema/artifact.ts";
import { descriptorsOf } from "./descriptors.ts";

const PROTO = `
syntax = "proto3";
package t;
import "validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum E { A = 0; B = 1; C = 2; }
message In { string must = 1 [(validate.rules).string.min_len = 1]; }
message M {
  string s_const = 1 [(validate.rules).string = {const: "x", ignore_empty: true}];
  string s_len = 2 [(validate.rules).string = {len: 3, ignore_empty: true}];
  string s_min_max = 3 [(validate.rules).string = {min_len: 2, max_len: 4, ignore_empty: true}];
  string s_bytes = 4 [(validate.rules).string = {min_bytes: 2, max_bytes: 4, ignore_empty: true}];
  string s_len_bytes = 5 [(validate.rules).string = {len_bytes: 3, ignore_empty: true}];
  string s_pattern = 6 [(validate.rules).string = {pattern: "^[a-c]+$", ignore_empty: true}];
  string s_affix = 7 [(validate.rules).string = {prefix: "p", suffix: "s", contains: "-", not_contains: "!", ignore_empty: true}];
  string s_in = 8 [(validate.rules).string = {in: ["a", "b"], ignore_empty: true}];
  string s_not_in = 9 [(validate.rules).string = {not_in: ["a"]}];
  string s_email = 10 [(validate.rules).string = {email: true, ignore_empty: true}];
  string s_hostname = 11 [(validate.rules).string = {hostname: true, ignore_empty: true}];
  string s_ip = 12 [(validate.rules).string = {ip: true, ignore_empty: true}];
  string s_ipv4 = 13 [(validate.rules).string = {ipv4: true, ignore_empty: true}];
  string s_ipv6 = 14 [(validate.rules).string = {ipv6: true, ignore_empty: true}];
  string s_uri = 15 [(validate.rules).string = {uri: true, ignore_empty: true}];
  string s_uri_ref = 16 [(validate.rules).string = {uri_ref: true, ignore_empty: true}];
  string s_address = 17 [(validate.rules).string = {address: true, ignore_empty: true}];
  string s_uuid = 18 [(validate.rules).string = {uuid: true, ignore_empty: true}];
  string s_header = 19 [(validate.rules).string = {well_known_regex: HTTP_HEADER_NAME, ignore_empty: true}];
  string s_value = 20 [(validate.rules).string = {well_known_regex: HTTP_HEADER_VALUE}];
  string s_loose = 21 [(validate.rules).string = {well_known_regex: HTTP_HEADER_NAME, strict: false, ignore_empty: true}];
  uint32 u_range = 22 [(validate.rules).uint32 = {gte: 2, lt: 5, ignore_empty: true}];
  int64 i_out = 23 [(validate.rules).int64 = {lt: 0, gt: 10, ignore_empty: true}];
  double d_const = 24 [(validate.rules).double = {const: 1.5, ignore_empty: true}];
  float f_lte = 25 [(validate.rules).float.lte = 2];
  sint32 n_in = 26 [(validate.rules).sint32 = {in: [0, -1]}];
  fixed64 n_not_in = 27 [(validate.rules).fixed64 = {not_in: [7]}];
  bool b_const = 28 [(validate.rules).bool.const = false];
  bytes y_len = 29 [(validate.rules).bytes = {min_len: 2, max_len: 3, ignore_empty: true}];
  bytes y_ip = 31 [(validate.rules).bytes = {ipv4: true, ignore_empty: true}];
  E e_defined = 32 [(validate.rules).enum.defined_only = true];
  E e_in = 33 [(validate.rules).enum = {in: [0, 1]}];
  E e_not_in = 34 [(validate.rules).enum = {not_in: [2]}];
  E e_const = 35 [(validate.rules).enum.const = 0];
  repeated string r_size = 36 [(validate.rules).repeated = {min_items: 2, max_items: 3, ignore_empty: true}];
  repeated string r_unique = 37 [(validate.rules).repeated.unique = true];
  repeated string r_items = 38 [(validate.rules).repeated.items.string.min_len = 2];
  map<string, uint32> m_size = 39 [(validate.rules).map = {min_pairs: 1, max_pairs: 1, ignore_empty: true}];
  map<string, uint32> m_keys = 40 [(validate.rules).map.keys.string.min_len = 2];
  map<string, uint32> m_values = 41 [(validate.rules).map.values.uint32.lt = 5];
  google.protobuf.Any a_in = 42 [(validate.rules).any = {in: ["type.googleapis.com/google.protobuf.StringValue"]}];
  google.protobuf.Any a_not_in = 43 [(validate.rules).any = {not_in: ["type.googleapis.com/google.protobuf.StringValue"]}];
  google.protobuf.Duration d_range = 44 [(validate.rules).duration = {gt: {}, lte: {seconds: 2}}];
  google.protobuf.Timestamp t_lt = 46 [(validate.rules).timestamp = {lt: {seconds: 100}}];
  google.protobuf.Timestamp t_past = 47 [(validate.rules).timestamp.lt_now = true];
  google.protobuf.UInt32Value w = 48 [(validate.rules).uint32.gt = 2];
  In nested = 49;
  In skipped = 50 [(validate.rules).message.skip = true];
}
message Required {
  In message = 1 [(validate.rules).message.required = true];
  google.protobuf.Duration duration = 2 [(validate.rules).duration.required = true];
  google.protobuf.Any any = 3 [(validate.rules).any.required = true];
  google.protobuf.Timestamp timestamp = 4 [(validate.rules).timestamp.required = true];
  google.protobuf.BoolValue wrapper = 5 [(validate.rules).message.required = true];
  repeated string list = 6 [(validate.rules).repeated.min_items = 1];
  string text = 7 [(validate.rules).string.min_len = 1];
  oneof choice { option (validate.required) = true; string a = 8; string b = 9; }
}
message Off { option (validate.disabled) = true; string s = 1 [(validate.rules).string.min_len = 1]; }
`;

const own = schemaOfDescriptors(descriptorsOf(PROTO));

/** Lists of messages in rules, which the parser of .proto text that we use does not read. */
const listed = new Schema(
  {
    messages: {
      "t.Times": {
        f: [
          {
            n: "in",
            i: 1,
            t: ".google.protobuf.Duration",
            v: { duration: { in: [{ seconds: 1 }, { nanos: 5_000_000 }] } },
          },
          { n: "not", i: 2, t: ".google.protobuf.Duration", v: { duration: { not_in: [{ seconds: 1 }] } } },
          { n: "fix", i: 3, t: ".google.protobuf.Duration", v: { duration: { const: { seconds: 1 } } } },
          { n: "near", i: 4, t: ".google.protobuf.Timestamp", v: { timestamp: { within: { seconds: 60 } } } },
          { n: "later", i: 5, t: ".google.protobuf.Timestamp", v: { timestamp: { gt_now: true } } },
        ],
      },
    },
    enums: {},
    known: [],
  },
  builtInSchema(),
);

function check(type: string, text: string, schema = own): string[] {
  const problems = new Problems();
  const tree = parseTree({ name: "t", text, base: "/" }, problems);
  assert.ok(tree);
  const message = new Decoder(schema, problems, { allowUnknownFields: false }).message(schema.expect(type), tree, "");
  new RuleChecker(problems, () => schema).message(message);
  return problems.errors.map((p) => `${p.column} ${p.path} ${p.rule}`);
}

/** Field, values that hold, values that break the rule named. */
const CASES: readonly [field: string, good: readonly string[], bad: readonly [value: string, rule: string][]][] = [
  ["s_const", ["x"], [["y", "string.const"]]],
  ["s_len", ["abc", "日本語"], [["ab", "string.len"]]],
  [
    "s_min_max",
    ["ab", "日本", "😀😀😀😀"],
    [
      ["a", "string.min_len"],
      ["abcde", "string.max_len"],
    ],
  ],
  [
    "s_bytes",
    ["ab", "é"],
    [
      ["a", "string.min_bytes"],
      ["日本", "string.max_bytes"],
    ],
  ],
  ["s_len_bytes", ["abc", "日"], [["ab", "string.len_bytes"]]],
  ["s_pattern", ["abc"], [["abd", "string.pattern"]]],
  [
    "s_affix",
    ["p-s"],
    [
      ["x-s", "string.prefix"],
      ["p-x", "string.suffix"],
      ["ps", "string.contains"],
      ["p-!s", "string.not_contains"],
    ],
  ],
  ["s_in", ["a", "b"], [["c", "string.in"]]],
  ["s_not_in", ["b"], [["a", "string.not_in"]]],
  [
    "s_email",
    ["a@b.c"],
    [
      ["a.b", "string.email"],
      ['"a@-"', "string.email"],
    ],
  ],
  [
    "s_hostname",
    ["a.b-c.d"],
    [
      ["a..b", "string.hostname"],
      ["-a", "string.hostname"],
    ],
  ],
  ["s_ip", ["1.2.3.4", '"::1"'], [["1.2.3", "string.ip"]]],
  ["s_ipv4", ["1.2.3.4"], [['"::1"', "string.ipv4"]]],
  ["s_ipv6", ['"::1"'], [["1.2.3.4", "string.ipv6"]]],
  ["s_uri", ['"http://a/b"'], [["a/b", "string.uri"]]],
  ["s_uri_ref", ["/a?b"], [['"http://["', "string.uri_ref"]]],
  ["s_address", ["a.b", "1.2.3.4"], [["a_b", "string.address"]]],
  ["s_uuid", ["01234567-89ab-cdef-0123-456789abcdef"], [["abc", "string.uuid"]]],
  ["s_header", ["x-a"], [['"x a"', "string.well_known_regex"]]],
  ["s_value", ['"a b"'], [['"a\\u0001"', "string.well_known_regex"]]],
  ["s_loose", ['"x a"'], [['"x\\n"', "string.well_known_regex"]]],
  [
    "u_range",
    ["2", "4"],
    [
      ["1", "uint32.gte"],
      ["5", "uint32.lt"],
    ],
  ],
  ["i_out", ["-1", "11", '"-5"'], [["5", "int64.gt"]]],
  ["d_const", ["1.5"], [["2", "double.const"]]],
  ["f_lte", ["2"], [["2.5", "float.lte"]]],
  ["n_in", ["-1"], [["1", "sint32.in"]]],
  ["n_not_in", ["8"], [["7", "fixed64.not_in"]]],
  ["b_const", ["false"], [["true", "bool.const"]]],
  [
    "y_len",
    ["YWE="],
    [
      ["YQ==", "bytes.min_len"],
      ["YWFhYQ==", "bytes.max_len"],
    ],
  ],
  ["y_ip", ["fwAAAQ=="], [["fwAA", "bytes.ipv4"]]],
  ["e_defined", ["B", "2"], [["7", "enum.defined_only"]]],
  ["e_in", ["B"], [["C", "enum.in"]]],
  ["e_not_in", ["B"], [["C", "enum.not_in"]]],
  ["e_const", ["A"], [["B", "enum.const"]]],
  [
    "r_size",
    ["[a, b]"],
    [
      ["[a]", "repeated.min_items"],
      ["[a, b, c, d]", "repeated.max_items"],
    ],
  ],
  ["m_size", ["{a: 1}"], [["{a: 1, b: 2}", "map.max_pairs"]]],
  [
    "a_in",
    ['{"@type": a/google.protobuf.StringValue, value: x}'],
    [['{"@type": a/google.protobuf.BoolValue, value: true}', "any.in"]],
  ],
  [
    "a_not_in",
    ['{"@type": a/google.protobuf.BoolValue, value: true}'],
    [['{"@type": a/google.protobuf.StringValue, value: x}', "any.not_in"]],
  ],
  [
    "d_range",
    ["0.000000001s", "2s"],
    [
      ["0s", "duration.gt"],
      ["2.1s", "duration.lte"],
    ],
  ],
  ["t_lt", ['"1970-01-01T00:01:39Z"'], [['"1970-01-01T00:01:40Z"', "timestamp.lt"]]],
  ["t_past", ['"2001-01-01T00:00:00Z"'], [['"9001-01-01T00:00:00Z"', "timestamp.lt_now"]]],
  [
    "w",
    ["3", "null"],
    [
      ["2", "uint32.gt"],
      ["0", "uint32.gt"],
    ],
  ],
];

describe("validation rules", () => {
  for (const [field, good, bad] of CASES) {
    test(field, () => {
      for (const value of good) assert.deepEqual(check("t.M", `${field}: ${value}`), [], value);
      for (const [value, rule] of bad)
        assert.deepEqual(check("t.M", `${field}: ${value}`), [`${field.length + 3} ${field} ${rule}`], value);
    });
  }

  test("members of lists and maps are pointed at", () => {
    assert.deepEqual(check("t.M", "r_unique: [a, b, a]"), ["18 r_unique[2] repeated.unique"]);
    assert.deepEqual(check("t.M", "r_items: [ab, c]"), ["15 r_items[1] string.min_len"]);
    assert.deepEqual(check("t.M", "m_keys: {ab: 1, c: 2}"), ['20 m_keys["c"] string.min_len']);
    assert.deepEqual(check("t.M", "m_values: {a: 1, b: 5}"), ['21 m_values["b"] uint32.lt']);
  });

  test("messages inside are checked, unless the rule says skip", () => {
    assert.deepEqual(check("t.M", "nested: {}"), ["9 nested.must string.min_len"]);
    assert.deepEqual(check("t.M", "skipped: {}"), []);
    assert.deepEqual(check("t.Off", "{}"), []);
  });

  test("everything that is required", () => {
    const paths = ["message message", "duration duration", "any any", "timestamp timestamp", "wrapper message"];
    const wanted = [
      ...paths.map((path) => `1 ${path}.required`),
      "1 list repeated.min_items",
      "1 text string.min_len",
      "1  oneof.required",
    ];
    assert.deepEqual(check("t.Required", "{}"), wanted);
  });

  test("rules of times", () => {
    const now = JSON.stringify(new Date().toISOString());
    assert.deepEqual(
      check("t.Times", `{in: 0.005s, not: 2s, fix: 1s, near: ${now}, later: "9001-01-01T00:00:00Z"}`, listed),
      [],
    );
    assert.deepEqual(check("t.Times", "in: 2s", listed), ["5 in duration.in"]);
    assert.deepEqual(check("t.Times", "not: 1s", listed), ["6 not duration.not_in"]);
    assert.deepEqual(check("t.Times", "fix: 2s", listed), ["6 fix duration.const"]);
    assert.deepEqual(check("t.Times", 'near: "2001-01-01T00:00:00Z"', listed), ["7 near timestamp.within"]);
    assert.deepEqual(check("t.Times", 'later: "2001-01-01T00:00:00Z"', listed), ["8 later timestamp.gt_now"]);
  });

  test("rules of bytes", () => {
    const value = new Uint8Array(Buffer.from("abc"));
    const broken = (rules: object): string | undefined => checkBytes(rules as Record<string, unknown>, value)?.rule;
    for (const rules of [
      { prefix: "ab" },
      { suffix: "c" },
      { contains: "b" },
      { const: "abc" },
      { in: ["x", "abc"] },
      { not_in: ["x"] },
      { pattern: "^a" },
      { len: 3 },
    ]) {
      assert.equal(broken(rules), undefined, JSON.stringify(rules));
    }
    assert.equal(broken({ prefix: "b" }), "bytes.prefix");
    assert.equal(broken({ suffix: Buffer.from("b") }), "bytes.suffix");
    assert.equal(broken({ contains: "d" }), "bytes.contains");
    assert.equal(broken({ const: "ab" }), "bytes.const");
    assert.equal(broken({ in: ["x"] }), "bytes.in");
    assert.equal(broken({ not_in: ["abc"] }), "bytes.not_in");
    assert.equal(broken({ pattern: "^b" }), "bytes.pattern");
    assert.equal(broken({ len: 4 }), "bytes.len");
  });

  test("a pattern that would take a backtracking engine for ever is answered", () => {
    const slow = schemaOfDescriptors(
      descriptorsOf(`syntax = "proto3"; package p; import "validate/validate.proto";
        message P { string s = 1 [(validate.rules).string.pattern = "^(a+)+$"]; }`),
    );
    const problems = new Problems();
    const tree = parseTree({ name: "t", text: `s: ${"a".repeat(5000)}!`, base: "/" }, problems);
    assert.ok(tree);
    const message = new Decoder(slow, problems, { allowUnknownFields: false }).message(slow.expect("p.P"), tree, "");
    new RuleChecker(problems, () => slow).message(message);
    assert.deepEqual(
      problems.errors.map((p) => p.rule),
      ["string.pattern"],
    );
  });
});
