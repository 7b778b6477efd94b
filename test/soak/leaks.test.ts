/** A bounded share of `npm run soak:leaks`: everything that comes and goes leaves nothing behind. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { selfSigned } from "../tls/certificates.ts";
import { Churn, growth } from "./churn.ts";
import type { Growth } from "./churn.ts";

const COUNT = 300;
/** Milliseconds, on a machine that is thirty times as slow as usual. */
const TIMEOUT_MS = 300_000;
/** Times that all of it is done until the heap has not grown: code comes and goes with V8's own ideas, what is left behind stays. */
const ROUNDS = 3;
/** Counts until what still stays is taken for left behind. */
const LOOKS = 40;
/** Less than half of what one kind would leave if each of it left a connection. */
const ALLOWED_HEAP_BYTES = 400 * 1024;

const folder = mkdtempSync(join(tmpdir(), "sluice-churn-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test(
  "connections, sessions, handshakes, failures and reloads leave nothing behind",
  { timeout: TIMEOUT_MS },
  async (t) => {
    const churn = await Churn.start(selfSigned(folder, "churn.test"));
    t.after(() => churn.close());
    const all = async (count: number): Promise<void> => {
      for (const run of Object.values(churn.kinds)) await run(count);
    };
    await all(COUNT / 2);
    await churn.idle();
    let counted = await churn.proxy.census();
    let grown: readonly Growth[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const before = counted;
      await all(COUNT);
      await churn.idle();
      // What the last of them had is let go of in the next turns of the threads.
      for (let look = 0; look < LOOKS; look++) {
        counted = await churn.proxy.census();
        grown = growth(before, counted);
        if (grown.every(({ descriptors, resources }) => descriptors <= 0 && resources <= 0)) break;
      }
      if (grown.every(({ heapBytes }) => heapBytes < ALLOWED_HEAP_BYTES)) break;
    }
    for (const { thread, heapBytes, descriptors, resources } of grown) {
      assert.ok(heapBytes < ALLOWED_HEAP_BYTES, `the heap of thread ${thread} grew by ${heapBytes} bytes`);
      assert.ok(
        descriptors <= 0 && resources <= 0,
        `thread ${thread}: ${descriptors} descriptors, ${resources} resources`,
      );
    }
  },
);
