/** What an author reads when a `.proto` or filter.json is wrong: the file, the line, the column, and what to do. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { ProtoText } from "../../filters/build/proto-places.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-proto-"));
after(() => rmSync(root, { recursive: true }));

const HEAD = 'syntax = "proto3"; package a;';
const RULES = `${HEAD} import "validate/validate.proto";`;

/** What; the text, with `«` where it is told; what is told. */
const MISTAKES: readonly (readonly [what: string, proto: string, told: RegExp])[] = [
  ["a missing semicolon", `${HEAD}\nmessage M {\n  string a = 1\n«}`, /"}" stands where ';' is expected/],
  ["an unknown scalar", `${HEAD}\nmessage M {\n  strin «a = 1;\n}`, /there is no type strin; did you mean string\?/],
  [
    "an unknown type in a map of an inner message",
    `${HEAD}\n// message M {\nmessage M {\n  message In { map<string, Innr> «x = 1; oneof k { string q = 2; } }\n  In i = 1;\n}`,
    /there is no type Innr; declare it/,
  ],
  [
    "a number twice",
    `${HEAD}\nmessage M {\n  string a = 1;\n  oneof k { string b = «1; }\n}`,
    /number 1 is taken by a already/,
  ],
  [
    "a name twice",
    `${HEAD}\nmessage M {\n  string a = 1;\n  string «a = 2;\n}`,
    /a is declared twice; the first is at .*:3:10/,
  ],
  [
    "a message twice",
    `${HEAD}\nmessage M { string a = 1; }\nmessage «M { string b = 1; }`,
    /M is declared twice; the first is at .*:2:9/,
  ],
  ["a number of 0", `${HEAD}\nmessage M {\n  string a = «0;\n}`, /from 1 to 536870911, not 0/],
  ["a number that is too large", `${HEAD}\nmessage M {\n  string a = «536870912;\n}`, /from 1 to 536870911/],
  ["a number of protobuf's own", `${HEAD}\nmessage M {\n  string a = «19001;\n}`, /19000 to 19999 are protobuf's own/],
  [
    "a reserved number",
    `${HEAD}\nmessage M {\n  reserved 1, 5 to 7;\n  string a = «6;\n}`,
    /number 6 is reserved in M/,
  ],
  ["a reserved name", `${HEAD}\nmessage M {\n  reserved "a";\n  string «a = 1;\n}`, /a is reserved in M/],
  [
    "an enum without 0",
    `${HEAD}\nmessage M { E e = 1; }\nenum E { A = «1; }`,
    /first value of an enum is 0 in proto3: A_UNSPECIFIED = 0/,
  ],
  [
    "a group",
    `syntax = "proto2"; package a;\nmessage M { optional «group G = 1 { optional string a = 1; } }`,
    /groups are of proto2/,
  ],
  [
    "an import that is not there",
    `${HEAD} import «"nowhere.proto";\nmessage M { string a = 1; }`,
    /there is no nowhere\.proto: imports are looked for/,
  ],
  [
    "rules without their import",
    `${HEAD}\nmessage M {\n  string a = 1 [«(validate.rules).string.min_len = 3];\n}`,
    /rules need: import "validate\/validate\.proto"/,
  ],
  [
    "an unknown rule",
    `${RULES}\nmessage M {\n  string «a = 1 [(validate.rules).string.min_length = 3];\n}`,
    /no validation rule "min_length" in validate\.StringRules; did you mean "min_len"\?/,
  ],
  [
    "a rule of another type",
    `${RULES}\nmessage M {\n  string «a = 1 [(validate.rules).int32.gt = 3];\n}`,
    /rules of int32 do not fit a field of string/,
  ],
  [
    "a rule of another type in a list",
    `${RULES}\nmessage M {\n  repeated string «a = 1 [(validate.rules).repeated.items.int32.gt = 3];\n}`,
    /rules of int32 do not fit a field of string/,
  ],
  [
    "a rule of one at a list",
    `${RULES}\nmessage M {\n  repeated string «a = 1 [(validate.rules).string.min_len = 3];\n}`,
    /rules of string do not fit a field of repeated/,
  ],
  [
    "a rule of a map's key",
    `${RULES}\nmessage M {\n  map<string, int32> «a = 1 [(validate.rules).map.keys.int32.gt = 3];\n}`,
    /rules of int32 do not fit a field of string/,
  ],
  [
    "a text where a number belongs",
    `${RULES}\nmessage M {\n  string «a = 1 [(validate.rules).string.min_len = "x"];\n}`,
    /min_len takes a number, not "x"/,
  ],
  [
    "a number where a truth belongs",
    `${RULES}\nmessage M {\n  message I {}\n  I «a = 1 [(validate.rules).message.required = 1];\n}`,
    /required takes true or false, not 1/,
  ],
  [
    "a pattern that is none",
    `${RULES}\nmessage M {\n  string «a = 1 [(validate.rules).string.pattern = "("];\n}`,
    /"\(" is no regular expression/,
  ],
];

/** What the build says of a filter with these files. */
async function told(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = join(root, "mine");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [file, text] of Object.entries({ "mine.ts": "", ...files })) writeFileSync(join(folder, file), text);
  const error = await buildFilter(folder, { outFolder: join(root, "out") }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Error);
  return error.message;
}

