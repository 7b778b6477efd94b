/**
 * Guests in other languages, built by Debian's compilers: which compiler, with what arguments. A module is made once
 * per content of its folder and command, and kept under build/guests. A compiler that is missing is an error that
 * names the Debian package.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeWhole } from "../../filters/build/cache.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const GUESTS = join(REPOSITORY, "test/guests");
const OUT = join(REPOSITORY, "build/guests");

/** A file of a Debian package that a guest is built with. */
interface Tool {
  readonly path: string;
  readonly package: string;
}

const CLANG: Tool = { path: "/usr/bin/clang", package: "clang" };
const LINKER: Tool = { path: "/usr/bin/wasm-ld", package: "lld" };
const LIBC: Tool = { path: "/usr/lib/wasm32-wasi/libc.a", package: "wasi-libc" };
const CLANG_PLUS: Tool = { path: "/usr/bin/clang++", package: "clang" };
const RUSTC: Tool = { path: "/usr/bin/rustc", package: "rustc" };
const RUST_STD: Tool = { path: "/usr/lib/rustlib/wasm32-wasi", package: "libstd-rust-dev-wasm32" };
const GO: Tool = { path: "/usr/lib/go-1.24/bin/go", package: "golang-1.24-go" };

/** How one guest is built: `SOURCE` and `OUT` stand for the source's path and the module's. */
interface Recipe {
  readonly folder: string;
  readonly source: string;
  readonly tools: readonly Tool[];
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Another folder that the source includes files of. */
  readonly includes?: string;
}

const WARNINGS = ["-O2", "-Wall", "-Wextra", "-Werror"];
const GO_ENV = { GOOS: "wasip1", GOARCH: "wasm", GOTOOLCHAIN: "local", GOPROXY: "off", GOFLAGS: "-mod=mod" };

function c(tag: string, ...options: string[]): Recipe {
  return cSource("errand.c", `-DTAG="${tag}"`, ...options);
}

function cSource(source: string, ...options: string[]): Recipe {
  return {
    folder: "c",
    source,
    tools: [CLANG, LINKER, LIBC],
    command: ["/usr/bin/clang", ...WARNINGS, ...options, "-o", "OUT", "SOURCE"],
  };
}

function cpp(tag: string, ...options: string[]): Recipe {
  const links = ["--target=wasm32-wasi", "-fno-exceptions", "-std=c++17", "-Wl,--export=malloc"];
  return {
    folder: "cpp",
    source: "errand.cc",
    tools: [
      CLANG_PLUS,
      LINKER,
      LIBC,
      { path: "/usr/lib/wasm32-wasi/libc++.a", package: "libc++-14-dev-wasm32" },
      { path: "/usr/lib/wasm32-wasi/libc++abi.a", package: "libc++abi-14-dev-wasm32" },
    ],
    command: ["/usr/bin/clang++", ...WARNINGS, `-DTAG="${tag}"`, ...links, ...options, "-o", "OUT", "SOURCE"],
  };
}

function rust(tag: string, target: string, ...options: string[]): Recipe {
  return {
    folder: "rust",
    source: "errand.rs",
    tools: [RUSTC, RUST_STD, LINKER],
    command: ["/usr/bin/rustc", "--edition=2021", "-O", `--target=${target}`, ...options, "-o", "OUT", "SOURCE"],
    env: { TAG: tag },
  };
}

/** Without optimisation: clang hands optimised modules to wasm-opt when it finds one, which drops the lines. */
function trapsInC(debug: string): Recipe {
  const command = ["/usr/bin/clang", "--target=wasm32", debug, "-nostdlib", "-Wl,--no-entry", "-o", "OUT", "SOURCE"];
  return { folder: "traps", source: "traps.c", tools: [CLANG, LINKER], command };
}

/** AssemblyScript on the published SDKs of others. `compiler` is a package, `options` follow the source. */
function script(source: string, compiler: string, ...options: string[]): Recipe {
  const packages = ["@solo-io/proxy-runtime", "@gcoredev/proxy-wasm-sdk-as", "@assemblyscript/wasi-shim"];
  const tools = [compiler, ...packages].map((name) => npmPackage(name));
  const asc = `../../../node_modules/${compiler}/bin/asc${compiler === "assemblyscript" ? ".js" : ""}`;
  const out = compiler === "assemblyscript" ? "-o" : "-b";
  return {
    folder: "sdk",
    source,
    tools,
    command: [process.execPath, asc, source, "--use", "abort=abort_proc_exit", "-O", ...options, out, "OUT"],
  };
}

/** A development dependency, by the file that has its version. */
function npmPackage(name: string): Tool {
  return { path: join(REPOSITORY, "node_modules", name, "package.json"), package: `${name} (npm ci)` };
}

const OLD = "assemblyscript-0.14";
const SHIM = ["--config", "../../../node_modules/@assemblyscript/wasi-shim/asconfig.json"];

const HOSTILE = ["--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-Wno-infinite-recursion"];

