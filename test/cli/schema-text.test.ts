/** A schema in words, and as a configuration to fill in: whatever it prints is a configuration that is taken. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { readModuleFacts } from "../../runtime/cli/module-facts.ts";
import { describeMessage, scaffold } from "../../runtime/cli/schema-text.ts";
import { loadFilter } from "../../runtime/testkit/testkit.ts";

const moduleOf = (name: string): string => fileURLToPath(new URL(`../../build/filters/${name}.wasm`, import.meta.url));

describe("a schema", () => {
  it("is told field by field with its rules", () => {
    const { schema } = readModuleFacts(readFileSync(moduleOf("evangelist")));
    assert.deepEqual(describeMessage(schema!, "sluice.filters.evangelist.v1.Evangelist", ""), [
      "msg: string, at least 8 characters, at most 25 characters",
      "silent: bool",
    ]);
  });

  it("becomes a configuration that the filter takes", async () => {
    const { schema, manifest } = readModuleFacts(readFileSync(moduleOf("evangelist")));
    const { configuration } = parse(scaffold(schema!, String(manifest!["configuration"])).join("\n")) as {
      configuration: Record<string, unknown>;
    };
    const filter = await loadFilter({ module: moduleOf("evangelist"), configuration });
    assert.equal((await filter.send()).headers["x-evangelist"], "xxxxxxxx");
    filter.close();
  });

  for (const name of ["fault", "ratelimit", "local_ratelimit"]) {
    it(`of ${name} becomes YAML that names each field`, () => {
      const { schema, manifest } = readModuleFacts(readFileSync(moduleOf(name)));
      const lines = scaffold(schema!, String(manifest!["configuration"]));
      assert.equal(
        (parse(lines.join("\n")) as { configuration: Record<string, unknown> }).configuration["@type"],
        `type.googleapis.com/${String(manifest!["configuration"])}`,
      );
      const fields = lines.filter((line) => /^\s*(?:# )?(?:- )?[a-z_]+:/.test(line));
      assert.ok(fields.length > 5);
    });
  }
});
