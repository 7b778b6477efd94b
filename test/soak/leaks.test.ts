/** A bounded share of `npm run soak:leaks`: everything that comes and goes leaves nothing behind. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { selfSigned } from "../tls/certificates.ts";
import { Churn, growth } from "./churn.ts";

const COUNT = 600;
/** Less than a quarter of what one kind would leave if each of it left a connection. */
const ALLOWED_HEAP_BYTES = 400 * 1024;

const folder = mkdtempSync(join(tmpdir(), "sluice-churn-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("connections, sessions, handshakes, failures and reloads leave nothing behind", async (t) => {
  const churn = await Churn.start(selfSigned(folder, "churn.test"));
  t.after(() => churn.close());
  const all = async (count: number): Promise<void> => {
    for (const run of Object.values(churn.kinds)) await run(count);
  };
  await all(COUNT / 2);
  const before = await churn.proxy.census();
  await all(COUNT);
  for (const { thread, heapBytes, descriptors, resources } of growth(before, await churn.proxy.census())) {
    assert.ok(heapBytes < ALLOWED_HEAP_BYTES, `the heap of thread ${thread} grew by ${heapBytes} bytes`);
    assert.deepEqual({ thread, descriptors, resources }, { thread, descriptors: 0, resources: 0 });
  }
});
