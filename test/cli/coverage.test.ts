/** `sluice test --coverage`: lines and functions that are known to run and not to, in AssemblyScript, C and without lines. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runNode, SLUICE } from "./command.ts";
import { built } from "../languages/toolchains.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-coverage-"));
after(() => rmSync(scratch, { recursive: true }));

async function sluice(...args: string[]): Promise<{ readonly status: number; readonly output: string }> {
  const env = { NO_COLOR: "1", NODE_TEST_CONTEXT: undefined };
  const { status, stdout, stderr } = await runNode(SLUICE, args, { cwd: scratch, env });
  return { status, output: `${stdout}${stderr}` };
}

function folder(name: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  const path = join(scratch, name);
  mkdirSync(path);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

/** The records of an lcov file by their source's name: `DA:3` → `2`. */
function records(path: string): Map<string, Map<string, string>> {
  const files = new Map<string, Map<string, string>>();
  for (const part of readFileSync(path, "utf8").split("end_of_record\n")) {
    const source = /^SF:(.*)$/m.exec(part)?.[1];
    if (source === undefined) continue;
    const lines = part.split("\n").flatMap((line) => {
      const [, kind, key, value] = /^(DA|FNDA|FN):([^,]+),(.*)$/.exec(line) ?? [];
      if (kind === undefined) return [];
      return kind === "FNDA" ? [[`FNDA ${value}`, key!] as const] : [[`${kind} ${key}`, value!] as const];
    });
    files.set(source.slice(source.lastIndexOf("/") + 1), new Map(lines));
  }
  return files;
}

const SOURCE = `import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders, responseHeaders } from "sluice/filters/sdk/headers.ts";
import { count, halve } from "./work.ts";

class Mine extends Filter {
  override onRequestHeaders(_headers: u32, _end: bool): i32 {
    if (!requestHeaders.has("x-stop")) {
      return CONTINUE;
    }
    halve<i32>(1);
    return PAUSE;
  }
  override onResponseHeaders(_headers: u32, _end: bool): i32 {
    responseHeaders.replace("x-count", count(5).toString());
    return CONTINUE;
  }
  override onResponseTrailers(_trailers: u32): i32 {
    return CONTINUE;
  }
}
class Root extends RootContext {
  override createFilter(): StreamContext {
    return new Mine();
  }
}
register((): RootContext => new Root());
`;
const WORK = `export function count(most: i32): i32 {
  let sum = 0;
  for (let n = 0; n < most; n++) {
    if (n % 2 == 1) {
      sum += halve<i32>(n);
      sum += <i32>halve<i64>(n);
    } else {
      sum += n;
    }
  }
  return sum;
}
export function halve<T>(n: T): T {
  return n / <T>2;
}
`;
const TEST = `import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";
const ask = async (sandbox) => {
  const filter = await loadFilter({ sandbox });
  assert.equal((await filter.send()).headers["x-count"], "8");
  filter.close();
};
test("once", () => ask({}));
test("twice, an instance for each stream", () => ask({ isolation: "STREAM" }));
`;

