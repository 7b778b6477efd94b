/** Versions that were replaced are gone: their modules, their instances, and what belonged to them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { KEPT_VERSIONS } from "../../runtime/limits.ts";
import { configuration, send, versionModule, versionText } from "../hotload/versions.ts";
import { CountedProxy } from "./census.ts";

const SWAPS = 150;
/** Times that so many swaps are made until the heap has not grown: code comes and goes with V8's own ideas, what is left behind stays. */
const ROUNDS = 4;
const WARM_UP = 30;
const WORKERS = 2;
/** Every so many versions get a stream. */
const STREAM_EACH = 4;
/** Much less than what a version is made of, for each swap. */
const ALLOWED_HEAP_BYTES = SWAPS * 1000;
/** Milliseconds, on a machine that is thirty times as slow as usual. */
const TIMEOUT_MS = 300_000;

const folder = mkdtempSync(join(tmpdir(), "sluice-released-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test(`${SWAPS} swaps leave no module and no instance behind`, { timeout: TIMEOUT_MS }, async () => {
  const module = join(folder, "versions.wasm");
  writeFileSync(module, await versionModule(1));
  const proxy = await new CountedProxy(configuration(module), WORKERS).live();
  let version = 1;
  const swap = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) {
      const { status, body } = await send(proxy.admin, "/wasm/load?plugin=versions", await versionModule(++version));
      assert.equal(status, 200, body);
      if (n % STREAM_EACH !== 0) continue;
      const answer = await proxy.get("/");
      assert.equal(answer.headers["x-version"], versionText(version));
    }
  };
  const first = await proxy.census();
  assert.equal(first.length, 1 + WORKERS);
  await swap(WARM_UP);
  let before = await proxy.census();
  let after = before;
  const grown = (at: number): number => after[at]!.heapBytes - before[at]!.heapBytes;
  for (let round = 0; round < ROUNDS; round++) {
    before = after;
    await swap(SWAPS);
    after = await proxy.census();
    for (const [at, { thread, modules, instances, descriptors }] of after.entries()) {
      const kept = thread === 0 ? KEPT_VERSIONS - 1 : 0;
      const expected = { thread, modules: first[at]!.modules + kept, instances: first[at]!.instances };
      assert.deepEqual({ thread, modules, instances }, expected);
      assert.equal(descriptors, first[at]!.descriptors);
    }
    if (after.every((_, at) => grown(at) < ALLOWED_HEAP_BYTES)) break;
  }
  for (const [at, { thread }] of after.entries())
    assert.ok(grown(at) < ALLOWED_HEAP_BYTES, `the heap of thread ${thread} grew by ${grown(at)} bytes`);
});
