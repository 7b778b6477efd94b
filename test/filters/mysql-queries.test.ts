/** Which tables mysql_proxy finds in a query, and for what. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { command, MysqlSession, query, ok } from "./mysql-packets.ts";

type Found = Readonly<Record<string, string>>;

/** Query, tables with operations; in the session's database `shop` unless said otherwise. */
const QUERIES: readonly (readonly [text: string, found: Found])[] = [
  ["SELECT * FROM orders", { "orders.shop": "select" }],
  ["select\n*\tfrom`orders`", { "orders.shop": "select" }],
  ["SELECT 1", {}],
  ["SELECT NOW(), @@version, 'from nowhere'", {}],
  ["SELECT * FROM stock.items WHERE n = 1", { "items.stock": "select" }],
  ["SELECT * FROM `my stock` . `it``ems`", { "it`ems.my stock": "select" }],
  ['SELECT * FROM "table 1"', { "table 1.shop": "select" }],
  [
    "SELECT a.x FROM orders AS a, items b, stock.parts",
    { "orders.shop": "select", "items.shop": "select", "parts.stock": "select" },
  ],
  [
    "SELECT * FROM a LEFT OUTER JOIN b ON a.x = b.x AND (a.y, a.z) IN ((1, 2)), c",
    { "a.shop": "select", "b.shop": "select", "c.shop": "select" },
  ],
  [
    "SELECT * FROM a NATURAL JOIN b STRAIGHT_JOIN c JOIN d USING (x, y), e",
    { "a.shop": "select", "b.shop": "select", "c.shop": "select", "d.shop": "select", "e.shop": "select" },
  ],
  [
    "SELECT * FROM (a, b) JOIN (c CROSS JOIN d)",
    { "a.shop": "select", "b.shop": "select", "c.shop": "select", "d.shop": "select" },
  ],
  [
    "SELECT * FROM a USE INDEX FOR JOIN (i1, i2), b PARTITION (p0, p1), c",
    { "a.shop": "select", "b.shop": "select", "c.shop": "select" },
  ],
  ["SELECT * FROM a FOR SYSTEM_TIME AS OF '2020-01-01', b", { "a.shop": "select", "b.shop": "select" }],
  ["SELECT * FROM { OJ a LEFT OUTER JOIN b ON a.x = b.x }", { "a.shop": "select", "b.shop": "select" }],
  [
    "SELECT (SELECT max(x) FROM inner1), y FROM outer1 WHERE z IN (SELECT z FROM inner2)",
    { "inner1.shop": "select", "outer1.shop": "select", "inner2.shop": "select" },
  ],
  ["SELECT * FROM (SELECT x FROM deep) AS d", { "deep.shop": "select" }],
  [
    "SELECT a FROM t1 UNION ALL SELECT b FROM t2 UNION (SELECT c FROM t3) ORDER BY 1, 2",
    { "t1.shop": "select", "t2.shop": "select", "t3.shop": "select" },
  ],
  ["(SELECT a FROM t1) UNION (SELECT b FROM t2)", { "t1.shop": "select", "t2.shop": "select" }],
  ["SELECT EXTRACT(YEAR FROM d), TRIM(LEADING 'x' FROM y), SUBSTRING(s FROM 2) FROM t", { "t.shop": "select" }],
  ["SELECT * FROM t ORDER BY a, b, c LIMIT 1, 2 FOR UPDATE", { "t.shop": "select" }],
  ["SELECT * FROM t GROUP BY a, b WITH ROLLUP", { "t.shop": "select" }],
  ["SELECT * FROM DUAL", {}],
  ["SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (x INT PATH '$')) AS j, t", { "t.shop": "select" }],
  ["SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) AS l", { "a.shop": "select", "b.shop": "select" }],
  [
    "WITH few AS (SELECT * FROM big), less (x) AS (SELECT 1) SELECT * FROM few JOIN less, other",
    { "big.shop": "select", "other.shop": "select" },
  ],
  ["WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n", {}],
  [
    "WITH old AS (SELECT id FROM t WHERE x) DELETE FROM t2 WHERE id IN (SELECT id FROM old)",
    { "t.shop": "select", "t2.shop": "delete" },
  ],
  ["WITH old AS (SELECT id FROM t) UPDATE t2 SET x = 1", { "t.shop": "select", "t2.shop": "update" }],
  ["TABLE orders", { "orders.shop": "select" }],
  ["VALUES ROW(1), ROW(2)", {}],
  ["SELECT 'it''s from \\' x', \"from y\" FROM t", { "t.shop": "select" }],
  ["SELECT /* from a, */ x -- from b\n, y # from c\nFROM d", { "d.shop": "select" }],
  ["SELECT 1--2 FROM t", { "t.shop": "select" }],
  ["SELECT x /*!50000 FROM hidden */", { "hidden.shop": "select" }],
  ["SELECT x /*M!100100 FROM hidden */ WHERE 1", { "hidden.shop": "select" }],
  ["SELECT * FROM 2024_sales", { "2024_sales.shop": "select" }],
  ["SELECT * FROM größe", { "größe.shop": "select" }],
  [
    "INSERT INTO orders (a, b) VALUES (1, 2), (3, (SELECT max(x) FROM items))",
    { "orders.shop": "insert", "items.shop": "select" },
  ],
  ["INSERT LOW_PRIORITY IGNORE INTO orders SET a = 1", { "orders.shop": "insert" }],
  ["INSERT orders VALUES (1)", { "orders.shop": "insert" }],
  [
    "INSERT INTO orders SELECT * FROM items ON DUPLICATE KEY UPDATE a = 1, b = 2",
    { "orders.shop": "insert", "items.shop": "select" },
  ],
  ["INSERT INTO orders SELECT * FROM orders", { "orders.shop": "insert,select" }],
  ["REPLACE INTO stock.orders VALUES (1)", { "orders.stock": "insert" }],
  ["UPDATE LOW_PRIORITY IGNORE orders SET a = a + 1, b = 2 WHERE c", { "orders.shop": "update" }],
  ["UPDATE a, b SET a.x = b.x", { "a.shop": "update", "b.shop": "update" }],
  [
    "UPDATE a JOIN b ON a.i = b.i SET a.x = (SELECT y FROM c), a.z = 1",
    { "a.shop": "update", "b.shop": "update", "c.shop": "select" },
  ],
  ["DELETE LOW_PRIORITY QUICK IGNORE FROM orders WHERE n > 3 ORDER BY a, b", { "orders.shop": "delete" }],
  ["DELETE FROM orders WHERE n IN (SELECT n FROM items)", { "orders.shop": "delete", "items.shop": "select" }],
  ["DELETE a FROM orders AS a JOIN items AS b ON a.i = b.i", { "orders.shop": "delete", "items.shop": "delete" }],
  ["DELETE FROM orders USING orders JOIN items USING (i)", { "orders.shop": "delete", "items.shop": "delete" }],
  ["TRUNCATE orders", { "orders.shop": "delete" }],
  ["TRUNCATE TABLE stock.orders", { "orders.stock": "delete" }],
  ["CREATE TABLE IF NOT EXISTS `table number 1` (Usr VARCHAR(40), Count INT)", { "table number 1.shop": "create" }],
  ["CREATE TEMPORARY TABLE t (x INT) AS SELECT * FROM s", { "t.shop": "create", "s.shop": "select" }],
  [
    "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = `root`@`%` SQL SECURITY INVOKER VIEW v AS SELECT * FROM t",
    { "v.shop": "create", "t.shop": "select" },
  ],
  ["CREATE UNIQUE INDEX i ON orders (a, b)", { "orders.shop": "alter" }],
  ["CREATE DATABASE IF NOT EXISTS d", {}],
  ["CREATE USER 'a'@'b' IDENTIFIED BY 'c'", {}],
  ["CREATE PROCEDURE p() BEGIN DELETE FROM orders; SELECT 1; END", {}],
  ["ALTER TABLE orders ADD COLUMN x INT, DROP COLUMN y", { "orders.shop": "alter" }],
  ["ALTER DATABASE d DEFAULT CHARACTER SET = utf8", {}],
  ["DROP TABLE IF EXISTS a, stock.b CASCADE", { "a.shop": "drop", "b.stock": "drop" }],
  ["DROP VIEW v", { "v.shop": "drop" }],
  ["DROP INDEX i ON orders", { "orders.shop": "alter" }],
  ["DROP DATABASE d", {}],
  [
    "RENAME TABLE a TO b, stock.c TO d",
    { "a.shop": "alter", "b.shop": "create", "c.stock": "alter", "d.shop": "create" },
  ],
  ["LOAD DATA LOCAL INFILE 'x.csv' REPLACE INTO TABLE orders FIELDS TERMINATED BY ','", { "orders.shop": "insert" }],
  ["HANDLER orders READ FIRST", { "orders.shop": "select" }],
  ["EXPLAIN FORMAT = JSON SELECT * FROM orders", { "orders.shop": "select" }],
  ["ANALYZE DELETE FROM orders", { "orders.shop": "delete" }],
  ["DESCRIBE orders", {}],
  ["SHOW TABLES FROM stock", {}],
  ["SHOW DATABASES", {}],
  ["SET NAMES utf8mb4", {}],
  ["SET @x = (SELECT max(y) FROM orders), @z = 1", { "orders.shop": "select" }],
  ["SET STATEMENT max_statement_time = 1 FOR DELETE FROM orders", { "orders.shop": "delete" }],
  [
    "BEGIN NOT ATOMIC DELETE FROM a; IF 1 THEN UPDATE b SET x = 1; ELSE DELETE FROM c; END IF; END",
    { "a.shop": "delete", "b.shop": "update", "c.shop": "delete" },
  ],
  ["CALL p((SELECT x FROM t))", { "t.shop": "select" }],
  ["START TRANSACTION; COMMIT;", {}],
  ["SELECT 1; DELETE FROM a; ; DROP TABLE b;", { "a.shop": "delete", "b.shop": "drop" }],
  ["USE stock; SELECT * FROM a", { "a.stock": "select" }],
];

