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

test("tells a request that is answered before its body has come", async () => {
  const filter = await loadFilter({
    routes: [{ match: { prefix: "/" }, direct_response: { status: 200 } }],
  });
  const answer = await filter.send({ path: "/early", body: ["one", "two"] });
  const told = answer.log.filter((line) => line.includes("recorded "));
  assert.equal(told.length, 1);
  assert.ok(Buffer.from(/recorded ([0-9a-f]+)/.exec(told[0]!)![1]!, "hex").includes("/early"));
  filter.close();
});

test("leaves large requests out", async () => {
  const filter = await loadFilter();
  const answer = await filter.send({ body: ["x".repeat(20_000), "y".repeat(20_000)] });
  assert.deepEqual([answer.status, answer.log.length], [200, 0]);
  filter.close();
});

test("tells a connection, by where it comes from", async () => {
  const filter = await loadFilter({ kind: "network", rootId: "connections" });
  const connection = await filter.connect("192.0.2.7:4711");
  await connection.send("one");
  await connection.answer("welcome");
  await connection.send("two", { end: true });
  await connection.close();
  assert.deepEqual(
    filter.log.map((line) => line.replace(/^.* connection /, "")),
    ["opens", "sends 6f6e65", "gets 7", "sends 74776f", "ends", "closes"].map((what) => `192.0.2.7:4711 ${what}`),
  );
  assert.equal(connection.upstream.toString(), "onetwo");
  filter.close();
});

test("says that a connection is too large, and no more of it", async () => {
  const filter = await loadFilter({ kind: "network", rootId: "connections" });
  const connection = await filter.connect();
  await connection.send("x".repeat(40_000));
  await connection.send("more");
  await connection.answer("more");
  assert.deepEqual(
    filter.log.map((line) => line.replace(/^.* /, "")),
    ["opens", "large"],
  );
  assert.equal(connection.upstream.length, 40_004);
  filter.close();
});
