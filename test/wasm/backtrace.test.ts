/** Backtraces: real traps in known lines of guests in AssemblyScript, C, Rust and wat, after the module was rewritten. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import asc from "assemblyscript/asc";
import * as LogLevel from "../../abi/log-level.ts";
import { appendSection } from "../../filters/build/sections.ts";
import { BACKTRACES_PER_SECOND, MAX_SYMBOL_BYTES } from "../../runtime/limits.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import type { LoadedModule } from "../../runtime/wasm/module/module.ts";
import { filesBeside } from "../../runtime/wasm/module/symbols-beside.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { built } from "../languages/toolchains.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";

const SOURCE = "test/guests/traps/traps.ts";
const TRAPS = new URL("../guests/traps/", import.meta.url);

/** `traps.ts:37:20`: the line whose comment is `mark`, the column of `code` in it. */
function place(file: string, mark: string, code: string): string {
  const lines = readFileSync(new URL(file, TRAPS), "utf8").split("\n");
  const line = lines.findIndex((one) => one.endsWith(`// ${mark}`) || one.endsWith(`/* ${mark} */`));
  assert.ok(line >= 0 && lines[line]!.includes(code), `${file}: ${mark}`);
  const path = file.endsWith(".ts") ? `test/guests/traps/${file}` : file;
  return `${path}:${line + 1}:${lines[line]!.indexOf(code) + 1}`;
}

interface Compiled {
  readonly wasm: Uint8Array;
  readonly map: string;
}

async function compileTraps(...options: string[]): Promise<Compiled> {
  let wasm: Uint8Array | undefined;
  let map = "";
  const { error } = await asc.main([SOURCE, "--outFile", "traps.wasm", "--sourceMap", ...options], {
    readFile: (name) => {
      const path = new URL(`../../${name}`, import.meta.url);
      return name.endsWith(".ts") && existsSync(path) ? readFileSync(path, "utf8") : null;
    },
    writeFile: (_name, contents) => {
      if (typeof contents === "string") map = contents;
      else wasm = contents;
    },
    listFiles: () => [],
  });
  assert.equal(error, null, String(error));
  return { wasm: wasm!, map };
}

/** Runs guests and gives what the log says. */
class Theatre {
  readonly log = new RecordingLog();
  readonly set: PluginSet;

  constructor(module: LoadedModule) {
    const config = pluginConfig({ name: "trapper", fuel: 1_000_000 });
    this.set = new PluginSet([config], [module], environmentFor({}, this.log, new RecordingStats()));
    this.set.start();
  }

  /** Error lines of a request with that many fields. */
  run(fields: number): string[] {
    const before = this.log.lines.length;
    const request = Array.from({ length: 2 * fields }, (_, n) => `x-${n}`);
    new FakeStream(this.set.httpFilter(0), { request }).requestHead();
    const errors = this.log.lines.slice(before).filter((line) => line.startsWith("error "));
    assert.equal(errors.length, 1, this.log.lines.join("\n"));
    return errors[0]!.slice("error ".length).split("\n");
  }
}

function failing(bytes: Uint8Array, fields: number, map?: string): string[] {
  const theatre = new Theatre(
    loadModule(bytes, "folder/traps.wasm", undefined, () => (map === undefined ? undefined : Buffer.from(map))),
  );
  try {
    return theatre.run(fields);
  } finally {
    theatre.set.close();
  }
}

