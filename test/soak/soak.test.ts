/** A bounded share of the soak scripts: the same loads, smaller. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CONNECTIONS } from "../bench/wrk.ts";
import { slowReaders, slowUpstream, slowWriters, streamDown, streamUp } from "./body-soak.ts";
import { RELOAD_REQUESTS, soakReloads } from "./reload-soak.ts";
import { soakCanaries, VARIANTS } from "./canary-soak.ts";
import { soakRequests } from "./request-soak.ts";
import { soakRestarts } from "./restart-soak.ts";

const MIB = 1024 * 1024;
/** Far less than the bodies, and more than V8 takes before it collects. */
const ALLOWED_GROWTH = 128 * MIB;

const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("requests through three filters, none lost", async () => {
  const outcome = await soakRequests({ folder, requests: 5000 });
  assert.deepEqual(
    { errors: outcome.errors, wrong: outcome.wrong, restarts: outcome.restarts },
    { errors: 0, wrong: 0, restarts: 0 },
  );
  assert.ok(outcome.requests >= 5000, `${outcome.requests} requests`);
});

test("a worker that is ended under load costs its own requests at most, and is back", async () => {
  const outcome = await soakRequests({ folder, requests: 8000, killAfter: 2000 });
  assert.deepEqual(
    { wrong: outcome.wrong, restarts: outcome.restarts, serving: outcome.serving },
    { wrong: 0, restarts: 1, serving: 2 },
  );
  assert.ok(outcome.errors <= CONNECTIONS, `${outcome.errors} errors on ${CONNECTIONS} connections`);
});

test("hot restarts under load, no request lost", async () => {
  const { errors, requests, statuses } = await soakRestarts(folder, 2000, 2);
  assert.deepEqual({ errors, statuses: new Set(statuses) }, { errors: 0, statuses: new Set([0]) });
  assert.ok(requests >= 2000, `${requests} requests`);
});

test("reloads of the whole configuration under load, no request lost", async () => {
  const {
    errors,
    firstError,
    requests,
    reloads,
    before,
    after: rest,
  } = await soakReloads(folder, {
    reloads: 15,
    pauseMs: 60,
    seed: 3,
  });
  assert.deepEqual({ errors, firstError, reloads }, { errors: 0, firstError: "", reloads: 15 });
  assert.deepEqual(rest, before);
  assert.ok(requests >= 15 * RELOAD_REQUESTS, `${requests} requests`);
});

test("canaries that trap are taken back by themselves, and cost a request or two each", async () => {
  for (const variant of VARIANTS) {
    const { canaries, failed, skipped } = await soakCanaries(folder, variant, 2, 0);
    // Each of the two workers may meet a trap before it hears of the other's.
    const [hit, other] = variant.policy === "FAIL_CLOSED" ? [failed, skipped] : [skipped, failed];
    assert.equal(other, 0);
    assert.ok(hit >= canaries && hit <= 2 * canaries, `${hit} requests at ${canaries} canaries`);
  }
});

test("large bodies flow down and up in bounded memory", async () => {
  const bytes = 256 * MIB;
  for (const outcome of [
    await streamDown(folder, bytes, "filters"),
    await streamUp(folder, bytes, "filters", true),
    await streamUp(folder, bytes, "plain", false),
    await streamDown(folder, bytes, "tcp"),
    await streamUp(folder, bytes, "tcp", false),
  ]) {
    assert.equal(outcome.received, bytes);
    assert.ok(outcome.peakBytes - outcome.beforeBytes < ALLOWED_GROWTH, JSON.stringify(outcome));
  }
});

test("sides that stand still do not fill the memory", async () => {
  for (const outcome of [
    await slowReaders(folder, "plain", 16, 32 * MIB),
    await slowReaders(folder, "tcp", 16, 32 * MIB),
    await slowUpstream(folder, "plain", 16, 32 * MIB),
    await slowUpstream(folder, "tcp", 16, 32 * MIB),
    await slowWriters(folder, "plain", 32, 200),
  ]) {
    assert.ok(outcome.whole, JSON.stringify(outcome));
    assert.ok(outcome.afterBytes - outcome.beforeBytes < ALLOWED_GROWTH, JSON.stringify(outcome));
  }
});
