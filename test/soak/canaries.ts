/**
 * `npm run soak:canaries [-- CANARIES UPSTREAM_MS]`: for each isolation and failure policy so many canaries, each taken back
 * by itself; the upstream takes so long to answer, 0: there is none.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CANARY_PERCENT, soakCanaries, VARIANTS } from "./canary-soak.ts";

const [canaries = 20, upstreamMs = 0] = process.argv.slice(2).map(Number);
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

for (const variant of VARIANTS) {
  // As a test, which ends what it starts.
  await test(`${variant.isolation} ${variant.policy}: ${canaries} canaries at ${CANARY_PERCENT} %`, async (t) => {
    const outcome = await soakCanaries(folder, variant, canaries, upstreamMs);
    const { requests, failed, skipped, canaryStreams, requestsMeanwhile, medianMs, mostMs } = outcome;
    const share = (count: number, of: number): string => `${((100 * count) / of).toFixed(4)} %`;
    t.diagnostic(
      `failed ${failed} (${share(failed, requestsMeanwhile)} of ${requestsMeanwhile} requests while canaries were tried, ${share(failed, requests)} of all ${requests})`,
    );
    t.diagnostic(`past the filter ${skipped}; streams of canaries ${canaryStreams}`);
    t.diagnostic(`taken back after ${medianMs.toFixed(0)} ms (median), ${mostMs.toFixed(0)} ms at most`);
    if (variant.policy === "FAIL_OPEN" && failed > 0) throw new Error("NOT as it should be");
  });
}
