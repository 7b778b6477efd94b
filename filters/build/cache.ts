/** Whether an artifact is current: a hash of all that goes into it, kept beside it. */
import { createHash, type Hash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { FilterSource } from "./source.ts";

export interface Artifact {
  readonly size: number;
  readonly sha256: string;
}

/** What besides the filter's folder goes into every artifact, relative to the repository. */
const SHARED = ["filters/sdk", "filters/build", "abi", "asconfig.json"];
/** Packages whose version stands for their content. */
const PACKAGES = ["assemblyscript", "protobufjs", "@grpc/grpc-js-xds"];

/** Hash of sources, SDK, ABI, generator, compiler version and options. */
export function inputKey(filter: FilterSource, repository: string, target: string): string {
  const hash = createHash("sha256");
  hash.update(`${target}\0${filter.mount}\0`);
  hashPath(hash, filter.folder, "");
  hash.update(sharedKey(repository));
  return hash.digest("hex");
}

/** By repository; forgotten after a moment, since a process that watches sources must see them change. */
let shared: { readonly repository: string; readonly key: string; readonly atMs: number } | undefined;
const SHARED_KEY_MS = 100;

function sharedKey(repository: string): string {
  const nowMs = performance.now();
  if (shared?.repository === repository && nowMs - shared.atMs < SHARED_KEY_MS) return shared.key;
  const hash = createHash("sha256");
  for (const path of SHARED) hashPath(hash, join(repository, path), path);
  for (const name of PACKAGES) {
    const path = join(repository, "node_modules", name, "package.json");
    if (!existsSync(path)) continue;
    hash.update(`${name}\0${(JSON.parse(readFileSync(path, "utf8")) as { version: string }).version}\0`);
  }
  shared = { repository, key: hash.digest("hex"), atMs: nowMs };
  return shared.key;
}

/** Folders in a filter's that hold what was made or installed. */
const NOT_SOURCE: ReadonlySet<string> = new Set(["node_modules", "build"]);

function hashPath(hash: Hash, path: string, name: string): void {
  if (!statSync(path).isDirectory()) {
    // Settings of editors and of npm say where things lie on this machine, and change nothing.
    if (!/\.(?:ts|proto)$|[/\\](?:filter|asconfig)\.json$/.test(path) || /\.(?:pb|test)\.ts$/.test(path)) return;
    const content = readFileSync(path);
    hash.update(`${name}\0${content.length}\0`).update(content);
    return;
  }
  for (const entry of readdirSync(path).sort()) {
    if (!NOT_SOURCE.has(entry)) hashPath(hash, join(path, entry), `${name}/${entry}`);
  }
}

/** Size and hash of a module that is there and was made from these inputs. */
export function currentArtifact(path: string, key: string): Artifact | undefined {
  if (![path, `${path}.json`, `${path}.map`].every((one) => existsSync(one))) return undefined;
  const stamp = JSON.parse(readFileSync(`${path}.json`, "utf8")) as Artifact & { key: string };
  if (stamp.key !== key || statSync(path).size !== stamp.size) return undefined;
  return { size: stamp.size, sha256: stamp.sha256 };
}

/** Notes from which inputs a module was made. */
export function rememberArtifact(path: string, key: string, artifact: Artifact): void {
  writeWhole(`${path}.json`, Buffer.from(JSON.stringify({ key, ...artifact })));
}

/** Writes a file in one step, so that a reader (another build, a watching proxy) never sees half of it. */
export function writeWhole(path: string, content: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}
