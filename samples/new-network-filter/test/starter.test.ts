import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

test("lets a connection through that begins with the word, in pieces of any size", async () => {
  const filter = await loadFilter({ configuration: { word: "hello" } });
  const connection = await filter.connect("192.0.2.7:4711");
  await connection.send("he");
  assert.equal(connection.upstream.toString(), "");
  await connection.send("llo there\n");
  assert.equal(connection.upstream.toString(), "hello there\n");
  await connection.answer("welcome\n");
  assert.equal(connection.downstream.toString(), "welcome\n");
  assert.equal(filter.metric("starter.admitted"), 1);
  await connection.close();
  filter.close();
});

test("closes others", async () => {
  const filter = await loadFilter({ configuration: { word: "hello" } });
  const connection = await filter.connect();
  await connection.send("goodbye\n");
  assert.equal(connection.closed, true);
  assert.equal(connection.upstream.length, 0);
  assert.equal(filter.metric("starter.refused"), 1);
  filter.close();
});

test("refuses a word that is too short", async () => {
  await assert.rejects(loadFilter({ configuration: { word: "x" } }), /word: .*at least 3 characters/);
});
