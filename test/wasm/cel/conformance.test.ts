/** The conformance tests of the CEL specification, as far as they are about what guests' expressions can do. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { tests } from "@bufbuild/cel-spec/testdata/conformance.js";
import { Expression } from "../../../runtime/wasm/cel/evaluate.ts";
import { readDuration, readTimestamp } from "../../../runtime/wasm/cel/time.ts";
import { SyntaxFault } from "../../../runtime/wasm/cel/tokens.ts";
import { EntryMap, equal, Failure, typeName, TypeName, Uint } from "../../../runtime/wasm/cel/values.ts";
import type { Result, Value } from "../../../runtime/wasm/cel/values.ts";

/** Suites about what there is not here, and why. */
const NOT_HERE: Readonly<Record<string, string>> = {
  bindings_ext: "an extension of the language",
  block_ext: "an extension of the language",
  encoders_ext: "an extension of the language",
  macros2: "an extension of the language",
  math_ext: "an extension of the language",
  optionals: "an extension of the language",
  proto2_ext: "an extension of the language",
  string_ext: "an extension of the language",
  enums: "protobuf messages",
  proto2: "protobuf messages",
  proto3: "protobuf messages",
  wrappers: "protobuf messages",
  dynamic: "protobuf messages",
  namespace: "no containers, so no qualified variables",
  "fields/qualified_identifier_resolution": "no containers, so no qualified variables",
  "parse/receiver_function_names": "functions there are not are refused before evaluation, as in Envoy",
};
const NOT_HERE_EITHER: Readonly<Record<string, string>> = {
  unbound_is_runtime_error: "functions there are not are refused before evaluation, as in Envoy",
};

type Json = Readonly<Record<string, unknown>>;
interface Case {
  readonly name?: string;
  readonly expr: string;
  readonly value?: Json;
  readonly typedResult?: { readonly result?: Json };
  readonly bindings?: Readonly<Record<string, { readonly value: Json }>>;
  readonly evalError?: unknown;
  readonly checkOnly?: boolean;
}
interface Suite {
  readonly name: string;
  readonly suites?: readonly Suite[];
  readonly tests?: readonly { readonly original: Case }[];
}

/** A value of the tests is a message. */
class NoSuchValue extends Error {}

function valueOf(json: Json): Value {
  const [[kind, content]] = Object.entries(json) as [[string, never]];
  const whole = content as Json;
  switch (kind) {
    case "int64Value":
      return BigInt(content);
    case "uint64Value":
      return new Uint(BigInt(content));
    case "doubleValue":
      return Number(content);
    case "stringValue":
    case "boolValue":
    case "nullValue":
      return content;
    case "bytesValue":
      return Buffer.from(content, "base64");
    case "typeValue":
      return new TypeName(content);
    case "listValue":
      return ((whole["values"] ?? []) as Json[]).map(valueOf);
    case "mapValue": {
      const map = new EntryMap();
      for (const entry of (whole["entries"] ?? []) as { key: Json; value: Json }[]) {
        map.add(valueOf(entry.key), valueOf(entry.value));
      }
      return map;
    }
  }
  const read = String(whole["@type"]).endsWith(".Timestamp") ? readTimestamp : readDuration;
  const value = /\.(Timestamp|Duration)$/.test(String(whole["@type"])) ? read(String(whole["value"])) : undefined;
  if (value === undefined || value instanceof Failure) throw new NoSuchValue(kind);
  return value;
}

function evaluate(one: Case): Result {
  const bindings = new Map(Object.entries(one.bindings ?? {}).map(([name, { value }]) => [name, valueOf(value)]));
  try {
    return new Expression(one.expr).evaluate((name) => bindings.get(name), 1_000_000);
  } catch (error) {
    if (error instanceof SyntaxFault) return new Failure(error.message);
    throw error;
  }
}

let compared = 0;

function check(one: Case): void {
  const title = `${one.name}: ${one.expr}`;
  const result = evaluate(one);
  const failed = result instanceof Failure;
  if (failed && result.reason.startsWith("messages cannot be made")) return;
  compared++;
  if (one.evalError !== undefined) {
    assert.ok(failed, title);
    return;
  }
  if (failed) assert.fail(`${title}: ${result.reason}`);
  const json = one.typedResult === undefined ? one.value : one.typedResult.result;
  if (json === undefined && one.typedResult !== undefined) return;
  const wanted = json === undefined ? true : valueOf(json);
  assert.equal(typeName(result), typeName(wanted), title);
  assert.ok((Number.isNaN(result) && Number.isNaN(wanted)) || equal(result, wanted, () => {}), title);
}

function walk(suite: Suite, path: string): void {
  if (Object.hasOwn(NOT_HERE, path)) return;
  if (suite.tests !== undefined) {
    test(path, () => {
      for (const { original } of suite.tests!) {
        if (original.checkOnly === true || Object.hasOwn(NOT_HERE_EITHER, original.name ?? "")) continue;
        try {
          check(original);
        } catch (error) {
          if (!(error instanceof NoSuchValue)) throw error;
        }
      }
    });
  }
  for (const inner of suite.suites ?? []) walk(inner, path === "" ? inner.name : `${path}/${inner.name}`);
}

describe("CEL", () => {
  walk(tests, "");
  test("more than a thousand cases were compared", () => {
    assert.ok(compared > 1000, String(compared));
  });
});
