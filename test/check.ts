/** `npm run check`: every static check, two at a time, each with its time; exits 1 when one finds something. */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

/** Longest first, so that the cores are busy to the end. */
const CHECKS: readonly Check[] = [
  { name: "types", command: ["tsc", "--noEmit"] },
  { name: "lint", command: ["oxlint", "--type-aware", "--deny-warnings"] },
  { name: "filter types", command: ["tsc", "--noEmit", "-p", "filters"] },
  { name: "dead code", command: ["knip", "--no-progress"] },
  { name: "tidy", command: ["node", "--test", "--test-reporter=dot", "test/tidy.test.ts"] },
  { name: "format", command: ["oxfmt", "--check", "."] },
];

const cwd = fileURLToPath(new URL("../", import.meta.url));
const env = { ...process.env, NO_COLOR: "1", PATH: `${cwd}node_modules/.bin:${process.env["PATH"] ?? ""}` };

/** Answers what the tool printed if it failed, and undefined if all is well. */
function run({ name, command: [file, ...args] }: Check): Promise<string | undefined> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const tool = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    tool.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    tool.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
    tool.on("error", reject);
    tool.on("close", (status) => {
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`${status === 0 ? "ok    " : "FAILED"} ${name.padEnd(16)} ${seconds} s`);
      resolve(status === 0 ? undefined : `---- ${name}: ${file} ${args.join(" ")}\n${output}`);
    });
  });
}

/** Message classes are not in version control, and the type check needs them. */
const guests = globSync("{filters/*,samples/*/filter/*,test/guests/*}/{*.proto,filter.json}", { cwd }).map((path) =>
  dirname(path),
);
const generation: Check = {
  name: "message classes",
  command: ["node", "filters/build/main.ts", "--out", "build/checked", ...new Set(guests)],
};

const waiting = [...CHECKS];
const failures = [await run(generation)].filter((failure) => failure !== undefined);
async function lane(): Promise<void> {
  for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
    const failure = await run(check);
    if (failure !== undefined) failures.push(failure);
  }
}

await Promise.all(Array.from({ length: Math.min(availableParallelism(), CHECKS.length) }, lane));
for (const failure of failures) console.log(`\n${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
