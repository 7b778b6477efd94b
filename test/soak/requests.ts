/** `npm run soak:requests [-- COUNT]`: 100,000 requests through three filters, then as many with a worker ended in the middle. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONNECTIONS } from "../bench/wrk.ts";
import { soakRequests } from "./request-soak.ts";

const requests = Number(process.argv[2] ?? 100_000);
const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const quiet = await soakRequests({ folder, requests });
console.log("two workers, three filters:", JSON.stringify(quiet));
const lossy = await soakRequests({ folder, requests, killAfter: requests / 2 });
console.log("the same, and one worker ended in the middle:", JSON.stringify(lossy));
const good =
  quiet.errors + quiet.wrong + lossy.wrong === 0 &&
  lossy.errors <= CONNECTIONS &&
  lossy.restarts === 1 &&
  lossy.serving === 2;
console.log(good ? "as it should be" : "NOT as it should be");
process.exitCode = good ? 0 : 1;
