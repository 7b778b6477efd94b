/** Input that means harm, or nothing at all: the load answers with problems or a snapshot, and never throws. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { moduleSchema, schemaOfDescriptors } from "../../runtime/config/schema/artifact.ts";
import { builtInSchema, type Field, type MessageType } from "../../runtime/config/schema/schema.ts";
import { formatProblem } from "../../runtime/config/problem.ts";
import { fc } from "../properties.ts";
import { descriptorsOf, moduleWith } from "./descriptors.ts";
import { bootstrap, load } from "./fixture.ts";

const schema = builtInSchema();

/** Errors, or a snapshot: never both, never none; every error can be shown. */
function answers(text: string): void {
  const { snapshot, errors, warnings } = load(text);
  assert.equal(snapshot === undefined, errors.length > 0, text);
  for (const problem of [...errors, ...warnings])
    assert.match(formatProblem(problem), /^test\.yaml:\d+:\d+: (error|warning): /);
}

/** JSON that follows a message type for the most part, with values of any kind in between. */
function valueOf(type: MessageType, depth: number): fc.Arbitrary<unknown> {
  if (depth === 0 || type.fields.length === 0) return fc.constant({});
  const members = fc.subarray([...type.fields], { maxLength: Math.min(4, type.fields.length) });
  return members.chain((fields) =>
    fc.record(Object.fromEntries(fields.map((field) => [field.name, fieldValue(field, depth)]))),
  );
}

function fieldValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  const single = singleValue(field, depth);
  const shaped =
    field.mapKey !== undefined
      ? fc.dictionary(fc.string({ maxLength: 3 }), single, { maxKeys: 2 })
      : field.repeated
        ? fc.array(single, { maxLength: 2 })
        : single;
  return fc.oneof({ arbitrary: shaped, weight: 12 }, { arbitrary: fc.jsonValue({ maxDepth: 1 }), weight: 1 });
}

const ANY_TYPES = [
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  "envoy.extensions.filters.http.wasm.v3.Wasm",
  "google.protobuf.Struct",
  "xds.type.v3.TypedStruct",
  "envoy.extensions.filters.http.fault.v3.HTTPFault",
  "no.such.Type",
  "",
];

function singleValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  if (field.typeName === "google.protobuf.Any") {
    return fc.constantFrom(...ANY_TYPES).chain((name) => {
      const type = schema.message(name);
      const content = type === undefined ? fc.constant({}) : valueOf(type, depth - 1);
      return content.map((fields) => ({ "@type": `type.googleapis.com/${name}`, ...(fields as object) }));
    });
  }
  const type = field.kind === "message" ? schema.message(field.typeName) : undefined;
  if (type?.name.startsWith("google.protobuf.") === true)
    return fc.oneof(fc.constant("1s"), fc.nat(), fc.boolean(), fc.string(), fc.jsonValue({ maxDepth: 2 }));
  if (type !== undefined) return valueOf(type, depth - 1);
  if (field.kind === "enum") return fc.constantFrom(...(schema.enum(field.typeName)?.byName.keys() ?? []));
  if (field.kind === "string")
    return fc.oneof(fc.constantFrom("a", "/", "127.0.0.1", "%REQ(:path)%", "(a"), fc.string());
  return field.kind === "bool" ? fc.boolean() : fc.oneof(fc.nat(1000), fc.double(), fc.integer());
}

