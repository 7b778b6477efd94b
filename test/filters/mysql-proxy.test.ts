/** mysql_proxy follows sessions: what it counts, what it names, and when it looks away. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  authSwitch,
  Capability,
  command,
  error,
  greeting,
  header,
  login320,
  login41,
  MODERN,
  moreData,
  MysqlSession,
  ok,
  packet,
  query,
  resultSet,
  sslRequest,
} from "./mysql-packets.ts";

const LAST = "envoy.filters.network.mysql_proxy";
const SEEN = { sessions: 1, login_attempts: 1 };

/** A whole session with everything in it that counts. */
function talk(session: MysqlSession): void {
  session
    .server(greeting())
    .client(login41({ attributes: Buffer.of(6, 1, 0x61, 3, 0x62, 0x63, 0x64) }))
    .server(authSwitch(2))
    .client(packet(3, Buffer.alloc(32, 9)))
    .server(moreData(4))
    .client(packet(5, "secret\0"))
    .server(ok(6))
    .client(query("SELECT * FROM orders JOIN stock.items"))
    .server(resultSet())
    .client(query("nonsense"))
    .server(error(1))
    .client(command(0x02, "stock"))
    .server(ok(1))
    .client(command(0x16, "UPDATE items SET n = ?"))
    .server(ok(1))
    .client(command(0x0e, ""));
}
const TALKED = { ...SEEN, auth_switch_request: 1, queries_parsed: 2, queries_parse_error: 1 };

describe("a session", () => {
  it("is counted, and its tables are told", async () => {
    const session = await MysqlSession.open();
    talk(session);
    assert.deepEqual(session.counters, TALKED);
    assert.deepEqual(session.tables, { "items.stock": ["update"] });
    assert.equal(session.told(LAST).length, 3);
    assert.deepEqual(session.everything, { "items.stock": ["select", "update"], "orders.shop": ["select"] });
    assert.equal(session.told("sluice.mysql_proxy").length, 2);
  });

  it("is the same however the bytes are cut", async () => {
    const first = await MysqlSession.open(1);
    talk(first);
    assert.deepEqual(first.counters, TALKED);
    for (let pieceBytes = 2; pieceBytes < 90; pieceBytes++) {
      const before = first.told(LAST).length;
      talk(first.another(20 + pieceBytes, pieceBytes));
      const expected = Object.entries(TALKED).map(([name, count]) => [name, count * pieceBytes]);
      assert.deepEqual(first.counters, Object.fromEntries(expected), `in pieces of ${pieceBytes}`);
      assert.equal(first.told(LAST).length, before + 3);
      assert.deepEqual(first.tables, { "items.stock": ["update"] });
    }
  });

  it("of several queries in one piece names the tables of all; the next piece begins anew", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    session.client(query("SELECT * FROM a"), query("DELETE FROM a"), query("DROP TABLE b"));
    assert.deepEqual(session.tables, { "a.shop": ["delete", "select"], "b.shop": ["drop"] });
    session.server(ok(1), ok(1), ok(1)).client(command(0x0e, ""));
    assert.deepEqual(session.tables, { "a.shop": ["delete", "select"], "b.shop": ["drop"] });
    session.client(query("SELECT 1"));
    assert.deepEqual(session.tables, {});
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 4 });
  });
});

