import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

test("marks request and response, and tells each phase", async () => {
  const filter = await loadFilter({
    configuration: { msg: "read the docs" },
    upstreams: { upstream: () => ({ headers: { "x-evangelist": "not this" }, body: ["one", "two"] }) },
  });
  const answer = await filter.send({ body: "some text" });
  assert.equal(answer.headers["x-evangelist"], "read the docs");
  assert.equal(answer.upstream[0]?.headers["x-evangelist"], "read the docs");
  const phases = answer.log.map((line) => /(?:decode|encode) \w+/.exec(line)?.[0]);
  assert.deepEqual([...new Set(phases)], ["decode headers", "decode data", "encode headers", "encode data"]);
  filter.close();
});

test("refuses a message of fewer than 8 or more than 25 characters", async () => {
  await assert.rejects(loadFilter({ configuration: { msg: "short" } }), /msg: must have at least 8 characters/);
  await assert.rejects(loadFilter({ configuration: { msg: "m".repeat(26) } }), /msg: must have at most 25 characters/);
});
