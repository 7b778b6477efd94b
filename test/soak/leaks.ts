/** `npm run soak:leaks [-- COUNT]`: 100,000 short connections, a tenth as many of all else that comes and goes, and what is left. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { join } from "node:path";
import { selfSigned } from "../tls/certificates.ts";
import { Churn, growth } from "./churn.ts";

const [count = 100_000] = process.argv.slice(2).map(Number);
/** Of code that is compiled meanwhile, and what else comes once. */
const ALLOWED_HEAP_BYTES = 512 * 1024;
/** Of the process, over all kinds: what is not on a heap, TLS and HTTP/2 among it, and V8's room for new objects. */
const ALLOWED_RESIDENT_BYTES = 48 * 1024 * 1024;
/** The kind that is had most cheaply. */
const CHEAP = "short connections";

const folder = mkdtempSync(join(tmpdir(), "sluice-churn-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

// As a test, which ends what it starts.
await test("what comes and goes leaves nothing behind", async (t) => {
  const churn = await Churn.start(selfSigned(folder, "churn.test"));
  t.after(() => churn.close());
  const bad: string[] = [];
  const first = await settled(churn);
  for (const [kind, run] of Object.entries(churn.kinds)) {
    const times = Math.ceil(kind === CHEAP ? count : count / 10);
    await run(Math.ceil(times / 10));
    const before = await churn.proxy.census();
    await run(times);
    const grown = growth(before, await churn.proxy.census());
    t.diagnostic(`${times} ${kind}: ${JSON.stringify(grown)}`);
    if (grown.some(({ heapBytes, descriptors }) => heapBytes > ALLOWED_HEAP_BYTES || descriptors > 0)) bad.push(kind);
  }
  const resident = (await settled(churn)) - first;
  t.diagnostic(`resident memory over all: ${resident}`);
  if (resident > ALLOWED_RESIDENT_BYTES) bad.push("memory that is on no heap");
  if (bad.length > 0) throw new Error(`something stays of ${bad.join(", ")}`);
});

/** Resident bytes once pages that a collection has freed are given back: the next one sees that. */
async function settled(churn: Churn): Promise<number> {
  await churn.proxy.census();
  const [main] = await churn.proxy.census();
  return main!.residentBytes;
}
