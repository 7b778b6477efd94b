/** `npm run soak:restarts [-- COUNT]`: 100,000 requests, and hot restarts all the while. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { soakRestarts } from "./restart-soak.ts";

const requests = Number(process.argv[2] ?? 100_000);
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const outcome = await soakRestarts(folder, requests, 10);
console.log("hot restarts with 1 to 3 workers:", JSON.stringify(outcome));
const good = outcome.errors === 0 && outcome.requests >= requests && outcome.statuses.every((status) => status === 0);
console.log(good ? "as it should be" : "NOT as it should be");
process.exitCode = good ? 0 : 1;