/** What is no query, or lacks its table; what was found before that counts all the same. */
const MISTAKES: readonly (readonly [text: string, found: Found])[] = [
  ["", {}],
  [";", {}],
  ["-- nothing", {}],
  ["blahblah;", {}],
  ["123", {}],
  ["SELECT;", {}],
  ["SELECT FROM orders", { "orders.shop": "select" }],
  ["SELECT usr, count FROM;", {}],
  ["SELECT usr FROM WHERE count = 1", {}],
  ["SELECT usr FROM a,", { "a.shop": "select" }],
  ["SELECT 'open FROM a", {}],
  ["SELECT * FROM a /* open", { "a.shop": "select" }],
  ["SELECT * FROM (a JOIN )", { "a.shop": "select" }],
  ["SELECT * FROM stock.", {}],
  ["INSERT INTO VALUES (1)", {}],
  ["UPDATE SET a = 1", {}],
  ["DELETE FROM", {}],
  ["CREATE table1", {}],
  ["CREATE TABLE;", {}],
  ["DROP TABLE a,", { "a.shop": "drop" }],
  ["SELECT * FROM a; nonsense; DROP TABLE b", { "a.shop": "select", "b.shop": "drop" }],
];

function plain(found: Record<string, unknown> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(found ?? {}).map(([name, operations]) => [name, String(operations)]));
}