describe("coverage of AssemblyScript", () => {
  it("counts each line, function and file of the filter's, and nothing else", async () => {
    const path = folder("mine", { "mine.ts": SOURCE, "work.ts": WORK, "mine.test.ts": TEST, "b.test.ts": TEST });
    const { status, output } = await sluice("test", "mine", "--coverage");
    assert.equal(status, 0, output);
    assert.match(output, /^coverage +lines +functions +not covered$/m);
    assert.match(output, /^mine\.ts +6\/9 +66\.7 % +5\/6 +83\.3 % {3}12-13, 20$/m);
    assert.match(output, /^work\.ts +8\/8 +100\.0 % +2\/2 +100\.0 %$/m);
    assert.match(output, /^all files +14\/17 +82\.4 % +7\/8 +87\.5 %$/m);
    assert.doesNotMatch(output, /sdk\/|~lib/);

    const files = records(join(path, "build", "debug", "coverage", "mine.info"));
    assert.deepEqual([...files.keys()].sort(), ["mine.ts", "work.ts"]);
    // Two test files, two streams each.
    const mine = files.get("mine.ts")!;
    assert.deepEqual(
      ["DA 9", "DA 10", "DA 12", "DA 16", "DA 20"].map((key) => mine.get(key)),
      ["4", "4", "0", "4", "0"],
    );
    assert.deepEqual(
      ["FNDA Mine.onRequestHeaders", "FNDA Mine.onResponseTrailers"].map((key) => mine.get(key)),
      ["4", "0"],
    );
    const work = files.get("work.ts")!;
    assert.deepEqual(
      ["DA 2", "DA 4", "DA 5", "DA 6", "DA 8", "DA 11"].map((key) => work.get(key)),
      ["4", "20", "8", "8", "12", "4"],
    );
    assert.deepEqual([work.get("FNDA count"), work.get("FNDA halve"), work.get("DA 14")], ["4", "16", "8"]);
  });

  it("is told of a bundled filter, from anywhere", async () => {
    const { status, output } = await sluice(
      "test",
      fileURLToPath(new URL("../../filters/evangelist", import.meta.url)),
      "--coverage",
    );
    assert.equal(status, 0, output);
    assert.match(output, /^evangelist\.ts +\d+\/\d+ /m);
  });

  it("changes nothing of what a test sees, fuel included", async () => {
    const test = `import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";
test("endless", async () => {
  const filter = await loadFilter({ sandbox: { fuel: 2_000_000 } });
  await assert.rejects(filter.send(), /out of fuel[^]*work\\.ts:3/);
  filter.close();
});`;
    const source = WORK.replace("n < most; n++", "n >= 0; n = 2");
    folder("endless", { "endless.ts": SOURCE, "work.ts": source, "endless.test.ts": test });
    for (const more of [[], ["--coverage"]]) {
      const { status, output } = await sluice("test", "endless", ...more);
      assert.equal(status, 0, output);
    }
  });
});

const ONCE = `import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";
test("once", async () => {
  const filter = await loadFilter({ module: "guest.wasm", rootId: "errand" });
  const answer = await filter.send({ headers: { "x-do": "headers", "x-remove": "please", "x-replace": "old" } });
  assert.equal(answer.status, 200);
  filter.close();
});
`;

describe("sluice test of modules from other languages", () => {
  for (const name of ["c", "cpp", "rust", "go"]) {
    it(`runs, and tells functions by name where there are no lines: ${name}`, async () => {
      folder(name, { "guest.wasm": built(name), "guest.test.ts": ONCE });
      const { status, output } = await sluice("test", name, "--coverage");
      assert.equal(status, 0, output);
      const [, hit, found] = /^\S*guest\.wasm +– +(\d+)\/(\d+) /m.exec(output) ?? [];
      assert.ok(Number(hit) > 3 && Number(hit) < Number(found), output);
      assert.match(output, /names no lines of sources/);
    });
  }

  it("is told although a test fails, whose status stays", async () => {
    folder("failing", { "guest.wasm": built("c"), "guest.test.ts": ONCE.replace("200", "201") });
    const { status, output } = await sluice("test", "failing", "--coverage");
    assert.equal(status, 1);
    assert.match(output, /200 !== 201[^]*\bguest\.wasm +– +\d+\/\d+ /);
  });

  it("tells lines of C by DWARF, of both versions", async () => {
    const source = readFileSync(new URL("../guests/traps/traps.c", import.meta.url), "utf8");
    const lineOf = (mark: string): number => source.slice(0, source.indexOf(mark)).split("\n").length;
    for (const version of ["4", "5"]) {
      const path = folder(`dwarf${version}`, { "traps.c": source, "guest.test.ts": ONCE });
      const options = ["--target=wasm32", `-gdwarf-${version}`, "-nostdlib", "-Wl,--no-entry", "-o", "guest.wasm"];
      await promisify(execFile)("/usr/bin/clang", [...options, "traps.c"], { cwd: path });
      const { status, output } = await sluice("test", `dwarf${version}`, "--coverage");
      assert.equal(status, 0, output);
      assert.match(output, /^traps\.c +7\/12 +58\.3 % +1\/4 +25\.0 % {3}5-10$/m);
      const lines = records(join(path, "build", "coverage", `dwarf${version}.info`)).get("traps.c")!;
      assert.equal(lines.get(`DA ${lineOf("/* division */")}`), "0");
      assert.equal(lines.get(`DA ${lineOf("/* trap */")}`), "1");
      assert.equal(lines.get("FNDA quotient"), "0");
    }
  });
});