describe("a .proto that is wrong", () => {
  for (const [what, marked, expected] of MISTAKES) {
    it(what, async () => {
      const lines = marked.slice(0, marked.indexOf("«")).split("\n");
      const text = await told({ "mine.proto": marked.replace("«", "") });
      assert.match(text, expected);
      assert.ok(text.includes(`mine.proto:${lines.length}:${lines.at(-1)!.length + 1}: `), text);
      assert.doesNotMatch(text, /\n/, "one mistake, one line");
    });
  }

  it("may use what is published, and keep what it reserves", async () => {
    const proto = `${RULES} import "google/protobuf/duration.proto";
/* message X { */
message M {
  reserved 9;
  option deprecated = false;
  google.protobuf.Duration d = 1 [(validate.rules).duration = { required: true, gte { seconds: 1 } }];
  map<string, int32> m = 2 [(validate.rules).map = { min_pairs: 1, keys { string { min_len: 1 } }, values { int32 { gt: 0 } } }];
  oneof k { option (validate.required) = true; string s = 3; E e = 4 [(validate.rules).enum = { defined_only: true, in: [0, 1] }]; }
  enum E { option allow_alias = true; A = 0; B = 0; C = -1; }
  repeated string l = 5 [(validate.rules).repeated = { unique: true, items { string { in: ["a", "b"] } } }];
}
service S { rpc X(M) returns (M); }`;
    // The source is empty: what is told is about that.
    assert.match(await told({ "mine.proto": proto }), /mine\.ts: nothing is registered/);
  });

  it("is read to its end, whatever it is", () => {
    for (const text of [
      "",
      "message",
      "message {",
      "message M { string",
      "}}}",
      "enum E { A =",
      'import "',
      "message M { [(}",
      "\u0000{",
    ])
      assert.ok(new ProtoText("x.proto", text).declarations.length <= 2, text);
  });
});

describe("a filter.json that is wrong", () => {
  const proto = `${HEAD}\nmessage M { string a = 1; }`;
  const cases: readonly (readonly [what: string, json: string, told: RegExp])[] = [
    ["no JSON", '{\n  "version": 1,,\n}', /mine\/filter\.json:2:16: /],
    [
      "a misspelt field",
      '{ "licence": "MIT" }',
      /mine\/filter\.json: unknown field "licence"; did you mean "license"\?/,
    ],
    [
      "a message that nobody declares",
      '{ "configuration": "a.N" }',
      /mine\/filter\.json: there is no message a\.N; .*mine\.proto declares M/,
    ],
    [
      "a .proto that is not there",
      '{ "protos": ["x/y.proto"] }',
      /mine\/filter\.json: "protos" names x\/y\.proto, which is neither/,
    ],
  ];
  for (const [what, json, expected] of cases) {
    it(what, async () => {
      assert.match(await told({ "mine.proto": proto, "filter.json": json }), expected);
    });
  }
});
