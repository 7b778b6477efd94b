/** The same source gives the same bytes, wherever, whenever and by whom it is built; and says all that it is. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { newFilter } from "../../runtime/cli/new.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SLUICE = join(ROOT, "runtime", "cli", "sluice.js");
const scratch = mkdtempSync(join(tmpdir(), "sluice-same-"));
after(() => rmSync(scratch, { recursive: true }));
const run = promisify(execFile);

const FACTS = {
  version: "3.2.1",
  description: "Keeps a gate",
  license: "MIT",
  isolation: "stream",
  metrics: ["gate.marked", "gate.seen"],
  revision: "v3.2.1-4-gabcdef0",
} as const;

const hash = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
/** The modules of both kinds, and their maps. */
const hashes = (folder: string): string[] =>
  ["build", "build/debug"].flatMap((out) =>
    [`${out}/gate.wasm`, `${out}/gate.wasm.map`].map((file) => hash(join(folder, file))),
  );

/** Builds `folder` in both ways with the compiler of `repository`. */
async function build(repository: string, folder: string, env: NodeJS.ProcessEnv): Promise<string[]> {
  const main = join(repository, "filters", "build", "main.ts");
  for (const more of [[], ["--debug"]])
    await run(process.execPath, [main, "--force", ...more, folder], { env: { ...process.env, ...env }, cwd: folder });
  return hashes(folder);
}

describe("a filter that is built twice", () => {
  const here = join(scratch, "here", "gate");
  before(() => {
    mkdirSync(join(scratch, "here"));
    newFilter(here);
    writeFileSync(join(here, "filter.json"), JSON.stringify(FACTS));
  });

  it("has the same bytes: another folder, another compiler's folder, another user and time", async () => {
    const first = await build(ROOT, here, {});
    const there = join(scratch, "somewhere", "quite", "different");
    mkdirSync(there, { recursive: true });
    // What a checkout by somebody else has: other settings of editors, other times, nothing that was made.
    newFilter(join(there, "gate"));
    for (const file of ["gate.ts", "gate.proto", "gate.test.ts", "filter.json"]) {
      writeFileSync(join(there, "gate", file), readFileSync(join(here, file)));
      utimesSync(join(there, "gate", file), 0, 86_400);
    }
    const repository = join(scratch, "tools");
    mkdirSync(repository);
    for (const part of ["filters", "abi", "asconfig.json", "package.json"])
      cpSync(join(ROOT, part), join(repository, part), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(repository, "node_modules"));
    const env = { TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", USER: "somebody", LOGNAME: "somebody", HOME: there };
    assert.deepEqual(await build(repository, join(there, "gate"), env), first);
  });

  it("names no folder, user or host of this machine", () => {
    for (const file of ["build/gate.wasm", "build/debug/gate.wasm", "build/gate.wasm.map"]) {
      const text = readFileSync(join(here, file)).toString("latin1");
      for (const trace of [scratch, ROOT, tmpdir()]) assert.ok(!text.includes(trace), trace);
    }
  });

  it("says all that it is, in text and as JSON", async () => {
    const module = join(here, "build", "gate.wasm");
    const { stdout: text } = await run(process.execPath, [SLUICE, "inspect", module]);
    const { stdout: json } = await run(process.execPath, [SLUICE, "inspect", module, "--json"]);
    const { from, size, sha256, source, callbacks, hostFunctions, unknownImports, schema, ...rest } = JSON.parse(
      json,
    ) as Record<string, unknown>;
    assert.deepEqual(rest, {
      name: "gate",
      ...FACTS,
      compiler: "assemblyscript 0.28.20",
      kinds: ["http"],
      abi: "0.2.1",
      configuration: "gate.v1.Gate",
    });
    assert.deepEqual([from, size, sha256], [module, readFileSync(module).length, hash(module)]);
    assert.match(String(source), /^[0-9a-f]{64}$/);
    assert.deepEqual(unknownImports, []);
    assert.ok((callbacks as string[]).includes("proxy_on_response_headers"));
    assert.ok((hostFunctions as string[]).includes("env.proxy_send_local_response"));
    assert.deepEqual(schema, ["greeting: string, at least 3 characters, at most 40 characters"]);
    const facts = Object.values({ ...rest, source, callbacks, hostFunctions, schema }).flat();
    for (const fact of facts) assert.ok(text.includes(String(fact)), `${String(fact)} is not in\n${text}`);
  });
});