const RANGE = "list[choice]";
const ENTRY = "proxy_on_request_headers";
const FULL = `test/guests/traps/traps/${ENTRY}`;
const SPIN = "test/guests/traps/traps/spin";
/** Fields of the request, the failure, and the frames with their places. */
const CASES: readonly (readonly [number, RegExp, readonly (readonly [string, string])[]])[] = [
  [1, /: trap: unreachable in /, [[ENTRY, place("traps.ts", "unreachable", "unreachable")]]],
  [
    2,
    /: abort: broken on purpose at test\/guests\/traps\/traps\.ts:36:20 in /,
    [
      ["[host] abort", ""],
      [ENTRY, place("traps.ts", "abort", '"broken')],
    ],
  ],
  [
    3,
    /: abort: Index out of range at ~lib\/array\.ts:\d+:\d+ in /,
    [
      ["[host] abort", ""],
      ["~lib/array/Array<i32>#__get", "~lib/array.ts:114:63"],
      [ENTRY, place("traps.ts", "range", RANGE)],
    ],
  ],
  [
    4,
    /: abort: Unexpected 'null'.* at test\/guests\/traps\/traps\.ts:38:27 in /,
    [
      ["[host] abort", ""],
      [ENTRY, place("traps.ts", "null", "box.")],
    ],
  ],
  [5, /: trap: divide by zero in /, [[ENTRY, place("traps.ts", "division", "7 / zero")]]],
  [
    7,
    /: out of fuel: unreachable in /,
    [
      [SPIN, place("traps.ts", "loop", "zero == 0")],
      [ENTRY, place("traps.ts", "spin caller", "spin()")],
    ],
  ],
  [8, /: bad pointer: memory access out of bounds in /, [[ENTRY, place("traps.ts", "pointer", "load<")]]],
  [
    9,
    /: trap: divide by zero in /,
    [
      ["test/guests/traps/traps/small", place("traps.ts", "inlined", "n / zero")],
      [ENTRY, place("traps.ts", "small caller", "small(3)")],
    ],
  ],
];

