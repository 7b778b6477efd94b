/** What authors of TypeScript write by habit: the compiler's mistake, its place, and a sentence with the way to write it. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { LACKS } from "../../filters/build/advice.ts";
import { compileFilter, CompileError } from "../../filters/build/compile.ts";
import { readFilterFolder } from "../../filters/build/source.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-advice-"));
after(() => rmSync(scratch, { recursive: true }));

/** Habit; source, with `«` where the mistake is told; part of the advice. */
const HABITS: readonly (readonly [habit: string, source: string, advice: string])[] = [
  ["closure", "export function a(n: i32): i32 { const f = (x: i32): i32 => x + «n; return f(1); }", "no closures"],
  [
    "closure in forEach",
    "export function a(x: i32[]): void { let s = 0; x.forEach((v) => { «s += v; }); }",
    "no closures",
  ],
  [
    "closure in a function",
    "export function a(f: (x: i32) => i32): i32 { return f(1); }\nexport function b(): i32 { let k = 2; function g(x: i32): i32 { return x + «k; } return a(g); }",
    "no closures",
  ],
  [
    "optional chaining",
    "class A { b: A | null = null; n: i32 = 0; }\nexport function a(x: A): i32 { return x.b?«.n; }",
    "no `?.`",
  ],
  ["nullish default", 'export function a(x: string | null): string { return x ?«? "q"; }', "no `??`"],
  ["array destructuring", "export function a(x: i32[]): i32 { «const [p, q] = x; return p + q; }", "no destructuring"],
  [
    "object destructuring",
    "class A { n: i32 = 0; }\nexport function a(x: A): i32 { «const { n } = x; return n; }",
    "no destructuring",
  ],
  ["union", "export function a(x: string | «i32): i32 { return 1; }", "no union types"],
  ["union of texts", 'export function a(x: "get" | «"post"): i32 { return 1; }', "no union types"],
  ["regular expression", "export function a(x: string): bool { return «/a+/.test(x); }", "no regular expressions"],
  ["replace", 'export function a(x: string): string { return x.replace(«/a/g, "b"); }', "no regular expressions"],
  ["try", 'export function a(x: string): string { «try { return x; } catch (e) { return ""; } }', "cannot catch"],
  ["async", "«export async function a(x: string): Promise<string> { return x; }", "no `async`"],
  ["promise", "export function a(x: «Promise<i32>): i32 { return 1; }", "no promises"],
  ["any", "export function a(x: «any): i32 { return 1; }", "one concrete type"],
  ["undefined", "export function a(x: string): i32 { return x === «undefined ? 1 : 0; }", "no `undefined`"],
  ["spread", "export function a(x: i32[]): i32[] { return [«...x, 1]; }", "no spread"],
  ["object literal", "export function a(): i32 { const o = «{ n: 1 }; return 1; }", "no plain objects"],
  [
    "interface literal",
    "interface T { n: i32 }\nexport function a(): i32 { const t: T = «{ n: 1 }; return t.n; }",
    "no plain objects",
  ],
  ["generator", "export function«* a(): i32 { yield 1; }", "no generators"],
  ["for of", "export function a(x: i32[]): i32 { let s = 0; «for (const v of x) s += v; return s; }", "no `for … of`"],
  [
    "for in",
    "export function a(x: Map<string, i32>): i32 { let s = 0; for (const «k in x) s++; return s; }",
    "no `for … in`",
  ],
  ["object type", "type F = «{ n: i32 };\nexport function a(x: F): i32 { return x.n; }", "no object types"],
  ["tuple", "export function a(x: «[string, i32]): i32 { return 1; }", "no tuples"],
  ["private name", "class A { «#p: i32 = 1; }\nexport function a(): i32 { return 1; }", "no `#` names"],
  ["static block", "class A { «static { } }\nexport function a(): i32 { return 1; }", "no static blocks"],
  ["satisfies", "export function a(x: i32): string { return `${x}` «satisfies string; }", "no `satisfies`"],
  ["optional parameter", "export function a(x: i32, «y?: i32): i32 { return y; }", "Give the parameter its default"],
  [
    "inferred type argument",
    "export function a(x: string[]): i32 { return x.map«((s) => s.length).length; }",
    "does not infer",
  ],
  ["enum of texts", 'enum E { A = «"a" }\nexport function a(): i32 { return 1; }', "are numbers"],
  ["JSON", "export function a(x: number): string { return «JSON.stringify(x); }", "no JSON"],
  ["timer", "export function a(): void { «setTimeout(() => {}, 1); }", "no timers"],
  ["fetch", 'export function a(): void { «fetch("x"); }', "through the host"],
  ["Buffer", "export function a(x: «Buffer): i32 { return 1; }", "String.UTF8"],
  ["require", 'export function a(): void { «require("x"); }', "belongs to Node"],
  ["bigint", "export function a(): i64 { return «bigint(1); }", "`i64`"],
  [
    "npm module",
    'import { readFileSync } from «"node:fs";\nexport function a(): i32 { return 1; }',
    "cannot be imported",
  ],
  ["Object.keys", "export function a(x: Object): i32 { return Object.«keys(x).length; }", "no keys at run time"],
  [
    "narrowing",
    "export function a(x: string): i32 { return «parseInt(x, 10); }",
    "explicit cast|Convert in so many words",
  ],
];

/** The mistakes of a source, as an author sees them. */
async function mistakes(source: string): Promise<string> {
  const folder = join(scratch, "habit");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "habit.ts"), source);
  try {
    await compileFilter(readFilterFolder(folder, REPOSITORY), REPOSITORY, "debug");
  } catch (error) {
    if (error instanceof CompileError) return error.message;
    throw error;
  }
  return "";
}

let told = "";

describe("TypeScript that AssemblyScript lacks", () => {
  for (const [habit, marked, advice] of HABITS) {
    it(habit, async () => {
      const at = marked.indexOf("«");
      const lines = marked.slice(0, at).split("\n");
      const place = `habit.ts:${lines.length}:${lines.at(-1)!.length + 1}: `;
      const text = await mistakes(marked.replace("«", ""));
      told += text;
      assert.match(text, new RegExp(advice.replaceAll(/[?.`#…]/g, "\\$&")));
      assert.ok(text.includes(place), `${place} is not in\n${text}`);
    });
  }

  it("has no advice that no habit leads to", () => {
    for (const { advice } of LACKS) assert.ok(told.includes(advice), advice);
  });
});
