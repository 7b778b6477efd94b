import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

const typedConfig = {
  "@type": "type.googleapis.com/envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy",
  stat_prefix: "db",
};

function packet(sequence: number, payload: string): Buffer {
  const bytes = Buffer.from(payload, "latin1");
  return Buffer.concat([Buffer.of(bytes.length, 0, 0, sequence), bytes]);
}
const GREETING = packet(
  0,
  `\n10.11.6-MariaDB\0\x01\0\0\0${"s".repeat(8)}\0\x00\x82\x21\x02\0\0\0\x15${"\0".repeat(10)}`,
);
const LOGIN = packet(1, `\x08\x82\0\0\0\0\0\x01\x21${"\0".repeat(23)}clerk\0\x02xxshop\0`);
const OK = packet(2, "\0\0\0\x02\0\0\0");

test("names the tables of a query, counts, and changes nothing", async () => {
  const filter = await loadFilter({ typedConfig });
  const connection = await filter.connect();
  await connection.answer(GREETING);
  await connection.send(LOGIN);
  await connection.answer(OK);
  const query = packet(0, "\x03DELETE FROM orders");
  await connection.send(query);
  const tables = { "orders.shop": ["delete"] };
  assert.deepEqual(connection.metadata, {
    "envoy.filters.network.mysql_proxy": tables,
    "sluice.mysql_proxy": tables,
  });
  assert.equal(filter.metric("mysql.db.queries_parsed"), 1);
  assert.deepEqual(connection.upstream, Buffer.concat([LOGIN, query]));
  assert.deepEqual(connection.downstream, Buffer.concat([GREETING, OK]));
  await connection.close();
  filter.close();
});

test("refuses a configuration without a name for its statistics", async () => {
  await assert.rejects(
    loadFilter({ typedConfig: { ...typedConfig, stat_prefix: "" } }),
    /TEST_CONFIGURATION: stat_prefix: /,
  );
});
