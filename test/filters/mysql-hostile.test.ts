/**
 * What clients and servers may send to make mysql_proxy slow or large, through the real host with its fuel and memory:
 * the instance, which all connections of a worker share, survives all of it, and others are served on.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, describe, it } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { MemoryConnection } from "../../runtime/testkit/memory-connection.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";
import { command, greeting, header, login41, MODERN, ok, packet, query } from "./mysql-packets.ts";

const folder = fileURLToPath(new URL("../../filters/mysql_proxy", import.meta.url));
const outFolder = fileURLToPath(new URL("../../build/guests", import.meta.url));
const module = loadModule(readFileSync((await buildFilter(folder, { outFolder })).path), "mysql_proxy");
const log = new RecordingLog();
const stats = new RecordingStats();
const config = pluginConfig({ name: "sniff", bundled: true, configuration: Buffer.from("0a026462", "hex") });
const plugins = new PluginSet([config], [module], environmentFor({}, log, stats));
plugins.start();
after(() => plugins.close());

const NAMESPACE = "envoy.filters.network.mysql_proxy";
/** As much as a connection may hold before its filters see it. */
const EVENT_BYTES = 1024 * 1024;

function open(): MemoryConnection {
  const info = { ...connectionSample("127.0.0.1:5555", "127.0.0.1:3306"), closers: [] };
  return new MemoryConnection(plugins.networkFilter(0), info).open();
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

function loggedIn(database = "shop"): MemoryConnection {
  const connection = open();
  connection
    .answer(text(greeting()))
    .data(text(login41({ capabilities: MODERN, database })))
    .answer(text(ok(2)));
  return connection;
}

/** The instance lives, and a connection is read as it should be. */
function assertWell(): void {
  assert.equal(
    stats.values.get("wasm.sniff.traps") ?? 0,
    0,
    log.lines.filter((line) => line.startsWith("error")).join("\n"),
  );
  const connection = loggedIn();
  connection.data(text(query("SELECT * FROM orders")));
  assert.deepEqual(connection.stream.dynamicMetadata?.get(NAMESPACE), { "orders.shop": ["select"] });
  connection.finish();
}

function repeated(part: string, bytes = 64 * 1024): string {
  return part.repeat(Math.ceil(bytes / part.length)).slice(0, bytes);
}

/** Text of a query that is as long as what is looked at. */
const TEXTS: readonly (readonly [name: string, sql: string])[] = [
  ["parentheses", `SELECT ${repeated("(")}`],
  ["subqueries", `SELECT ${repeated("(SELECT * FROM a JOIN ")}`],
  ["tables", `SELECT * FROM ${repeated("a,b,")}`],
  ["different tables", `SELECT * FROM ${Array.from({ length: 12_000 }, (_, n) => `t${n}`).join()}`],
  ["names of WITH", `WITH ${Array.from({ length: 4000 }, (_, n) => `t${n} AS (SELECT 1 FROM t${n})`).join()} SELECT 1`],
  ["statements", repeated("USE a;")],
  ["statements with tables", repeated("DROP TABLE a;")],
  ["explanations", repeated("EXPLAIN ")],
  ["bodies", repeated("BEGIN ")],
  ["bodies of bodies", repeated("IF 1 THEN WITH a AS ")],
  ["nested statements", repeated("SET STATEMENT a = 1 FOR ")],
  ["a long name", `SELECT * FROM \`${repeated("``")}`],
  ["long names", repeated(`SELECT * FROM ${"x".repeat(300)},`)],
  ["comments", repeated("/**/")],
  ["comments that run", repeated("/*!1 SELECT */")],
  ["open comments", repeated("/*")],
  ["quotes", repeated("'")],
  ["backslashes", `'${repeated("\\")}`],
  ["variables", repeated("@")],
  ["words", repeated("select from join ")],
  ["zero bytes", repeated("\0")],
];

describe("a query of", () => {
  for (const [name, sql] of TEXTS) {
    it(name, () => {
      const connection = loggedIn("d".repeat(2000));
      connection.data(text(query(sql)));
      // Once more while it is not known which database it is for.
      connection.data(text(Buffer.concat([command(0x02, "e".repeat(4000)), query(sql)])));
      connection.finish();
      assertWell();
    });
  }
});

describe("one event of", () => {
  const many = (part: Uint8Array): string =>
    text(Buffer.concat(Array.from({ length: EVENT_BYTES / part.length }, () => part)));
  const EVENTS: readonly (readonly [name: string, client: string, server: string])[] = [
    ["empty packets", many(header(0, 0)), many(header(9, 0))],
    ["one-byte packets", many(packet(0, "\x0e")), many(packet(9, "x"))],
    ["small queries", many(query("SELECT 1")), many(ok(1))],
    ["small queries with tables", many(query("DELETE FROM a")), many(ok(1))],
    ["changes of the database", many(command(0x02, "a")), many(ok(1))],
    ["headers alone", many(header(0, 0xff_ffff)), many(header(1, 0xff_ffff))],
    ["random numbers", many(Buffer.of(3, 0, 0, 7, 0x03, 0x28, 0xff)), many(Buffer.of(1, 0, 0, 7, 0xfe))],
  ];
  for (const [name, client, server] of EVENTS) {
    it(name, () => {
      const connection = loggedIn();
      connection.data(client).answer(server);
      connection.finish();
      const early = open().data(client).answer(server);
      early.finish();
      assertWell();
    });
  }
});

it("many connections with a query that does not end share a bound; what they hold comes back", () => {
  const waiting = Array.from({ length: 600 }, () => {
    const connection = loggedIn();
    return connection.data(
      text(Buffer.concat([header(0, 1_000_000), Buffer.from(`\x03SELECT * FROM a -- ${repeated("x")}`)])),
    );
  });
  assertWell();
  assert.ok(plugins.statuses()[0]!.memory < 40 * 1024 * 1024);
  for (const connection of waiting) connection.finish();
  for (let round = 0; round < 3; round++) {
    const more = Array.from({ length: 600 }, () => loggedIn().data(text(header(0, 1_000_000)) + "\x03SELECT"));
    for (const connection of more) connection.finish();
  }
  const last = loggedIn();
  last.data(text(query(`SELECT * FROM ${"x".repeat(200)} WHERE ${repeated("1 AND ", 60_000)} 1`)));
  assert.deepEqual(Object.keys(last.stream.dynamicMetadata!.get(NAMESPACE)!), [`${"x".repeat(200)}.shop`]);
  last.finish();
  assertWell();
});

it("ten thousand sessions at a time", () => {
  const sessions = Array.from({ length: 10_000 }, () => loggedIn());
  assertWell();
  assert.ok(plugins.statuses()[0]!.memory < 40 * 1024 * 1024, String(plugins.statuses()[0]!.memory));
  for (const connection of sessions) connection.finish();
});
