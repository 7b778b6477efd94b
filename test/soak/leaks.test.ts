/** A bounded share of `npm run soak:leaks`: everything that comes and goes leaves nothing behind. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { selfSigned } from "../tls/certificates.ts";
import { Churn, growth } from "./churn.ts";

const COUNT = 600;
/** Counts until what still stays is taken for left behind. */
const LOOKS = 40;
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
  await churn.idle();
  const before = await churn.proxy.census();
  await all(COUNT);
  await churn.idle();
  // What the last of them had is let go of in the next turns of the threads.
  let grown = growth(before, await churn.proxy.census());
  for (
    let look = 1;
    look < LOOKS && grown.some(({ descriptors, resources }) => descriptors > 0 || resources > 0);
    look++
  )
    grown = growth(before, await churn.proxy.census());
  for (const { thread, heapBytes, descriptors, resources } of grown) {
    assert.ok(heapBytes < ALLOWED_HEAP_BYTES, `the heap of thread ${thread} grew by ${heapBytes} bytes`);
    assert.ok(
      descriptors <= 0 && resources <= 0,
      `thread ${thread}: ${descriptors} descriptors, ${resources} resources`,
    );
  }
});
