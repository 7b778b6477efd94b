/** The parts of artifacts that need no registry: names, archives, manifests, layouts; good ones, and everything else. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { readArtifact } from "../../runtime/registry/artifact.ts";
import { chooseFromIndex, moduleLayer, pack } from "../../runtime/registry/layout.ts";
import { layoutManifest, openImageLayout, writeImageLayout } from "../../runtime/registry/image-layout.ts";
import { isIndex, manifestBytes, MediaType, parseManifest } from "../../runtime/registry/manifest.ts";
import type { Descriptor, Manifest } from "../../runtime/registry/manifest.ts";
import { formatReference, parseReference } from "../../runtime/registry/reference.ts";
import { looksLikeTar, readTar, writeTar } from "../../runtime/registry/tar.ts";
import { unbox } from "../../runtime/registry/unbox.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { MAX_ARTIFACT_BYTES } from "../../runtime/limits.ts";
import { barText } from "../../runtime/cli/progress-bar.ts";
import { fc } from "../properties.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-parts-"));
after(() => rmSync(scratch, { recursive: true }));
const MODULE = Buffer.from("0061736d01000000", "hex");
const DIGEST = `sha256:${"a".repeat(64)}`;

describe("references", () => {
  for (const [text, registry, repository, tag, digest] of [
    ["registry.example.com/gate", "registry.example.com", "gate", "latest", undefined],
    ["oci://registry.example.com/team/gate:1.2", "registry.example.com", "team/gate", "1.2", undefined],
    ["localhost:5000/gate:v1", "localhost:5000", "gate", "v1", undefined],
    ["localhost/gate", "localhost", "gate", "latest", undefined],
    ["[::1]:5000/gate", "[::1]:5000", "gate", "latest", undefined],
    [`127.0.0.1:5000/a/b-c/d__e@${DIGEST}`, "127.0.0.1:5000", "a/b-c/d__e", undefined, DIGEST],
    [`ghcr.io/a/b:1@${DIGEST}`, "ghcr.io", "a/b", "1", DIGEST],
  ] as const) {
    it(text, () => {
      const found = parseReference(text);
      assert.deepEqual(found, { registry, repository, tag, digest });
      assert.deepEqual(parseReference(formatReference(found)), found);
    });
  }

  for (const text of [
    "",
    "gate",
    "gate:1",
    "team/gate",
    "oci://",
    "https://host.example/gate",
    "host.example/",
    "host.example/Gate",
    "host.example/a//b",
    "host.example/a:",
    "host.example/a:b c",
    "host.example/a@sha256:12",
    "host.example/a@md5:12",
    "host .example/a",
    "-host.example/a",
    "host.example:port/a",
    `host.example/${"a".repeat(300)}`,
    "host.example/a:../b",
  ]) {
    // prettier-ignore
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.throws(() => parseReference(text), /ARTIFACT_REFERENCE/);
    });
  }
});

describe("archives", () => {
  const files = [
    { name: "a.txt", bytes: Buffer.from("one") },
    { name: "dir/plugin.wasm", bytes: MODULE },
    { name: "empty", bytes: Buffer.alloc(0) },
    { name: "block", bytes: Buffer.alloc(512, 7) },
  ];

  it("come back as they went in, and are what tar reads", () => {
    const archive = writeTar(files);
    assert.deepEqual(readTar(archive), files);
    const path = join(scratch, "ours.tar");
    writeFileSync(path, archive);
    assert.equal(execFileSync("tar", ["-xOf", path, "a.txt"], { encoding: "utf8" }), "one");
  });

  it("of tar are read: long names of both kinds, folders and links left out", () => {
    const long = `${"d".repeat(90)}/${"n".repeat(90)}.wasm`;
    execFileSync(
      "sh",
      ["-c", `mkdir -p tree/${"d".repeat(90)} && cd tree && printf two > ${long} && ln -sf elsewhere link`],
      { cwd: scratch },
    );
    for (const format of ["gnu", "pax", "ustar"]) {
      const path = join(scratch, `${format}.tar`);
      execFileSync("tar", ["-C", join(scratch, "tree"), `--format=${format}`, "-cf", path, "."]);
      const read = readTar(readFileSync(path)).map(({ name, bytes }) => [name.replace(/^\.\//, ""), bytes.toString()]);
      assert.deepEqual(read, [[long, "two"]], format);
    }
  });

  it("that are damaged are refused or read, never a crash", () => {
    const archive = writeTar(files);
    for (let at = 0; at < archive.length; at += 3) {
      const changed = Buffer.from(archive);
      changed[at]! ^= 0x5a;
      try {
        readTar(changed);
      } catch (error) {
        assert.match((error as Error).message, /ARTIFACT_TAR/);
      }
    }
    for (let size = 0; size < archive.length; size += 100) {
      try {
        readTar(archive.subarray(0, size));
      } catch (error) {
        assert.match((error as Error).message, /ARTIFACT_TAR/);
      }
    }
  });

  it("with a size in GNU's other base do not end there as if nothing followed", () => {
    const archive = writeTar(files);
    archive.writeUInt8(0x80, 124);
    const sum = archive.subarray(0, 512).reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 0x20 : byte), 0);
    archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    assert.throws(() => readTar(archive), /ARTIFACT_TAR: .*a size that is no octal number at byte 0/);
  });

  it("are told from noise", () => {
    assert.ok(looksLikeTar(writeTar(files)));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 2000 }), (bytes) => !looksLikeTar(Buffer.from(bytes))),
    );
  });
});

describe("files that are none", () => {
  it("a device is refused, and a layout whose index is one", async () => {
    await assert.rejects(readArtifact("/dev/zero"), /ARTIFACT_UNREADABLE: \/dev\/zero: it is a device/);
    const folder = join(scratch, "endless");
    mkdirSync(folder);
    writeFileSync(join(folder, "oci-layout"), "{}");
    symlinkSync("/dev/zero", join(folder, "index.json"));
    await assert.rejects(readArtifact(folder), /ARTIFACT_CONTENT: .*oci-layout or index\.json is missing/);
  });
});

describe("unbox", () => {
  const tar = writeTar([{ name: "./plugin.wasm", bytes: MODULE }]);
  for (const [name, bytes] of [
    ["plain", MODULE],
    ["gzip", gzipSync(MODULE)],
    ["zstd", zstdCompressSync(MODULE)],
    ["tar", tar],
    ["tar and gzip", gzipSync(tar)],
    ["tar and zstd", zstdCompressSync(tar)],
  ] as const) {
    it(`finds the module: ${name}`, async () => assert.deepEqual(await unbox(bytes, "x"), MODULE));
  }

  for (const [name, bytes, why] of [
    ["nothing", Buffer.alloc(0), /holds no WebAssembly module/],
    ["text", Buffer.from("hello there"), /holds no WebAssembly module/],
    ["a component", Buffer.from("0061736d0d000100", "hex"), /a component, not a core module/],
    ["another version", Buffer.from("0061736d02000000", "hex"), /unknown version 2/],
    ["half a gzip", gzipSync(MODULE).subarray(0, 12), /cannot be decompressed/],
    ["an archive without one", writeTar([{ name: "a", bytes: MODULE }]), /holds no \.wasm file/],
  ] as const) {
    it(`refuses ${name}`, async () => assert.rejects(unbox(bytes, "x"), why));
  }

  it("stops decompressing at the bound", async () => {
    const bomb = gzipSync(Buffer.alloc(MAX_ARTIFACT_BYTES + 1024 * 1024));
    assert.ok(bomb.length < 1024 * 1024);
    await assert.rejects(unbox(bomb, "x"), /ARTIFACT_TOO_LARGE/);
  });
});

describe("manifests", () => {
  const one: Descriptor = { mediaType: MediaType.WASM, digest: DIGEST, size: 3 };
  const manifest: Manifest = { schemaVersion: 2, mediaType: MediaType.MANIFEST, config: one, layers: [one] };

  it("come back as they went in", () => {
    assert.deepEqual(parseManifest(manifestBytes(manifest), "x"), manifest);
    const index = parseManifest(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [one] })), "x");
    assert.ok(isIndex(index));
  });

  for (const [what, value, why] of [
    ["no JSON", "{", /no JSON/],
    ["a list", [], /no schemaVersion 2/],
    ["version 1", { schemaVersion: 1 }, /no schemaVersion 2/],
    ["no layers", { schemaVersion: 2, config: one }, /neither layers nor manifests/],
    ["no config", { schemaVersion: 2, layers: [] }, /config is no descriptor/],
    ["a size that is none", { schemaVersion: 2, config: { ...one, size: -1 }, layers: [] }, /config\.size/],
    [
      "a digest that is none",
      { schemaVersion: 2, config: one, layers: [{ ...one, digest: "sha256:x" }] },
      /layers\[0\]\.digest/,
    ],
    [
      "annotations that are none",
      { schemaVersion: 2, config: one, layers: [], annotations: { a: 1 } },
      /annotations are no texts/,
    ],
    [
      "too many layers",
      { schemaVersion: 2, config: one, layers: Array.from({ length: 201 }, () => one) },
      /more than 200/,
    ],
  ] as const) {
    it(`refuse ${what}`, () => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      assert.throws(() => parseManifest(Buffer.from(text), "x"), why);
    });
  }

  it("with anything in place of anything are refused with a word, or chosen from", () => {
    const entry = { ...one, artifactType: "application/wasm", platform: { os: "wasip1", architecture: "wasm" } };
    const index = { schemaVersion: 2, mediaType: MediaType.INDEX, manifests: [entry, one], annotations: { a: "b" } };
    const junk = [null, true, 5, "x", [], [[]], {}, { os: 5 }];
    const damaged = function* (value: unknown): Generator {
      yield* junk;
      if (typeof value !== "object" || value === null) return;
      for (const [key, part] of Object.entries(value))
        for (const other of damaged(part))
          yield Array.isArray(value) ? value.with(Number(key), other) : { ...value, [key]: other };
    };
    for (const text of [index, { ...manifest, subject: one, artifactType: "x" }].flatMap((whole) => [
      ...damaged(whole),
    ])) {
      try {
        const parsed = parseManifest(Buffer.from(JSON.stringify(text)), "x");
        if (isIndex(parsed)) chooseFromIndex(parsed, "x");
        else moduleLayer(parsed, "x");
      } catch (error) {
        assert.ok(error instanceof ProxyError, `${JSON.stringify(text)}: ${String(error)}`);
      }
    }
  });

  it("never crash on anything that is JSON", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          parseManifest(Buffer.from(text), "x");
        } catch (error) {
          assert.match((error as Error).message, /ARTIFACT_MANIFEST/);
        }
      }),
    );
  });

  it("say which layer holds the module, and why none does", () => {
    const layer = (mediaType: string): Descriptor => ({ ...one, mediaType });
    const of = (...types: string[]): string => moduleLayer({ ...manifest, layers: types.map(layer) }, "x").mediaType;
    assert.equal(of(MediaType.SOLO_CONFIG, MediaType.SOLO_WASM), MediaType.SOLO_WASM);
    // Higress puts documents in front.
    assert.equal(of("application/vnd.module.wasm.doc.v1+markdown", MediaType.TAR_GZIP), MediaType.TAR_GZIP);
    assert.equal(of(MediaType.TAR_GZIP, MediaType.DOCKER_TAR_GZIP), MediaType.DOCKER_TAR_GZIP);
    assert.throws(() => of(MediaType.WASM, MediaType.WASM), /it has 2 modules/);
    assert.throws(() => of("text/plain"), /no Wasm module, but: text\/plain/);
    assert.throws(() => of(), /no layers/);
  });

  it("are chosen from an index: for Wasm, for this machine, or the only one", () => {
    const entry = (os: string, architecture: string): Descriptor => ({
      ...one,
      digest: `sha256:${os.length}${architecture.padEnd(63, "0").slice(0, 63)}`,
      platform: { os, architecture },
    });
    const choose = (...manifests: Descriptor[]): Descriptor =>
      chooseFromIndex({ schemaVersion: 2, mediaType: MediaType.INDEX, manifests }, "x");
    const [wasm, amd, arm] = [entry("wasip1", "wasm"), entry("linux", "amd64"), entry("linux", "arm64")];
    assert.equal(choose(amd, wasm), wasm);
    assert.equal(choose(arm, amd), amd);
    assert.equal(choose(arm), arm);
    assert.throws(() => choose(arm, entry("windows", "arm64")), /without an entry for Wasm/);
    assert.throws(() => choose(), /without an entry for Wasm/);
  });
});

describe("image layouts", () => {
  const packed = pack(MODULE, "istio", { annotations: {}, manifest: undefined });

  for (const path of ["folder", "archive.tar"]) {
    it(`are written and read: ${path}`, () => {
      const place = join(scratch, path);
      writeImageLayout(place, packed, "1.0");
      const layout = openImageLayout(place);
      assert.deepEqual(layoutManifest(layout, "1.0", place).manifest, packed.manifest);
      assert.deepEqual(layoutManifest(layout, undefined, place).manifest, packed.manifest);
      assert.throws(() => layoutManifest(layout, "2.0", place), /it has no tag 2\.0/);
    });
  }

  it("notice a blob that was changed", () => {
    const place = join(scratch, "changed");
    writeImageLayout(place, packed, "1.0");
    const layer = packed.manifest.layers[0]!;
    writeFileSync(join(place, "blobs", layer.digest.replace(":", "/")), "something else");
    assert.throws(() => openImageLayout(place).blob(layer), /ARTIFACT_DIGEST/);
  });
});

it("a progress bar", () => {
  assert.equal(
    barText("pull gate", 512 * 1024, 1024 * 1024, 1000),
    `pull gate ${"█".repeat(12)}${"░".repeat(12)} 50 % 0.5 MiB/s`,
  );
  assert.match(barText("pull gate", 0, 0, 0), /100 %/);
});
