import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

test("tells a request with its body, and not one that is sent again", async () => {
  const filter = await loadFilter();
  const answer = await filter.send({ path: "/a", body: ["one ", "two"], trailers: { t: "1" } });
  assert.equal(answer.log.length, 1);
  const [, headers, body] = /recorded ([0-9a-f]+) ([0-9a-f]*)$/.exec(answer.log[0]!)!;
  assert.equal(Buffer.from(body!, "hex").toString(), "one two");
  assert.ok(Buffer.from(headers!, "hex").includes("/a"));
  const again = await filter.send({ path: "/a", headers: { "x-sluice-replay": "1" } });
  assert.deepEqual(again.log, []);
  assert.equal(again.upstream[0]?.headers["x-sluice-replay"], undefined);
  filter.close();
});

test("leaves large requests out", async () => {
  const filter = await loadFilter();
  const answer = await filter.send({ body: ["x".repeat(20_000), "y".repeat(20_000)] });
  assert.deepEqual([answer.status, answer.log.length], [200, 0]);
  filter.close();
});
