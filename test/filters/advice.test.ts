/** What authors of TypeScript write by habit: the compiler's mistake, its place, and a sentence with the way to write it. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { LACKS } from "../../filters/build/advice.ts";
import { compileFilter, CompileError } from "../../filters/build/compile.ts";
import { readFilterFolder } from "../../filters/build/source.ts";
import { HABITS } from "./habits.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-advice-"));
after(() => rmSync(scratch, { recursive: true }));

const FOLDER = join(scratch, "habits");

/**
 * What is told of each file of one program: the compiler tells all mistakes of a kind at once, first those of reading, then
 * those of compiling. Files of which nothing is told are compiled again without the others.
 */
async function toldOfAll(): Promise<ReadonlyMap<number, string>> {
  mkdirSync(FOLDER, { recursive: true });
  for (const [n, [, source]] of HABITS.entries())
    writeFileSync(join(FOLDER, `h${n}.ts`), `${source.replace("«", "")}\n`);
  const told = new Map<number, string>();
  for (let left = HABITS.map((_habit, n) => n); left.length > 0;) {
    const entry = left.map((n) => `export { a as a${n} } from "./h${n}.ts";\n`).join("");
    const text = await mistakes(FOLDER, entry);
    const known = told.size;
    for (const part of text.split(/^(?=\S)/m)) {
      const n = /habits\/h(\d+)\.ts:/.exec(part)?.[1];
      if (n !== undefined) told.set(Number(n), (told.get(Number(n)) ?? "") + part);
    }
    if (told.size === known) break;
    left = left.filter((n) => !told.has(n));
  }
  return told;
}

/** The mistakes of a source, as an author sees them. */
async function mistakes(folder: string, source: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${basename(folder)}.ts`), source);
  try {
    await compileFilter(readFilterFolder(folder, REPOSITORY), REPOSITORY, "debug");
  } catch (error) {
    if (error instanceof CompileError) return error.message;
    throw error;
  }
  return "";
}

describe("TypeScript that AssemblyScript lacks", () => {
  let told: ReadonlyMap<number, string>;
  before(async () => {
    told = await toldOfAll();
  });

  for (const [n, [habit, marked, advice]] of HABITS.entries()) {
    it(habit, () => {
      const at = marked.indexOf("«");
      const lines = marked.slice(0, at).split("\n");
      const place = `h${n}.ts:${lines.length}:${lines.at(-1)!.length + 1}: `;
      const text = told.get(n) ?? "";
      assert.match(text, new RegExp(advice.replaceAll(/[?`#…()]/g, "\\$&")));
      assert.ok(text.includes(place), `${place} is not in\n${text}`);
      assert.doesNotMatch(text, /~lib|mounted\//, "a name of the compiler's own");
    });
  }

  it("has no advice that no habit leads to", () => {
    const all = [...told.values()].join("");
    for (const { advice } of LACKS) assert.ok(all.includes(advice), advice);
  });
});

const IMPORTS = `import { CONTINUE } from "sluice/abi/action.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
`;
const FILTER = `class Mine extends Filter { override onRequestHeaders(_h: u32, _e: bool): i32 { return CONTINUE; } }\n`;
const ROOT = `class Root extends RootContext { override createFilter(): StreamContext { return new Mine(); } }\n`;
const REGISTER = "register((): RootContext => new Root());\n";

describe("what compiles, and would do nothing", () => {
  const cases: readonly (readonly [what: string, source: string, told: RegExp])[] = [
    ["an empty file", "", /whole\.ts: nothing is registered/],
    ["a filter that is not registered", IMPORTS + FILTER + ROOT, /whole\.ts: nothing is registered/],
    [
      "a filter without a callback",
      IMPORTS + ROOT.replace("new Mine()", "null").replace("StreamContext {", "StreamContext | null {") + REGISTER,
      /whole\.ts: the filter overrides no callback/,
    ],
    [
      "a filter that nobody makes",
      IMPORTS + FILTER + ROOT.replace("override createFilter", "make") + REGISTER,
      /whole\.ts:4:38: nobody makes this filter/,
    ],
    [
      "a callback that is misspelt and overrides nothing",
      IMPORTS + FILTER.replace("override onRequestHeaders", "onRequestHeader") + ROOT + REGISTER,
      /whole\.ts:4:29: there is no callback onRequestHeader; did you mean onRequestHeaders\?$/,
    ],
    [
      "an export of the author's with a name of the ABI",
      `${IMPORTS + FILTER + ROOT + REGISTER}export function proxy_on_request_headers(a: u32, b: u32, c: u32): u32 { return 0; }\n`,
      /whole\.ts:7:17: the SDK exports proxy_on_request_headers itself/,
    ],
    [
      "an import that no proxy has",
      `${IMPORTS}@external("env", "foo") declare function foo(): void;\n${FILTER.replace("return", "foo(); return") + ROOT + REGISTER}`,
      /whole\.ts: imports env\.foo, which no proxy provides/,
    ],
    [
      "an expression that only traps",
      IMPORTS + FILTER.replace("return", 'new RegExp("a").test("a"); return') + ROOT + REGISTER,
      /whole\.ts:4:81: RegExp does nothing here\n.*no regular expressions/,
    ],
  ];
  for (const [what, source, expected] of cases) {
    it(what, async () => {
      assert.match(await mistakes(join(scratch, "whole"), source), expected);
    });
  }

  it("is fine when it is whole", async () => {
    assert.equal(await mistakes(join(scratch, "whole"), IMPORTS + FILTER + ROOT + REGISTER), "");
  });
});

describe("what the compiler cannot cope with", () => {
  for (const [what, source] of [
    [
      "types that contain themselves",
      "function f<T>(x: T): i32 { return f<Array<T>>([x]); }\nexport function a(): i32 { return f<i32>(1); }",
    ],
    ["nesting", `export function a(): i32 { return ${"(".repeat(20_000)}1${")".repeat(20_000)}; }`],
  ] as const) {
    it(`is a mistake, not the end of the process: ${what}`, async () => {
      const text = await mistakes(join(scratch, "crash"), source);
      assert.match(text, /^\S+crash\.ts: AssemblyScript's compiler cannot cope with this source \(.*\)\. What/);
      assert.doesNotMatch(text, /\n/);
    });
  }

  it("is told as it is: classes that extend each other", async () => {
    const source = "class A extends B {}\nclass B extends A {}\nexport function a(): void { new A(); }";
    assert.match(
      await mistakes(join(scratch, "crash"), source),
      /crash\.ts:1:7: 'A' is referenced directly or indirectly/,
    );
  });
});
