/** `sluice test`: builds a filter with its source map, then runs its `*.test.ts` against the real host, without a proxy. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ProxyError } from "../errors.ts";
import { COVERAGE_FOLDER } from "../testkit/coverage.ts";
import { build } from "./build.ts";
import { reportCoverage } from "./coverage.ts";

export interface FilterTestOptions {
  /** Only tests whose name matches this regular expression. */
  readonly testNamePattern?: string;
  /** node:test's reporter. */
  readonly reporter?: string;
  /** Counts lines and functions. */
  readonly coverage?: true;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const REGISTER = new URL("../testkit/register.js", import.meta.url).href;

/**
 * Tests the filters in `folders`; none: the one in the working folder, else the bundled ones. A folder without a filter's
 * source is tested as it is: its tests name their module. Returns the exit status: 0 when everything passed.
 * Throws ProxyError NO_TESTS for a folder without tests.
 */
export async function test(folders: readonly string[], options: FilterTestOptions): Promise<number> {
  let status = 0;
  for (const folder of folders.length > 0 ? folders : ownFolders()) {
    const path = resolve(folder);
    if (!existsSync(path)) throw new ProxyError("NO_TESTS", "config", `${path}: there is no such folder`);
    const tests = globSync("**/*.test.ts", { cwd: path, exclude: ["node_modules/**", "build/**"] }).sort();
    if (tests.length === 0) throw new ProxyError("NO_TESTS", "config", `${path}: there is no *.test.ts`);
    const module = await built(path);
    if (module === null) return 1;
    const failed = options.coverage
      ? await runCovered(path, tests, module, options)
      : await run(path, tests, module, options);
    if (failed !== 0) status = failed;
  }
  return status;
}

/** The filter of the working folder, or those of this repository that have tests. */
function ownFolders(): string[] {
  if (isFilter(process.cwd())) return ["."];
  const filters = join(ROOT, "filters");
  return readdirSync(filters)
    .map((name) => join(filters, name))
    .filter((path) => isFilter(path) && existsSync(join(path, `${basename(path)}.test.ts`)));
}

function isFilter(path: string): boolean {
  return existsSync(join(path, `${basename(path)}.ts`));
}

/** Path of the debug build; "" when the folder holds no filter, null when it does not compile. */
async function built(path: string): Promise<string | null> {
  if (!isFilter(path)) return "";
  // Beside other tests of the same filter, which may be building too.
  const out = join(path, "build", "debug");
  const bundled = relative(join(ROOT, "filters"), path);
  const folder = bundled.startsWith("..") ? out : join(ROOT, "build", "filters-debug");
  const status = await build([path], { debug: true, out: folder });
  return status === 0 ? join(folder, `${basename(path)}.wasm`) : null;
}

/** The same, followed by what has run of the filter. */
async function runCovered(
  path: string,
  tests: readonly string[],
  module: string,
  options: FilterTestOptions,
): Promise<number> {
  const counts = mkdtempSync(join(tmpdir(), "sluice-coverage-"));
  try {
    const status = await run(path, tests, module, options, { [COVERAGE_FOLDER]: counts });
    const lcov = join(module === "" ? join(path, "build") : dirname(module), "coverage", `${basename(path)}.info`);
    process.stdout.write(`\n${reportCoverage(counts, path, lcov).join("\n")}\n`);
    return status;
  } finally {
    rmSync(counts, { recursive: true });
  }
}

async function run(
  cwd: string,
  tests: readonly string[],
  module: string,
  options: FilterTestOptions,
  more: NodeJS.ProcessEnv = {},
): Promise<number> {
  const args = ["--import", REGISTER, "--test"];
  if (options.testNamePattern !== undefined) args.push(`--test-name-pattern=${options.testNamePattern}`);
  if (options.reporter !== undefined) args.push(`--test-reporter=${options.reporter}`);
  const env: NodeJS.ProcessEnv = { ...process.env, ...more };
  // node:test reports to a parent of its own kind in another way than to people.
  delete env["NODE_TEST_CONTEXT"];
  if (module !== "") env["SLUICE_TEST_MODULE"] = module;
  const child = spawn(process.execPath, [...args, ...tests], { cwd, env, stdio: "inherit" });
  const [status] = (await once(child, "exit")) as [number | null];
  return status ?? 1;
}