describe("login", () => {
  it("fails: counted, and nothing more is decoded", async () => {
    const session = await MysqlSession.open();
    session.server(greeting()).client(login41()).server(error(2));
    session.client(query("SELECT * FROM a"));
    assert.deepEqual(session.counters, { ...SEEN, login_failures: 1 });
    assert.equal(session.tables, undefined);
  });

  it("fails after an authentication switch", async () => {
    const session = await MysqlSession.open();
    session.server(greeting()).client(login41()).server(authSwitch(2)).client(packet(3, "x")).server(error(4));
    assert.deepEqual(session.counters, { ...SEEN, auth_switch_request: 1, login_failures: 1 });
  });

  it("of clients before 4.1", async () => {
    const session = await MysqlSession.open();
    session.server(greeting()).client(login320("attic")).server(ok(2)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.tables, { "a.attic": ["select"] });
  });

  it("without a database, and with long authentication data", async () => {
    const session = await MysqlSession.open();
    const capabilities = (MODERN | Capability.AUTH_LENENC) & ~Capability.CONNECT_WITH_DB;
    session.server(greeting()).client(login41({ capabilities })).server(ok(2)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.tables, { a: ["select"] });
    const long = session.another(30);
    long.server(greeting()).client(login41({ capabilities: MODERN | Capability.AUTH_LENENC, auth: Buffer.alloc(900) }));
    long.server(ok(2)).client(query("SELECT * FROM a"));
    assert.deepEqual(long.tables, { "a.shop": ["select"] });
  });

  it("is refused before it begins: the server's error is no greeting", async () => {
    const session = await MysqlSession.open();
    session.server(error(0)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.counters, { sessions: 1 });
  });

  it("in TLS: counted, and what follows is not looked at", async () => {
    const session = await MysqlSession.open();
    session.server(greeting()).client(sslRequest());
    const calls = session.host.hostCalls;
    session.client(Buffer.from("160301020001", "hex")).server(Buffer.alloc(5000, 0x17));
    assert.equal(session.host.hostCalls, calls);
    assert.deepEqual(session.counters, { ...SEEN, upgraded_to_ssl: 1 });
    const old = session
      .another(30)
      .server(greeting())
      .client(packet(1, Buffer.of(0, 8, 0, 0, 0)));
    assert.equal(old.counters["upgraded_to_ssl"], 2);
  });

  it("with compression on both sides: from the server's OK on nothing is looked at", async () => {
    for (const bit of [Capability.COMPRESS, Capability.ZSTD]) {
      const session = await MysqlSession.open();
      const both = { capabilities: MODERN | bit };
      session.server(greeting(0xffff_ffff)).client(login41(both)).server(ok(2)).client(query("SELECT * FROM a"));
      assert.deepEqual(session.counters, SEEN);
      const one = session.another(30).loggedIn(both).client(query("SELECT * FROM a"));
      assert.equal(one.counters["queries_parsed"], 1);
    }
  });

  it("does not keep passwords", async () => {
    const session = await MysqlSession.open();
    const secret = Buffer.from("correct horse battery staple");
    session
      .server(greeting())
      .client(login41({ auth: secret }))
      .server(authSwitch(2));
    session
      .client(packet(3, secret))
      .server(ok(4))
      .client(command(0x11, Buffer.concat([Buffer.from("u\0"), secret])));
    // The page into which the host writes holds what was read last; another piece overwrites it.
    session.client(packet(0, Buffer.alloc(9000, 1)));
    assert.equal(Buffer.from(session.host.exports.memory.buffer).includes(secret), false);
  });
});

describe("the database", () => {
  it("changes when the server says so, not when the client asks", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    session.client(command(0x02, "other")).server(error(1)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.tables, { "a.shop": ["select"] });
    session.server(resultSet()).client(query("USE other")).server(ok(1)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.tables, { "a.other": ["select"] });
  });

  it("is either one while the answer is not there", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    session.client(command(0x02, "other"), query("DELETE FROM a"));
    assert.deepEqual(session.tables, { "a.other": ["delete"], "a.shop": ["delete"] });
  });

  it("is told from the answer to its own command, whatever was asked before it", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    session.client(query("SELECT 1"), command(0x02, "other"), command(0x19, "1234"), query("SELECT 2"));
    session.server(resultSet(), ok(1), resultSet()).client(query("DELETE FROM a"));
    assert.deepEqual(session.tables, { "a.other": ["delete"] });
    session.server(ok(1)).client(query("SELECT 1"), command(0x02, "third")).server(resultSet(), error(1));
    session.client(query("DELETE FROM a")).server(ok(1));
    assert.deepEqual(session.tables, { "a.other": ["delete"] });
    session.client(query("SELECT 1"), command(0x02, "third")).server(resultSet());
    session.client(query("DELETE FROM a"));
    assert.deepEqual(session.tables, { "a.other": ["delete"], "a.third": ["delete"] });
    assert.equal(session.counters["protocol_errors"], undefined);
  });

  it("comes with another user", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    session.client(command(0x11, Buffer.from("clerk\0\x03abcother\0\x21\0plugin\0", "latin1")));
    session.server(authSwitch(1)).client(packet(2, "x")).server(ok(3)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.tables, { "a.other": ["select"] });
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 1 });
  });
});

describe("query attributes", () => {
  const capabilities = MODERN | Capability.QUERY_ATTRIBUTES;
  const text = "SELECT * FROM a";

  it("none", async () => {
    const session = (await MysqlSession.open()).loggedIn({ capabilities });
    session.client(query(Buffer.concat([Buffer.of(0, 1), Buffer.from(text)])));
    assert.deepEqual(session.tables, { "a.shop": ["select"] });
  });

  it("of several types, one of them NULL", async () => {
    const session = (await MysqlSession.open()).loggedIn({ capabilities });
    const types = ["\x03\x00\x01n", "\xfe\x00\x01s", "\x06\x00\x01z", "\x0c\x00\x01d", "\x08\x80\x01b"].join("");
    const values = ["\x2a\0\0\0", "\x05hello", "\x04\xe8\x07\x01\x02", "\0\0\0\0\0\0\0\0"].join("");
    session.client(query(Buffer.from(`\x05\x01\x04\x01${types}${values}${text}`, "latin1")));
    assert.deepEqual(session.tables, { "a.shop": ["select"] });
  });

  it("that cannot be read", async () => {
    const session = (await MysqlSession.open()).loggedIn({ capabilities });
    session.client(query(Buffer.from(`\x01\x01\x00\x01\x99\x00\x01n${text}`, "latin1")));
    session.client(query(Buffer.from("\xfb", "latin1")));
    assert.deepEqual(session.counters, { ...SEEN, queries_parse_error: 2 });
  });
});

