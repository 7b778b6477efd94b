/** The folder that keeps fetched code: what it gives back, what it throws away, and what happens when it cannot be used. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DigestCache, sha256Of } from "../../runtime/artifact/digest-cache.ts";
import { RecordingLog } from "../wasm/stage.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-cache-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;

function open(maxBytes = 1000): { cache: DigestCache; folder: string; log: RecordingLog } {
  const folder = join(root, String(++folders), "code");
  const log = new RecordingLog();
  return { cache: new DigestCache(folder, maxBytes, log), folder, log };
}

/** A file of `size` bytes and its digest. */
function file(text: string, size: number): { bytes: Buffer; sha256: string } {
  const bytes = Buffer.alloc(size, text);
  return { bytes, sha256: sha256Of(bytes) };
}

describe("digest cache", () => {
  test("gives back what was kept, to another process too", () => {
    const { cache, folder, log } = open();
    const { bytes, sha256 } = file("a", 10);
    assert.equal(cache.get(sha256), undefined);
    cache.put(sha256, bytes);
    assert.deepEqual(cache.get(sha256), bytes);
    assert.deepEqual(new DigestCache(folder, 1000, log).get(sha256), bytes);
    assert.deepEqual(log.lines, []);
  });

  for (const [what, change] of [
    ["changed", "bbbbbbbbbb"],
    ["cut off", "aaaa"],
    ["empty", ""],
  ] as const) {
    test(`a file that was ${what} is thrown away`, () => {
      const { cache, folder, log } = open();
      const { bytes, sha256 } = file("a", 10);
      cache.put(sha256, bytes);
      writeFileSync(join(folder, sha256), change);
      assert.equal(cache.get(sha256), undefined);
      assert.equal(existsSync(join(folder, sha256)), false);
      assert.match(log.lines.join(), /is not what its name says/);
    });
  }

  test("what was used longest ago makes room", () => {
    const { cache, folder } = open(1000);
    const files = ["a", "b", "c"].map((text) => file(text, 400));
    for (const [n, { bytes, sha256 }] of files.slice(0, 2).entries()) {
      cache.put(sha256, bytes);
      utimesSync(join(folder, sha256), n + 1, n + 1);
    }
    // Reading is use.
    assert.ok(cache.get(files[0]!.sha256));
    cache.put(files[2]!.sha256, files[2]!.bytes);
    assert.deepEqual(
      files.map(({ sha256 }) => existsSync(join(folder, sha256))),
      [true, false, true],
    );
  });

  test("one that is larger than all of the cache is not kept, and makes no room", () => {
    const { cache, folder, log } = open(1000);
    const small = file("a", 900);
    const large = file("b", 1001);
    cache.put(small.sha256, small.bytes);
    cache.put(large.sha256, large.bytes);
    assert.deepEqual(readdirSync(folder), [small.sha256]);
    assert.match(log.lines.join(), /more than all of the cache/);
  });

  test("parts of writers that died go with time, whatever else lies there stays", () => {
    const { cache, folder } = open(1000);
    const one = file("a", 10);
    const two = file("b", 10);
    cache.put(one.sha256, one.bytes);
    const parts = [`${one.sha256}.0a1b.part`, `${two.sha256}.ffff.part`];
    for (const name of [...parts, "README"]) writeFileSync(join(folder, name), "x");
    utimesSync(join(folder, parts[0]!), 1, 1);
    utimesSync(join(folder, "README"), 1, 1);
    cache.put(two.sha256, two.bytes);
    assert.deepEqual(readdirSync(folder).sort(), [one.sha256, two.sha256, parts[1]!, "README"].sort());
  });

  test("a folder that cannot be made is told, and nothing else happens", () => {
    const { folder, log } = open();
    const { bytes, sha256 } = file("a", 10);
    const blocked = join(root, `file-${folders}`);
    writeFileSync(blocked, "");
    const cache = new DigestCache(join(blocked, "code"), 1000, log);
    cache.put(sha256, bytes);
    assert.equal(cache.get(sha256), undefined);
    assert.match(log.lines.join("\n"), /cannot keep [0-9a-f]{64} in .*: (ENOTDIR|EEXIST)/);
    assert.equal(existsSync(folder), false);
  });
});