describe("hostile input", () => {
  test("any JSON", () => {
    fc.assert(
      fc.property(fc.json(), (text) => answers(text)),
      { numRuns: 300 },
    );
  });

  test("any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => answers(text)),
      { numRuns: 300 },
    );
  });

  test("text of YAML's own signs", () => {
    const sign = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ":",
      "- ",
      "\n",
      " ",
      "&a ",
      "*a",
      "<<: ",
      "? ",
      "|",
      ">",
      "!!str ",
      "!!binary ",
      "#",
      "'",
      '"',
      "admin",
      "node",
      "0x1",
      "~",
      ".nan",
      "---",
      "%YAML 1.1\n",
      "\t",
      ", ",
    );
    fc.assert(
      fc.property(fc.array(sign, { maxLength: 30 }), (signs) => answers(signs.join(""))),
      { numRuns: 500 },
    );
  });

  test("values along the message types, right and wrong", () => {
    const value = valueOf(schema.expect("envoy.config.bootstrap.v3.Bootstrap"), 9);
    fc.assert(
      fc.property(value, (json) => answers(JSON.stringify(json))),
      { numRuns: 300 },
    );
  });

  test("values along the types of the connection manager", () => {
    const manager = valueOf(
      schema.expect("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
      9,
    );
    fc.assert(
      fc.property(manager, (json) => {
        const type =
          "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        const filters = [{ name: "hcm", typed_config: { "@type": type, stat_prefix: "s", ...(json as object) } }];
        const address = { socket_address: { address: "127.0.0.1", port_value: 0 } };
        answers(
          JSON.stringify({ static_resources: { listeners: [{ name: "l", address, filter_chains: [{ filters }] }] } }),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("one wrong value put anywhere in a right file", () => {
    const text = bootstrap({
      host: "request_headers_to_add: [ { header: { key: a, value: b } } ],",
      rest: "node: { id: a }",
    });
    const spots = [...text.matchAll(/: ([\w./"*]+)/g)].map(
      (match) => [match.index + 2, match[1]?.length ?? 0] as const,
    );
    for (const value of [
      "null",
      "5",
      "-1",
      "true",
      '""',
      "[]",
      "{}",
      "[null]",
      "{a: b}",
      "1e999",
      '"\\u0000"',
      "1.5s",
      "*",
      "!!float x",
    ]) {
      for (const [start, length] of spots) answers(text.slice(0, start) + value + text.slice(start + length));
    }
  });

  test("deep nesting", () => {
    for (const text of [
      "[".repeat(100_000),
      "{a: ".repeat(20_000),
      "[".repeat(5000) + "]".repeat(5000),
      `node: { metadata: { a: ${"[".repeat(150)}${"]".repeat(150)} } }`,
    ]) {
      const { errors } = load(text);
      assert.ok(errors.length > 0);
    }
    const any = `{ "@type": x/google.protobuf.Any, value: `;
    answers(`stats_sinks: [ { name: a, typed_config: ${any.repeat(90)}{}${" }".repeat(90)} } ]`);
  });

  test("an alias bomb", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 9; i += 1) lines.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(10)}]`);
    const { errors } = load(lines.join("\n"));
    assert.match(errors[0]?.message ?? "", /more than 1000000 values once aliases are resolved/);
  });

  test("an alias to itself", () => {
    assert.match(load("a: &a [*a]").errors[0]?.message ?? "", /nested deeper|no anchor/);
    assert.match(load("a: &a { b: *a }").errors[0]?.message ?? "", /nested deeper|no anchor/);
  });

  test("thousands of errors are bounded", () => {
    const { errors } = load(`static_resources: { clusters: [ ${"{ nme: a },\n ".repeat(5000)} ] }`);
    assert.equal(errors.length, 1000);
  });

  test("module bytes and descriptors of any kind", () => {
    const good = descriptorsOf(`syntax = "proto3"; package p; import "validate/validate.proto";
      message M { string s = 1 [(validate.rules).string.min_len = 1]; map<string, M> m = 2; repeated int32 r = 3; }`);
    assert.ok(moduleSchema(moduleWith(good))?.message("p.M"));
    const flips = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const onlyErrors = (work: () => unknown): void => {
      try {
        work();
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof TypeError), String(error));
      }
    };
    fc.assert(
      fc.property(flips, (changes) => {
        const bytes = new Uint8Array(good);
        for (const [at, value] of changes) bytes[at] = value;
        onlyErrors(() => schemaOfDescriptors(bytes));
        onlyErrors(() => moduleSchema(moduleWith(bytes)));
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => onlyErrors(() => moduleSchema(bytes))),
      { numRuns: 300 },
    );
    for (let end = 0; end < good.length; end += 1) onlyErrors(() => schemaOfDescriptors(good.subarray(0, end)));
  });
});
