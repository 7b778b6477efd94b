/** `npm run soak:bodies [-- MIB]`: 1 GiB down and up, as HTTP, through three filters, and as bytes through tcp_proxy, and sides that stand still; tells the peaks of memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { slowReaders, slowUpstream, slowWriters, streamDown, streamUp } from "./body-soak.ts";
import type { BodyOutcome, StandstillOutcome } from "./body-soak.ts";

const MIB = 1024 * 1024;
/** Growth that is no leak: V8 takes that much before it collects. */
const ALLOWED_GROWTH = 128 * MIB;

const bytes = Number(process.argv[2] ?? 1024) * MIB;
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const WAYS = ["plain", "filters", "tcp"] as const;
let good = true;

function tell(name: string, { received, beforeBytes, peakBytes, seconds }: BodyOutcome): void {
  good &&= received === bytes && peakBytes - beforeBytes < ALLOWED_GROWTH;
  console.log(
    `${name}: ${mib(received)} in ${seconds.toFixed(1)} s, memory ${mib(beforeBytes)} before, ${mib(peakBytes)} at most`,
  );
}

function tellStandstill(name: string, { taken, beforeBytes, afterBytes, whole }: StandstillOutcome): void {
  good &&= whole && afterBytes - beforeBytes < ALLOWED_GROWTH;
  console.log(
    `${name}: took ${mib(taken)}, memory ${mib(beforeBytes)} before, ${mib(afterBytes)} after, bodies ${whole ? "whole" : "BROKEN"}`,
  );
}

function mib(value: number): string {
  return `${(value / MIB).toFixed(1)} MiB`;
}

for (const way of WAYS) {
  tell(`down, ${way}`, await streamDown(folder, bytes, way));
  tell(`up, ${way}`, await streamUp(folder, bytes, way, false));
  tell(`up, chunked, ${way}`, await streamUp(folder, bytes, way, true));
}
for (const way of ["plain", "tcp"] as const) {
  tellStandstill(`16 readers that stand still, ${way}`, await slowReaders(folder, way, 16, 64 * MIB));
  tellStandstill(`16 uploads to an upstream that stands still, ${way}`, await slowUpstream(folder, way, 16, 64 * MIB));
  tellStandstill(`64 uploads a byte at a time, ${way}`, await slowWriters(folder, way, 64, 1000));
}
console.log(good ? "as it should be" : "NOT as it should be");
process.exitCode = good ? 0 : 1;
