import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

test("marks responses", async () => {
  const filter = await loadFilter({
    configuration: { greeting: "hello" },
    upstreams: { upstream: () => ({ status: 201, body: "made" }) },
  });
  const answer = await filter.send({ method: "PUT", path: "/thing", body: "a thing" });
  assert.equal(answer.status, 201);
  assert.equal(answer.body, "made");
  assert.equal(answer.headers["x-starter"], "hello");
  assert.equal(answer.upstream[0]?.body, "a thing");
  assert.equal(filter.metric("starter.marked"), 1);
  filter.close();
});

test("answers its own path, without an upstream", async () => {
  const filter = await loadFilter({ configuration: { greeting: "hello" } });
  const answer = await filter.send({ path: "/starter" });
  assert.equal(answer.body, "hello\n");
  assert.equal(answer.upstream.length, 0);
  filter.close();
});

test("refuses a greeting that is too short", async () => {
  await assert.rejects(loadFilter({ configuration: { greeting: "x" } }), /greeting: .*at least 3 characters/);
});
