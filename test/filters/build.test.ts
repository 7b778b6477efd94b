/** The build: artifacts, sections, cache, and what a filter author reads when something is wrong. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, test } from "node:test";
import protobuf from "protobufjs";
import "protobufjs/ext/descriptor.js";
import { type BuildResult, buildFilter } from "../../filters/build/build.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import * as AbiResponseFlag from "../../abi/response-flag.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-build-"));
const outFolder = join(root, "out");
after(() => rmSync(root, { recursive: true }));

/** A filter folder outside the repository. */
function folder(name: string, files: Record<string, string>): string {
  const path = join(root, name);
  mkdirSync(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
  return path;
}

function moduleOf(result: BuildResult): WebAssembly.Module {
  return new WebAssembly.Module(new Uint8Array(readFileSync(result.path)));
}

function sections(result: BuildResult, name: string): Buffer[] {
  return WebAssembly.Module.customSections(moduleOf(result), name).map((bytes) => Buffer.from(bytes));
}

function exportsOf(result: BuildResult): string[] {
  return WebAssembly.Module.exports(moduleOf(result)).map((entry) => entry.name);
}

const IMPORTS = `
import { DecoderFilter, EncoderFilter, Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders } from "sluice/filters/sdk/headers.ts";
import { CONTINUE } from "sluice/abi/action.ts";
`;
const DECODER = `${IMPORTS}
class Base extends DecoderFilter {
  override onRequestHeaders(_headers: u32, _end: bool): i32 {
    requestHeaders.replace("x-a", "b");
    return CONTINUE;
  }
}
class Mine extends Base {}
class Root extends RootContext {
  override createFilter(): StreamContext { return new Mine(); }
}
register((): RootContext => new Root());
`;

/** The runtime's own (configuration, root id, abort) and the one the filter calls. */
const IMPORTED = [
  "env.proxy_get_buffer_bytes",
  "env.proxy_get_property",
  "env.proxy_log",
  "env.proxy_replace_header_map_value",
];

describe("an artifact", () => {
  let first: BuildResult;
  let path: string;
  before(async () => {
    path = folder("first", {
      "first.ts": DECODER,
      "first.proto": `syntax = "proto3"; package outside.v1; import "validate/validate.proto"; import "google/protobuf/duration.proto";
        message Config { string name = 1 [(validate.rules).string.min_len = 3, (validate.rules).string.max_len = 9, (validate.rules).string.pattern = "^a"];
          google.protobuf.Duration every = 2 [(validate.rules).duration = {required: true gt {nanos: 5}}];
          repeated int32 some = 3 [(validate.rules).repeated = {min_items: 1 items {int32 {in: [1, 2]}}}];
          map<string, Inner> by_name = 4; message Inner { oneof kind { option (validate.required) = true; int32 a = 1; bool b = 2; } optional int32 c = 3; } }`,
      "filter.json": `{ "version": "1.2.3", "description": "First", "license": "MIT", "isolation": "stream" }`,
    });
    first = await buildFilter(path, { outFolder });
  });

  it("exports what the filter overrides and imports what it uses", () => {
    assert.deepEqual(exportsOf(first).toSorted(), [
      "_initialize",
      "malloc",
      "memory",
      "proxy_abi_version_0_2_1",
      "proxy_on_configure",
      "proxy_on_context_create",
      "proxy_on_delete",
      "proxy_on_memory_allocate",
      "proxy_on_request_headers",
      "proxy_on_vm_start",
    ]);
    assert.deepEqual(
      WebAssembly.Module.imports(moduleOf(first))
        .map((entry) => `${entry.module}.${entry.name}`)
        .toSorted(),
      IMPORTED,
    );
  });

  it("says what it is", () => {
    const [manifest] = sections(first, "sluice.manifest");
    const { source, ...told } = JSON.parse(manifest!.toString()) as Record<string, unknown>;
    assert.match(String(source), /^[0-9a-f]{64}$/);
    assert.deepEqual(told, {
      name: "first",
      version: "1.2.3",
      description: "First",
      license: "MIT",
      abi: "0.2.1",
      kinds: ["http"],
      callbacks: [
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_request_headers",
        "proxy_on_vm_start",
      ],
      imports: IMPORTED,
      configuration: "outside.v1.Config",
      isolation: "stream",
      compiler: "assemblyscript 0.28.20",
    });
  });

  it("carries its schema with the validation rules as options", () => {
    const [schema] = sections(first, "sluice.schema");
    const types = protobuf.Root.fromDescriptor(schema!);
    types.resolveAll();
    const config = types.lookupType("outside.v1.Config");
    assert.deepEqual(Object.keys(config.fields), ["name", "every", "some", "by_name"]);
    assert.equal(config.fields["every"]!.resolvedType!.fullName, ".google.protobuf.Duration");
    assert.ok(config.fields["by_name"] instanceof protobuf.MapField);
    const options = new protobuf.Root();
    options.resolvePath = (_origin, target) =>
      target.startsWith("validate/")
        ? `node_modules/@grpc/grpc-js-xds/deps/protoc-gen-validate/${target}`
        : `node_modules/protobufjs/${target}`;
    options.loadSync(["google/protobuf/descriptor.proto", "validate/validate.proto"], { keepCase: true });
    options.resolveAll();
    const set = options.lookupType("google.protobuf.FileDescriptorSet");
    const plain = set.toObject(set.decode(schema!), { longs: Number }) as {
      file: {
        name: string;
        message_type: { field: { options?: object }[]; nested_type: { name: string; oneof_decl: object[] }[] }[];
      }[];
    };
    assert.deepEqual(
      plain.file.map((file) => file.name),
      ["google/protobuf/duration.proto", "first.proto"],
    );
    const message = plain.file[1]!.message_type[0]!;
    assert.deepEqual(
      message.field.map((field) => field.options),
      [
        { ".validate.rules": { string: { min_len: 3, max_len: 9, pattern: "^a" } } },
        { ".validate.rules": { duration: { required: true, gt: { nanos: 5 } } } },
        { ".validate.rules": { repeated: { min_items: 1, items: { int32: { in: [1, 2] } } } } },
        undefined,
      ],
    );
    assert.deepEqual(
      message.nested_type.map((nested) => nested.name),
      ["Inner", "ByNameEntry"],
    );
    assert.deepEqual(message.nested_type[0]!.oneof_decl, [
      { name: "kind", options: { ".validate.required": true } },
      { name: "_c" },
    ]);
  });

  it("keeps the names of functions, and has a lean source map beside it", () => {
    assert.equal(sections(first, "name").length, 1);
    assert.equal(sections(first, "sluice.sourcemap").length, 0);
    assert.match(sections(first, "sourceMappingURL")[0]!.toString(), /\.\/first\.wasm\.map$/);
    const text = readFileSync(`${first.path}.map`, "utf8");
    const map = JSON.parse(text) as { version: number; sources: string[]; sourcesContent?: unknown };
    assert.equal(map.version, 3);
    assert.ok(map.sources.includes("first/first.ts"), map.sources.join());
    assert.equal(map.sourcesContent, undefined);
    assert.ok(!text.includes(root), "no folder of this machine");
  });

  it("has the same bytes when it is built anew, and is not built when nothing changed", async () => {
    const again = await buildFilter(path, { outFolder });
    assert.equal(again.cached, true);
    assert.equal(again.sha256, first.sha256);
    const forced = await buildFilter(path, { outFolder, force: true });
    assert.equal(forced.cached, false);
    assert.equal(forced.sha256, first.sha256);
    rmSync(`${first.path}.map`);
    assert.equal((await buildFilter(path, { outFolder })).cached, false, "its map is gone");
    writeFileSync(join(path, "filter.json"), `{ "version": "1.2.4" }`);
    const changed = await buildFilter(path, { outFolder });
    assert.equal(changed.cached, false);
    assert.notEqual(changed.sha256, first.sha256);
  });
});

describe("kinds of filters", () => {
  it("an encoder exports no request callback, and the debug target has its source map inside", async () => {
    const path = folder("encoder", {
      "encoder.ts": `${IMPORTS}
class Mine extends EncoderFilter {
  override onResponseBody(_size: u32, _end: bool): i32 { return CONTINUE; }
}
class Root extends RootContext {
  override createFilter(): StreamContext { return new Mine(); }
}
register((): RootContext => new Root());`,
    });
    const result = await buildFilter(path, { outFolder, target: "debug" });
    const callbacks = exportsOf(result).filter((name) => /request|response/.test(name));
    assert.deepEqual(callbacks, ["proxy_on_response_body"]);
    assert.equal(sections(result, "sluice.schema").length, 0);
    assert.equal(sections(result, "name").length, 1);
    const inside = sections(result, "sluice.sourcemap")[0]!.toString();
    assert.equal(inside, readFileSync(`${result.path}.map`, "utf8"));
    const map = JSON.parse(inside) as { sources: string[] };
    assert.ok(map.sources.some((source) => source.endsWith("encoder/encoder.ts")));
  });
});

test("a filter may be called like a folder of ours, or like the SDK's", async () => {
  for (const name of ["abi", "filters", "sdk"]) {
    const { path } = await buildFilter(folder(name, { [`${name}.ts`]: DECODER }), { outFolder, target: "debug" });
    const map = JSON.parse(readFileSync(`${path}.map`, "utf8")) as { sources: string[] };
    assert.ok(map.sources.includes(`${name}/${name}.ts`), map.sources.join());
  }
});

describe("mistakes", () => {
  const cases: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    [
      "a type error",
      { "bad.ts": `${DECODER}\nconst wrong: i32 = "text";\n` },
      /bad\/bad\.ts:19:20: Type .* is not assignable to type 'i32'/,
    ],
    ["a missing import", { "bad.ts": `import { x } from "./nowhere.ts";\nx();\n` }, /nowhere.* not found/],
    [
      "a decoder filter that wants responses",
      { "bad.ts": DECODER.replaceAll("onRequestHeaders", "onResponseHeaders") },
      /bad\/bad\.ts:8:12: a DecoderFilter sees no responses; extend Filter/,
    ],
    [
      "an HTTP filter that wants connections",
      { "bad.ts": DECODER.replaceAll("onRequestHeaders(_headers: u32, _end: bool)", "onNewConnection()") },
      /bad\/bad\.ts:8:12: an HTTP filter sees no connections; extend NetworkFilter/,
    ],
    [
      "a network filter that wants requests",
      { "bad.ts": DECODER.replaceAll("DecoderFilter", "NetworkFilter") },
      /bad\/bad\.ts:8:12: a NetworkFilter sees no HTTP; extend Filter/,
    ],
    [
      "a misspelt validation rule",
      {
        "bad.ts": DECODER,
        "bad.proto": `syntax = "proto3"; package a; import "validate/validate.proto"; message B { string c = 1 [(validate.rules).string.min_length = 3]; }`,
      },
      /bad\.proto:1:\d+: no validation rule "min_length" in validate\.StringRules/,
    ],
    [
      "a schema with no message",
      { "bad.ts": DECODER, "bad.proto": `syntax = "proto3"; package a;` },
      /bad\.proto: declares no message/,
    ],
    [
      "a schema with a syntax error",
      { "bad.ts": DECODER, "bad.proto": `syntax = "proto3"; message {` },
      /bad\.proto:1:28: illegal type name "\{"/,
    ],
    [
      "a description with an unknown field",
      { "bad.ts": DECODER, "filter.json": `{ "versoin": "1" }` },
      /unknown field "versoin"/,
    ],
    [
      "a description with a wrong type",
      { "bad.ts": DECODER, "filter.json": `{ "version": 1 }` },
      /"version" is no string/,
    ],
    [
      "a description with an isolation that does not exist",
      { "bad.ts": DECODER, "filter.json": `{ "isolation": "request" }` },
      /"isolation" is "request", not worker, connection or stream/,
    ],
    ["a folder without its main file", { "other.ts": DECODER }, /bad\.ts: not found/],
  ];
  for (const [name, files, message] of cases) {
    it(name, async () => {
      const path = folder("bad", files);
      await assert.rejects(buildFilter(path, { outFolder }), message);
      rmSync(path, { recursive: true });
    });
  }
});

describe("response flags", () => {
  it("have the same numbers for filters and for the host", () => {
    assert.deepEqual({ ...AbiResponseFlag }, { ...ResponseFlag });
  });
});
