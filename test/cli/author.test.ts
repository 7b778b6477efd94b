/** What a filter author does from the first command on: `sluice new`, `build`, `test`, mistakes and traps included. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { runNode, SLUICE } from "./command.ts";

const TSC = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-author-"));
after(() => rmSync(scratch, { recursive: true }));

interface Outcome {
  readonly status: number;
  readonly output: string;
}

/** Runs a command as a person does, in `cwd`. */
async function run(file: string, args: readonly string[], cwd = scratch): Promise<Outcome> {
  const env = { NO_COLOR: "1", NODE_TEST_CONTEXT: undefined };
  const { status, stdout, stderr } = await runNode(file, args, { cwd, env });
  return { status, output: `${stdout}${stderr}` };
}

const sluice = (...args: string[]): Promise<Outcome> => run(SLUICE, args);

for (const kind of ["http", "network"] as const) {
  describe(`a new filter of kind ${kind}`, () => {
    const name = `gate_${kind}`;
    const folder = join(scratch, name);
    before(async () => {
      const made = await sluice("new", name, "--kind", kind);
      assert.equal(made.status, 0, made.output);
      assert.match(made.output, new RegExp(`npx sluice test ${name}\n`));
    });

    it("passes its own tests", async () => {
      const { status, output } = await sluice("test", name);
      assert.equal(status, 0, output);
      assert.match(output, /pass 3\b/);
    });

    it("builds from within its folder, and its bootstrap is valid", async () => {
      const built = await run(SLUICE, ["build"], folder);
      assert.equal(built.status, 0, built.output);
      const valid = await run(SLUICE, ["validate", "-c", "sluice.yaml"], folder);
      assert.equal(valid.status, 0, valid.output);
    });

    it("has a README whose commands find sluice once it is linked", () => {
      execFileSync("npm", ["install", "--offline", "--no-audit", "--no-fund"], { cwd: folder, stdio: "pipe" });
      assert.match(readFileSync(join(folder, "README.md"), "utf8"), /^ {4}npm install .*\n {4}npx sluice build /m);
      const help = execFileSync("npm", ["run", "-s", "test", "--", "--help"], { cwd: folder, encoding: "utf8" });
      assert.match(help, /^Usage: sluice test/);
    });

    it("is checked by editors as AssemblyScript, without a mistake", async () => {
      const { status, output } = await run(TSC, ["-p", folder]);
      assert.equal(status, 0, output);
    });
  });
}

describe("a filter of an author's", () => {
  const folder = join(scratch, "gate_keeper");
  before(async () => {
    const made = await sluice("new", "gate_keeper");
    assert.equal(made.status, 0, made.output);
    assert.match(made.output, /an HTTP filter/);
  });

  it("says where a test's expectation fails", async () => {
    const test = join(folder, "gate_keeper.test.ts");
    const text = readFileSync(test, "utf8");
    writeFileSync(test, text.replace("answer.status, 201", "answer.status, 404"));
    const { status, output } = await sluice("test", "gate_keeper");
    writeFileSync(test, text);
    assert.equal(status, 1);
    assert.match(output, /201 !== 404/);
  });

  it("shows the source line of a trap", async () => {
    const source = join(folder, "gate_keeper.ts");
    const text = readFileSync(source, "utf8");
    const line = text.slice(0, text.indexOf("responseHeaders.replace")).split("\n").length;
    writeFileSync(
      source,
      text.replace(
        "responseHeaders.replace",
        'if (i32(this.contextId) > 0) throw new Error("no way"); responseHeaders.replace',
      ),
    );
    const { status, output } = await sluice("test", "gate_keeper");
    writeFileSync(source, text);
    assert.equal(status, 1);
    assert.match(output, /critical wasm log .*no way/);
    assert.match(output, new RegExp(`gate_keeper\\.ts:${line}:`));
  });

  it("does not run tests of a filter that does not compile", async () => {
    const source = join(folder, "gate_keeper.ts");
    const text = readFileSync(source, "utf8");
    writeFileSync(source, text.replace("return CONTINUE;", "return CONTINUES;"));
    const { status, output } = await sluice("test", "gate_keeper");
    writeFileSync(source, text);
    assert.equal(status, 1);
    assert.match(output, /gate_keeper\.ts:\d+:\d+: Cannot find name 'CONTINUES'/);
    assert.doesNotMatch(output, /pass/);
  });

  it("never overwrites", async () => {
    const { status, output } = await sluice("new", "gate_keeper");
    assert.equal(status, 1);
    assert.match(output, /is there already/);
  });
});

describe("the README's first filter", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const block = /## Your first filter\n+```sh\n([^`]*)```/.exec(readme)?.[1] ?? "";
  const lines = block.split("\n").map((line) => line.replace(/#.*/, "").trim());

  it("comes about by the commands that stand there", async () => {
    const commands = lines.filter((line) => /^npx sluice (?:new|test|build) /.test(line));
    assert.equal(commands.length, 3);
    for (const command of commands) {
      const { status, output } = await sluice(...command.split(" ").slice(2));
      assert.equal(status, 0, `${command}\n${output}`);
    }
  });
});

describe("sluice new", () => {
  for (const name of ["Gate", "9lives", "a-b", "x".repeat(41), "a.b"]) {
    it(`refuses the name ${name}`, async () => {
      const { status, output } = await sluice("new", name);
      assert.equal(status, 1);
      assert.match(output, /is no name for a filter/);
    });
  }
});

describe("sluice test", () => {
  // It builds and runs them all, which takes as long as everything else here.
  it("runs the bundled filters' own tests", { timeout: 600_000 }, async () => {
    const { status, output } = await sluice("test");
    assert.equal(status, 0, output);
    for (const name of ["evangelist", "fault", "local_ratelimit", "ratelimit"])
      assert.ok(output.includes(`${name} `), name);
    assert.match(output, /pass \d/);
    assert.doesNotMatch(output, /fail [1-9]/);
  });

  it("refuses a folder without tests", async () => {
    const empty = mkdtempSync(join(tmpdir(), "sluice-empty-"));
    const refused = await sluice("test", empty);
    rmSync(empty, { recursive: true });
    assert.equal(refused.status, 1);
    assert.match(refused.output, /there is no \*\.test\.ts/);
  });
});