describe("AssemblyScript with a source map", () => {
  let compiled: Compiled;
  before(async () => {
    compiled = await compileTraps("--debug");
  });
  for (const [fields, failure, frames] of CASES) {
    test(`request ${fields} of the guest`, () => {
      const [head, ...lines] = failing(compiled.wasm, fields, compiled.map);
      assert.match(
        head!,
        /^plugin trapper \(sha256 [0-9a-f]{12}\): .* in proxy_on_request_headers, context 2 \(root 1\)$/,
      );
      assert.match(head!, failure);
      assert.deepEqual(
        lines,
        frames.map(([name, where]) => {
          const full = name === ENTRY ? FULL : name;
          return where === "" ? `    at ${full}` : `    at ${full} (${where})`;
        }),
      );
    });
  }
  test("recursion is one line, and says that there is more", () => {
    const lines = failing(compiled.wasm, 6, compiled.map);
    assert.match(lines[0]!, /: stack overflow: unreachable in /);
    const call = place("traps.ts", "recursion", "endless(n + 1)");
    assert.equal(lines[1], `    at test/guests/traps/traps/endless (${place("traps.ts", "recursion", "n + 1")})`);
    assert.match(lines[2]!, new RegExp(`^ {4}at test/guests/traps/traps/endless \\(${call}\\) × \\d+$`));
    assert.deepEqual(lines.slice(3), ["    … and more"]);
  });

  test("an optimised module has the right lines too, and functions that were inlined are where they are called", async () => {
    const release = await compileTraps("--optimizeLevel", "3", "--debug");
    for (const [fields, mark, code] of [
      [1, "unreachable", "unreachable"],
      [5, "division", "7 / zero"],
      [8, "pointer", "load<"],
      [9, "inlined", "n / zero"],
    ] as const) {
      const lines = failing(release.wasm, fields, release.map);
      assert.deepEqual(lines.slice(1), [`    at ${FULL} (${place("traps.ts", mark, code)})`]);
    }
  });
  test("without a map there are names and offsets into the module as it came", () => {
    const lines = failing(compiled.wasm, 5);
    const [, offset = ""] =
      /^ {4}at test\/guests\/traps\/traps\/proxy_on_request_headers \(traps\.wasm:0x([0-9a-f]+)\)$/.exec(lines[1]!) ??
      [];
    // i32.div_u
    assert.equal(compiled.wasm[parseInt(offset, 16)], 0x6e);
    assert.equal(lines.length, 2);
  });
  test("names come from exports when there is no name section", async () => {
    const release = await compileTraps("--optimizeLevel", "3");
    assert.match(failing(release.wasm, 5)[1]!, /^ {4}at proxy_on_request_headers \(traps\.wasm:0x[0-9a-f]+\)$/);
  });

  describe("where the map may be", () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-trace-"));
    after(() => rmSync(folder, { recursive: true }));
    const expected = `    at ${FULL} (${place("traps.ts", "division", "7 / zero")})`;
    function fromFile(bytes: Uint8Array): string {
      const path = join(folder, "traps.wasm");
      writeFileSync(path, bytes);
      const theatre = new Theatre(loadModule(bytes, path, undefined, filesBeside(path)));
      const line = theatre.run(5)[1]!;
      theatre.set.close();
      return line;
    }
    /** The module with another sourceMappingURL. */
    function withUrl(url: string): Uint8Array {
      const without = compiled.wasm.subarray(0, Buffer.from(compiled.wasm).lastIndexOf("sourceMappingURL") - 3);
      return appendSection(without, "sourceMappingURL", Buffer.concat([size(url.length), Buffer.from(url)]));
    }
    function size(value: number): Buffer {
      const bytes: number[] = [];
      for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
      return Buffer.from([...bytes, value]);
    }
    test("a file beside the module", () => {
      writeFileSync(join(folder, "traps.wasm.map"), compiled.map);
      assert.equal(fromFile(compiled.wasm), expected);
      assert.equal(fromFile(withUrl("traps.wasm.map")), expected);
      rmSync(join(folder, "traps.wasm.map"));
      assert.match(fromFile(compiled.wasm), /traps\.wasm:0x/);
    });
    test("inside the module", () => {
      const small = JSON.stringify({ ...(JSON.parse(compiled.map) as object), sourcesContent: undefined });
      assert.equal(fromFile(appendSection(compiled.wasm, "sluice.sourcemap", Buffer.from(small))), expected);
      const url = `data:application/json;base64,${Buffer.from(small).toString("base64")}`;
      assert.equal(fromFile(withUrl(url)), expected);
    });
    test("nowhere else: other folders, links, pages of the web", () => {
      writeFileSync(join(folder, "elsewhere.map"), compiled.map);
      symlinkSync(join(folder, "elsewhere.map"), join(folder, "link.map"));
      assert.equal(fromFile(withUrl("elsewhere.map")), expected);
      for (const url of [
        "link.map",
        `../${folder.split("/").at(-1)}/elsewhere.map`,
        `${folder}/elsewhere.map`,
        `file://${folder}/elsewhere.map`,
        "http://127.0.0.1/elsewhere.map",
        "..",
        ".",
        "elsewhere.map\0",
        "",
      ]) {
        assert.match(fromFile(withUrl(url)), /traps\.wasm:0x/, url);
      }
      writeFileSync(join(folder, "large.map"), Buffer.alloc(MAX_SYMBOL_BYTES + 1, compiled.map));
      assert.match(fromFile(withUrl("large.map")), /traps\.wasm:0x/);
    });
  });

  test("a broken map never hides the trap", () => {
    const bad: readonly (readonly [string, RegExp])[] = [
      ["", /^ {4}at test/],
      ["no JSON", /JSON/],
      ["[]", /not version 3/],
      [`{"version":3}`, /no sources/],
      [`{"version":3,"sources":[1,{}],"mappings":"AAAA"}`, /0x/],
      [`{"version":3,"sources":[],"mappings":"AAAA,CAAC"}`, /0x/],
      [`{"version":3,"sources":["a"],"mappings":"A A"}`, /broken mappings/],
      [`{"version":3,"sources":["a"],"mappings":"DAAA,D"}`, /not in order/],
      [`{"version":3,"sources":["a"],"mappings":"gggggggggggggggggggg"}`, /broken mappings/],
      [`{"version":3,"sources":["a"],"mappings":"\u00e9"}`, /broken mappings/],
      [`{"version":3,"sources":["a"],"mappings":"yyyyyDADDD;;;"}`, /0x/],
      [`{"version":3,"sources":${"[".repeat(100_000)}`, /lines|JSON/],
    ];
    for (const [map, expected] of bad) {
      const lines = failing(compiled.wasm, 5, map);
      assert.match(lines[0]!, /: trap: divide by zero in /);
      assert.match(lines[1]!, /^ {4}at test\/guests\/traps\/traps\/proxy_on_request_headers \(/);
      assert.match(lines.at(-1)!, expected, map.slice(0, 60));
    }
  });

  test("a storm of traps is told in single lines after the first few", () => {
    const theatre = new Theatre(loadModule(compiled.wasm, "traps.wasm"));
    const failures = Array.from({ length: BACKTRACES_PER_SECOND + 3 }, () => theatre.run(1));
    assert.equal(failures.filter((lines) => lines.length === 2).length, BACKTRACES_PER_SECOND);
    assert.match(
      failures.at(-1)!.join("\n"),
      /: trap: unreachable in proxy_on_request_headers, .*, backtrace left out$/,
    );
    theatre.set.close();
  });

  test("what a host function refuses is told at debug level with function, argument and reason, and costs no text otherwise", () => {
    const theatre = new Theatre(loadModule(compiled.wasm, "traps.wasm"));
    const request = Array.from({ length: 20 }, (_, n) => `x-${n}`);
    const lines = (level: number): string[] => {
      theatre.log.level = level;
      theatre.log.lines.length = 0;
      new FakeStream(theatre.set.httpFilter(0), { request }).requestHead();
      return theatre.log.lines.slice();
    };
    assert.deepEqual(lines(LogLevel.INFO), []);
    const told = lines(LogLevel.DEBUG);
    assert.deepEqual(
      told.map((line) => line.slice(line.indexOf("proxy_call"))),
      [
        "proxy_call_foreign_function answers INVALID_MEMORY_ACCESS: name: outside of memory",
        "proxy_call_foreign_function answers NOT_FOUND: name: no such foreign function",
      ],
    );
    theatre.set.close();
  });
});

