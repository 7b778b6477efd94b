/** The chapter "Sharing filters" of the README, line by line, against a real registry. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { loadBootstrap } from "../../runtime/config/load.ts";
import { configuration } from "../hotload/versions.ts";
import { startRegistry } from "./registry-process.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
const MODULE = fileURLToPath(new URL("../../build/filters/evangelist.wasm", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-sharing-"));
after(() => rmSync(scratch, { recursive: true }));

it("sharing filters, as the README has it", async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const start = readme.indexOf("## Sharing filters");
  const chapter = readme.slice(start, readme.indexOf("\n## ", start + 1));
  const commands = [...chapter.matchAll(/^npx sluice (.+)$/gm)].map((match) => match[1]!);
  assert.ok(commands.length >= 9);
  mkdirSync(join(scratch, "tollgate", "build"), { recursive: true });
  cpSync(MODULE, join(scratch, "tollgate", "build", "tollgate.wasm"));
  const registry = await startRegistry();
  try {
    for (const command of commands) {
      const args = command.replaceAll("registry.example.com", registry.host).split(" ");
      const { error, output } = await new Promise<{ error: Error | null; output: string }>((resolve) => {
        const env = { ...process.env, COSIGN_PASSWORD: "asked for at a terminal" };
        execFile(process.execPath, [SLUICE, ...args], { cwd: scratch, env }, (failure, out, err) =>
          resolve({ error: failure, output: out + err }),
        );
      });
      assert.equal(error, null, `${command}\n${output}`);
    }
    assert.ok(readFileSync(join(scratch, "tollgate.wasm")).equals(readFileSync(MODULE)));
  } finally {
    await registry.stop();
  }
});

it("the rules that the README shows are taken", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const snippet = /```yaml\n(bootstrap_extensions:[^`]*registries:[^`]*)```/.exec(readme)?.[1];
  assert.ok(snippet);
  const key = join(scratch, "team.pub");
  const config = configuration(MODULE, {});
  const settings = JSON.stringify((parse(snippet) as { bootstrap_extensions: unknown }).bootstrap_extensions)
    .replace('"team.pub"', JSON.stringify(key))
    .replace('"tollgate"', '"versions"');
  const text = `${config.replace(/configuration: \{[^}]*\}/, 'configuration: { "@type": x/google.protobuf.Struct, value: {} }')}\nbootstrap_extensions: ${settings}`;
  const { snapshot, errors } = loadBootstrap([{ name: "readme", text, base: scratch }], { bundledFilters: {} });
  assert.deepEqual(errors, []);
  assert.deepEqual(
    snapshot?.trust.map(({ plugins, enforced }) => [...plugins, enforced]),
    [["versions", true]],
  );
  assert.deepEqual([snapshot?.registries.pullPolicy, snapshot?.registries.pollMs], ["ALWAYS", 60_000]);
});