describe("sequence numbers", () => {
  it("that do not follow are counted; before the first command such packets are left out", async () => {
    const session = await MysqlSession.open();
    session
      .client(login41({ sequence: 0 }))
      .server(greeting())
      .client(login41({ sequence: 7 }))
      .client(login41());
    session.server(ok(9)).server(ok(2)).client(query("SELECT * FROM a"));
    assert.deepEqual(session.counters, { ...SEEN, protocol_errors: 3, queries_parsed: 1 });
    session.server(packet(5, "x"), packet(6, "y")).client(query("SELECT 1"));
    assert.deepEqual(session.counters, { ...SEEN, protocol_errors: 4, queries_parsed: 2 });
  });

  it("wrap around in long answers", async () => {
    const session = (await MysqlSession.open()).loggedIn().client(query("SELECT * FROM a"));
    session.server(...Array.from({ length: 1000 }, (_, n) => packet(1 + n, "row")));
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 1 });
  });

  it("of files that a client sends count on from the server's request", async () => {
    const session = (await MysqlSession.open()).loggedIn().client(query("LOAD DATA LOCAL INFILE 'x' INTO TABLE a"));
    session
      .server(packet(1, "\xfbx"))
      .client(packet(2, "1,2,3\n"), packet(3, "DELETE FROM b"), packet(4))
      .server(ok(5));
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 1 });
    assert.deepEqual(session.tables, { "a.shop": ["insert"] });
  });
});

describe("large packets", () => {
  const FULL = 0xff_ffff;

  it("a query of more than 16 MiB is one query, of which the beginning is read", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    const start = Buffer.from("\x03INSERT INTO a VALUES ('");
    session.client(header(0, FULL), start, Buffer.alloc(FULL - start.length, 0x78));
    assert.equal(session.tables, undefined);
    session.client(header(1, 3), Buffer.from("x')"));
    assert.deepEqual(session.tables, { "a.shop": ["insert"] });
    session.server(ok(2)).client(query("SELECT * FROM b"));
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 2 });
    assert.ok(session.host.exports.memory.buffer.byteLength <= 512 * 1024);
  });

  it("of exactly 16 MiB ends with an empty one", async () => {
    const session = (await MysqlSession.open()).loggedIn();
    const start = Buffer.from("\x03SELECT * FROM a -- ");
    session.client(header(0, FULL), start, Buffer.alloc(FULL - start.length, 0x78));
    session.client(header(1, 0));
    assert.deepEqual(session.tables, { "a.shop": ["select"] });
    session.server(ok(2)).client(query("SELECT 1"));
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 2 });
  });

  it("answers pass without being read", async () => {
    const session = (await MysqlSession.open()).loggedIn().client(query("SELECT * FROM a"));
    session.server(header(1, FULL), Buffer.alloc(FULL, 0x79), header(2, 10));
    const calls = session.host.hostCalls;
    session.server(Buffer.alloc(10, 0x79)).client(query("SELECT 1"));
    assert.ok(session.host.hostCalls - calls < 10);
    assert.deepEqual(session.counters, { ...SEEN, queries_parsed: 2 });
  });
});

describe("other protocols", () => {
  it("end the decoding, counted once, and pass", async () => {
    const http = await MysqlSession.open();
    http.client(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).server(Buffer.from("HTTP/1.1 200 OK\r\n\r\n"));
    assert.deepEqual(http.counters, { sessions: 1, decoder_errors: 1 });
    const odd = http.another(30).server(packet(0, "\x07what is this"));
    assert.equal(odd.counters["decoder_errors"], 2);
    http
      .another(31)
      .server(greeting())
      .client(packet(1, Buffer.of(0, 2, 0)));
    assert.equal(odd.counters["decoder_errors"], 3);
  });

  it("random bytes harm nothing, whatever the state", async () => {
    const host = await MysqlSession.open();
    let state = 12_345;
    const random = (): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 8;
    for (let round = 0; round < 300; round++) {
      const session = host.another(100 + round, 1 + (random() % 700));
      const bytes = Buffer.from(Array.from({ length: 600 }, () => random() & 0xff));
      const sequence = round % 3;
      if (round % 4 > 0) session.server(greeting());
      if (round % 4 > 1) session.client(login41()).server(ok(2));
      session.client(round % 2 === 0 ? bytes : packet(sequence, "\x03", bytes)).server(bytes);
      session.close();
    }
    assert.equal(host.counters["sessions"], 301);
    assert.ok(host.host.exports.memory.buffer.byteLength <= 1024 * 1024);
  });
});