const RECIPES: Readonly<Record<string, Recipe>> = {
  c: c("c", "--target=wasm32", "-nostdlib", "-Wl,--no-entry"),
  "c-reactor": c("c-reactor", "--target=wasm32-wasi", "-mexec-model=reactor"),
  // The linker wraps each export of a command: constructors before it, destructors after it.
  "c-command": c("c-command", "--target=wasm32-wasi", "-DCOMMAND"),
  // Attacks its host: test/hostile.
  hostile: cSource("hostile.c", ...HOSTILE),
  // The same without its attacks, and so a good neighbour.
  harmless: cSource("hostile.c", ...HOSTILE, "-DHARMLESS"),
  // Work without a host, to measure what fuel costs: test/bench.
  work: cSource("work.c", "--target=wasm32", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry"),
  tinygo: c("tinygo", "--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-DTINYGO"),
  cpp: cpp("cpp", "-mexec-model=reactor"),
  // Neither _initialize nor _start: the constructors are the module's only start.
  "cpp-constructors": cpp("cpp-constructors", "-nostartfiles", "-Wl,--no-entry", "-Wl,--export=__wasm_call_ctors"),
  "cpp-0.1.0": cpp("cpp-0.1.0", "-DABI_0_1_0", "-DSTART", "-nostartfiles", "-Wl,--no-entry"),
  rust: rust("rust", "wasm32-wasi", "--crate-type=cdylib"),
  "rust-unknown": rust("rust-unknown", "wasm32-unknown-unknown", "--crate-type=cdylib", "--cfg", "start"),
  "rust-0.1.0": rust("rust-0.1.0", "wasm32-wasi", "--crate-type=cdylib", "--cfg", "start", "--cfg", "abi_0_1_0"),
  "traps-dwarf-4": trapsInC("-gdwarf-4"),
  "traps-dwarf-5": trapsInC("-gdwarf-5"),
  "traps-rust": {
    ...rust("", "wasm32-wasi", "-g", "--crate-type=cdylib", "--crate-name=traps"),
    folder: "traps",
    source: "traps.rs",
  },
  "traps-rust-v0": {
    ...rust("", "wasm32-wasi", "-g", "--crate-type=cdylib", "--crate-name=traps", "-Csymbol-mangling-version=v0"),
    folder: "traps",
    source: "traps.rs",
  },
  // Network filters.
  "wire-c": { ...c("c", "--target=wasm32-wasi", "-mexec-model=reactor"), folder: "wire", source: "wire.c" },
  "wire-rust": {
    ...rust("rust", "wasm32-wasi", "--crate-type=cdylib"),
    folder: "wire",
    source: "wire.rs",
    includes: "rust",
  },
  // Registration in the start section, which runs before the host has the instance; or in _start.
  solo: script("solo.ts", OLD),
  "solo-start": script("solo.ts", OLD, "--explicitStart"),
  gcore: script("gcore.ts", "assemblyscript", ...SHIM),
  go: {
    folder: "go",
    source: ".",
    tools: [GO],
    command: [GO.path, "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", "OUT", "."],
    env: { ...GO_ENV, GOCACHE: join(OUT, "go-cache"), GOPATH: join(OUT, "go-path") },
  },
};

/** The module of a guest of {@link RECIPES}. Throws when a compiler is missing or refuses the source. */
export function built(name: string): Uint8Array {
  const recipe = RECIPES[name];
  if (recipe === undefined) throw new Error(`there is no guest ${name}`);
  return cached(name, recipe);
}

function cached(name: string, recipe: Recipe): Uint8Array {
  const folder = join(GUESTS, recipe.folder);
  const path = join(OUT, `${name}-${keyOf(recipe, folder)}.wasm`);
  if (existsSync(path)) return readFileSync(path);
  const scratch = mkdtempSync(join(tmpdir(), "guest-"));
  try {
    const out = join(scratch, "guest.wasm");
    const source = recipe.source === "." ? "." : join(folder, recipe.source);
    const [tool = "", ...args] = recipe.command.map((word) => ({ SOURCE: source, OUT: out })[word] ?? word);
    mkdirSync(OUT, { recursive: true });
    const env = { ...process.env, ...recipe.env };
    const { status, stderr, error } = spawnSync(tool, args, { cwd: folder, encoding: "utf8", env });
    if (error !== undefined || status !== 0) {
      throw new Error(`guest ${name}: ${tool} ${args.join(" ")} failed: ${error?.message ?? ""}\n${stderr}`);
    }
    const bytes = readFileSync(out);
    writeWhole(path, bytes);
    return bytes;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Of all that goes into the module: its sources, what they include, the command, the compilers. */
function keyOf(recipe: Recipe, folder: string): string {
  const missing = recipe.tools.filter(({ path }) => !existsSync(path));
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((tool) => tool.package))].join(" ");
    throw new Error(
      `guests are built by Debian's compilers, and ${missing.map(({ path }) => path).join(", ")} is missing: ` +
        `apt-get install ${packages} (.ci/run installs it)`,
    );
  }
  const hash = createHash("sha256")
    .update(recipe.command.join("\0"))
    .update(JSON.stringify(recipe.env ?? {}));
  for (const { path } of recipe.tools) {
    hash.update(
      path.endsWith(".json") ? readFileSync(path) : `${path} ${statSync(path).size} ${statSync(path).mtimeMs}`,
    );
  }
  for (const from of new Set([folder, join(GUESTS, recipe.includes ?? "c"), join(GUESTS, "c")])) {
    for (const name of readdirSync(from).sort()) hash.update(`${name}\0`).update(readFileSync(join(from, name)));
  }
  return hash.digest("hex").slice(0, 16);
}