describe("C with DWARF", () => {
  for (const version of [4, 5]) {
    test(`version ${version}`, () => {
      const bytes = built(`traps-dwarf-${version}`);
      const frames = (fields: number): string[] =>
        failing(bytes, fields)
          .slice(1)
          .map((line) => line.replace(/\(\S*\//, "("));
      const at = (mark: string, code: string, name = "on_request_headers"): string =>
        `    at ${name} (${place("traps.c", mark, code)})`;
      assert.deepEqual(frames(1), [at("trap", "__builtin_trap")]);
      assert.deepEqual(frames(2), [at("division", "/ b", "quotient"), at("call", "quotient")]);
      assert.deepEqual(frames(3), [at("pointer", "*(u32")]);
      assert.deepEqual(
        frames(4),
        [at("loop", "choice == 4")].map((line) => line.replace(/:\d+\)$/, ":10)")),
      );
    });
  }
});

describe("Rust with DWARF", () => {
  for (const guest of ["traps-rust", "traps-rust-v0"]) {
    test(`${guest}: a panic prints its message, then the frames, with readable names`, () => {
      const lines = failing(built(guest), 3).map((line) => line.replace(/\(\/\S*\//, "("));
      const range = place("traps.rs", "range", "list[at]");
      const own = lines.findIndex((line) => line.endsWith(`(${range})`));
      assert.ok(own > 3, lines.join("\n"));
      assert.equal(lines[own], `    at <traps::shop::Till as traps::shop::Counter>::count (${range})`);
      assert.equal(lines[own + 1], `    at proxy_on_request_headers (${place("traps.rs", "call", "shop::")})`);
      assert.match(
        lines[own - 1]!,
        /^ {4}at core::panicking::panic_bounds_check \(library\/core\/src\/panicking\.rs:\d+:\d+\)$/,
      );
    });
  }
});
