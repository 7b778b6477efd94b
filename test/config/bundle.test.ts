/** The committed descriptors are the ones that the .proto files give, and the table of fields fits them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { generateBundle } from "../../runtime/config/bundle/generate.ts";
import { regexProblem } from "../../runtime/config/rules/regex.ts";
import { IGNORED_FIELDS, REFUSED_FIELDS, SUPPORTED_FIELDS } from "../../runtime/config/rules/support-table.ts";
import { builtInSchema } from "../../runtime/config/schema/schema.ts";

const committed = readFileSync(join(import.meta.dirname, "../../runtime/config/bundle/descriptors.json"), "utf8");

test("making the descriptors again gives the committed file (else: npm run bundle)", () => {
  assert.ok(generateBundle() === committed, "runtime/config/bundle/descriptors.json is out of date");
});

test("every pattern in the rules is an expression that RE2 reads", () => {
  const patterns = [...committed.matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)].map(
    (match) => JSON.parse(match[1] ?? '""') as string,
  );
  assert.ok(patterns.length > 0);
  for (const pattern of patterns) assert.equal(regexProblem(pattern), undefined, pattern);
});

test("the table of used and ignored fields names fields that exist, each once", () => {
  const schema = builtInSchema();
  for (const [name, fields] of SUPPORTED_FIELDS) {
    const type = schema.message(name);
    assert.ok(type, name);
    for (const field of fields) if (field !== "") assert.ok(type.byName.has(field), `${name}.${field}`);
    for (const field of IGNORED_FIELDS.get(name)?.keys() ?? []) {
      assert.ok(field === "*" || type.byName.has(field), `${name}.${field}`);
      assert.ok(!fields.has(field), `${name}.${field} is used and ignored`);
    }
  }
});

test("fields that are refused with a reason exist, and are neither used nor ignored", () => {
  const schema = builtInSchema();
  for (const [name, fields] of REFUSED_FIELDS) {
    assert.ok(SUPPORTED_FIELDS.has(name), name);
    for (const field of fields.keys()) {
      assert.ok(schema.message(name)?.byName.has(field), `${name}.${field}`);
      assert.ok(!SUPPORTED_FIELDS.get(name)!.has(field), `${name}.${field} is used`);
      assert.ok(IGNORED_FIELDS.get(name)?.has(field) !== true, `${name}.${field} is ignored`);
    }
  }
});

test("newer fields of ours stand beside the published ones", () => {
  const schema = builtInSchema();
  const id = (message: string, field: string): number | undefined => schema.message(message)?.byName.get(field)?.id;
  assert.equal(id("envoy.extensions.wasm.v3.PluginConfig", "failure_policy"), 7);
  assert.equal(id("envoy.extensions.wasm.v3.PluginConfig", "root_id"), 2);
  assert.equal(id("envoy.extensions.filters.http.ratelimit.v3.RateLimit", "rate_limits"), 17);
  assert.equal(id("envoy.config.route.v3.RateLimit.Action", "query_parameters"), 12);
  assert.equal(id("envoy.config.route.v3.RateLimit.Action", "generic_key"), 5);
  assert.equal(id("envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy", "stat_prefix"), 1);
  assert.equal(schema.enum("envoy.config.accesslog.v3.ComparisonFilter.Op")?.byName.get("NE"), 3);
});