describe("tables of queries", () => {
  let session: MysqlSession;
  before(async () => {
    session = (await MysqlSession.open()).loggedIn();
  });

  for (const [text, found] of QUERIES) {
    it(text, () => {
      const before = session.counters;
      session.client(query(text)).server(ok(1));
      assert.deepEqual(plain(session.tables), found);
      assert.deepEqual(session.counters, { ...before, queries_parsed: (before["queries_parsed"] ?? 0) + 1 });
      // USE has changed it.
      session.client(command(0x02, "shop")).server(ok(1));
    });
  }
  for (const [text, found] of MISTAKES) {
    it(`mistake: ${text}`, () => {
      const before = session.counters;
      session.client(query(text)).server(ok(1));
      assert.deepEqual(plain(session.tables), found);
      assert.deepEqual(session.counters, { ...before, queries_parse_error: (before["queries_parse_error"] ?? 0) + 1 });
    });
  }

  it("names at most 64 tables, and is done with parentheses without end", async () => {
    const deep = (await MysqlSession.open()).loggedIn();
    deep.client(query(`SELECT * FROM ${Array.from({ length: 100 }, (_, n) => `t${n}`).join()}`));
    assert.equal(Object.keys(deep.tables!).length, 64);
    deep.client(query(`SELECT ${"(".repeat(5000)}SELECT 1 FROM t`)).client(query("SELECT * FROM t"));
    assert.deepEqual(deep.tables, { "t.shop": ["select"] });
  });
});
