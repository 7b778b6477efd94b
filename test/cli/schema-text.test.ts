/** A schema in words, and as a configuration to fill in: whatever it prints is a configuration that is taken. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { readModuleFacts } from "../../runtime/cli/module-facts.ts";
import { scaffold } from "../../runtime/cli/scaffold.ts";
import { describeMessage } from "../../runtime/cli/schema-text.ts";
import { MAX_SCHEMA_LINES } from "../../runtime/limits.ts";
import { loadFilter } from "../../runtime/testkit/testkit.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
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

/** A field of a protobuf message: text and messages. */
function part(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.of((number << 3) | 2, ...length), bytes]);
}

/** A custom section of a module. */
function section(name: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.of(name.length), Buffer.from(name), content]);
  const size = [(body.length & 0x7f) | 0x80, ((body.length >> 7) & 0x7f) | 0x80, body.length >> 14];
  return Buffer.concat([Buffer.of(0, ...size), body]);
}

/** A module whose configuration is the message `evil.A` with these fields, all of the type `type`. */
function moduleWith(fields: readonly string[], type: string): Buffer {
  const field = (name: string, number: number): Buffer =>
    // Label optional, type message.
    Buffer.concat([part(1, name), Buffer.of(0x18, number, 0x20, 1, 0x28, 11), part(6, type)]);
  const message = Buffer.concat([part(1, "A"), ...fields.map((name, n) => part(2, field(name, n + 1)))]);
  const file = Buffer.concat([part(2, "evil"), part(4, message), part(12, "proto3")]);
  return Buffer.concat([
    Buffer.from("0061736d01000000", "hex"),
    section("sluice.manifest", Buffer.from('{"configuration":"evil.A"}')),
    section("sluice.schema", part(1, file)),
  ]);
}

describe("a hostile schema", () => {
  it("that holds itself a hundred times over is cut off", () => {
    const fields = Array.from({ length: 100 }, (_, n) => `f${n}`);
    const { schema } = readModuleFacts(moduleWith(fields, ".evil.A"));
    assert.ok(describeMessage(schema!, "evil.A").length <= MAX_SCHEMA_LINES + 1);
    assert.match(describeMessage(schema!, "evil.A").at(-1)!, /there is more/);
    const lines = scaffold(schema!, "evil.A");
    assert.ok(lines.length < 4 * MAX_SCHEMA_LINES, String(lines.length));
    assert.match(lines.at(-1)!, /there is more/);
    parse(lines.join("\n"));
  });

  it("is no crash when it is no schema, or its configuration is none of its types", () => {
    const broken = Buffer.concat([Buffer.from("0061736d01000000", "hex"), section("sluice.schema", Buffer.from("x"))]);
    assert.throws(() => readModuleFacts(broken), /MODULE_CORRUPTED: its schema cannot be read/);
    const { schema } = readModuleFacts(moduleWith(["f"], ".google.protobuf.Duration"));
    assert.deepEqual(scaffold(schema!, "evil.Other").slice(2), ["  # the type is not in the module"]);
  });

  it("reaches no terminal with its control characters", () => {
    const file = join(mkdtempSync(join(tmpdir(), "sluice-schema-")), "evil.wasm");
    writeFileSync(file, moduleWith(["\u001b[31mred\nline"], ".google.protobuf.Duration"));
    for (const flags of [[], ["--scaffold"]]) {
      const out = execFileSync(process.execPath, [SLUICE, "inspect", file, ...flags], { encoding: "utf8" });
      assert.ok(!out.includes("\u001b"), out);
      assert.match(out, /\?\[31mred\?line/);
    }
    rmSync(dirname(file), { recursive: true });
  });
});
