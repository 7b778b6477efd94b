/**
 * Hostile clients by hand: `npm run hostile:network [-- words of a name] [--times N]` runs each attack, N times as often as
 * the test does, and prints how long it took, how peaceful clients fared meanwhile, and what memory it left.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { NetArena } from "./net-arena.ts";
import { NET_ATTACKS } from "./net-attacks.ts";

const { values, positionals } = parseArgs({ options: { times: { type: "string" } }, allowPositionals: true });
const factor = Number(values.times ?? "1");
const wanted = positionals.join(" ");
const folder = mkdtempSync(join(tmpdir(), "sluice-hostile-"));
const arena = await NetArena.start(folder);
try {
  await arena.peace();
  let resident = arena.residentMiB;
  console.log("ms  attack  (answers to peaceful clients meanwhile, the slowest in ms; MiB left)");
  for (const { name, run, times } of NET_ATTACKS) {
    if (!name.includes(wanted)) continue;
    const { answers: before } = await arena.peace();
    const began = performance.now();
    await run(arena, times * factor);
    await arena.settled();
    const took = performance.now() - began;
    const { answers, slowest } = await arena.peace();
    const left = arena.residentMiB - resident;
    resident = arena.residentMiB;
    console.log(
      `${took.toFixed(0)}  ${name} x ${times * factor}  (${answers - before}, ${slowest.toFixed(0)}; ${left.toFixed(1)})`,
    );
  }
} finally {
  await arena.close();
  rmSync(folder, { recursive: true });
}
process.exit(0);
