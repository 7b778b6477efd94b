/** mysql_proxy between a real client and a real server: everything works as without it, is counted, and named in the log. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { MariaDb } from "./mariadb.ts";

const FORMAT = "%DYNAMIC_METADATA(envoy.filters.network.mysql_proxy)% %DYNAMIC_METADATA(sluice.mysql_proxy)%\\n";
const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.${name}`;

function listener(name: string, filters: string): string {
  return `
    - name: ${name}
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - { name: sniff, typed_config: { ${type("filters.network.mysql_proxy.v3.MySQLProxy")}, stat_prefix: ${name} } }
            ${filters}
            - name: tcp
              typed_config:
                ${type("filters.network.tcp_proxy.v3.TcpProxy")}
                stat_prefix: ${name}
                cluster: db
                access_log: [ { name: f, typed_config: { ${type("access_loggers.file.v3.FileAccessLog")}, path: "LOG",
                  log_format: { text_format_source: { inline_string: "${name} ${FORMAT}" } } } } ]`;
}

/** Deletes in shop.orders are refused, whatever else is asked. */
const RBAC = `- name: guard
              typed_config:
                ${type("filters.network.rbac.v3.RBAC")}
                stat_prefix: guard
                enforcement_type: CONTINUOUS
                rules:
                  action: DENY
                  policies:
                    no-deletes:
                      principals: [ { any: true } ]
                      permissions: [ { metadata: { filter: envoy.filters.network.mysql_proxy, path: [ { key: orders.shop } ],
                        value: { list_match: { one_of: { string_match: { exact: delete } } } } } } ]`;

const db = await MariaDb.start();
after(() => db.stop());
await db.administer(`
  CREATE DATABASE shop; CREATE DATABASE stock; USE shop;
  CREATE TABLE orders (id INT PRIMARY KEY, what LONGTEXT); INSERT INTO orders VALUES (1, 'bread');
  CREATE TABLE stock.items (id INT); INSERT INTO stock.items VALUES (7);
  CREATE USER clerk@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO clerk@'%';
  CREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret'); GRANT ALL ON *.* TO modern@'%';`);
const log = `${db.socket}.log`;
const config = `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  clusters:
    - { name: db, load_assignment: { cluster_name: db, endpoints: [ { lb_endpoints: [
        { endpoint: { address: { pipe: { path: "${db.socket}" } } } } ] } ] } }
  listeners: ${listener("plain", "")}${listener("guarded", RBAC)}
`;
const proxy = await new ProxyProcess(config.replaceAll("LOG", log), ["--concurrency", "1"]).live();
/** Addresses of the listeners, by name. */
const addresses = Object.fromEntries(
  (await proxy.get("/listeners", proxy.admin)).body
    .trim()
    .split("\n")
    .map((line) => line.split("::") as [string, string]),
);

async function counters(name: string): Promise<Record<string, number>> {
  const { body } = await proxy.get(`/stats?filter=^mysql.${name}`, proxy.admin);
  const lines = body
    .trim()
    .split("\n")
    .map((line) => line.split(": "));
  const found = lines.map(([stat = "", value]) => [stat.replace(`mysql.${name}.`, ""), Number(value)] as const);
  return Object.fromEntries(found.filter(([, value]) => value !== 0));
}

/** What one session adds to the counters. */
async function during<T>(name: string, act: () => Promise<T>): Promise<[T, Record<string, number>]> {
  const before = await counters(name);
  const result = await act();
  const added: Record<string, number> = {};
  for (const [stat, value] of Object.entries(await counters(name))) {
    if (value !== (before[stat] ?? 0)) added[stat] = value - (before[stat] ?? 0);
  }
  return [result, added];
}

async function logged(line: string): Promise<void> {
  const deadline = performance.now() + 90_000;
  let text = "";
  while (!text.split("\n").includes(line)) {
    if (performance.now() > deadline) throw new Error(`no line ${line} in:\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await proxy.post("/reopen_logs");
    text = readFileSync(log, "utf8");
  }
}

// Since the server offers TLS, the client would take it.
const CLERK = ["--skip-ssl", "--user=clerk", "--password=secret", "shop"];

describe("through mysql_proxy and tcp_proxy", () => {
  test("queries: counted, and the access log names the table", async () => {
    const sql = "INSERT INTO orders VALUES (2, 'milk'); SELECT what FROM orders ORDER BY id;";
    const [said, added] = await during("plain", () => db.ask(addresses["plain"]!, CLERK, sql));
    assert.deepEqual(said, { status: 0, out: "bread\nmilk\n", err: "" });
    assert.deepEqual(added, { sessions: 1, login_attempts: 1, queries_parsed: added["queries_parsed"]! });
    assert.ok(added["queries_parsed"] >= 2);
    await logged('plain {"orders.shop":["select"]} {"orders.shop":["insert","select"]}');
  });

  test("another database and another table", async () => {
    const said = await db.ask(addresses["plain"]!, CLERK, "USE stock\nSELECT * FROM items JOIN shop.orders;");
    assert.equal(said.status, 0, said.err);
    const tables = '{"items.stock":["select"],"orders.shop":["select"]}';
    await logged(`plain ${tables} ${tables}`);
  });

  test("a wrong password", async () => {
    const [said, added] = await during("plain", () =>
      db.ask(addresses["plain"]!, ["--skip-ssl", "--user=clerk", "--password=wrong"], "SELECT 1"),
    );
    assert.equal(said.status, 1);
    assert.match(said.err, /Access denied/);
    assert.deepEqual(added, { sessions: 1, login_attempts: 1, login_failures: 1 });
  });

  test("another way to log in", async () => {
    const [said, added] = await during("plain", () =>
      db.ask(addresses["plain"]!, ["--skip-ssl", "--user=modern", "--password=secret"], "SELECT 1"),
    );
    assert.deepEqual(said, { status: 0, out: "1\n", err: "" });
    assert.equal(added["auth_switch_request"], 1);
    assert.equal(added["login_failures"], undefined);
  });

  test("TLS inside of the session passes, counted", async () => {
    const [said, added] = await during("plain", () =>
      db.ask(
        addresses["plain"]!,
        [...CLERK, "--ssl"],
        "SHOW STATUS LIKE 'Ssl_version'; SELECT * FROM orders WHERE id = 1",
      ),
    );
    assert.match(said.out, /^Ssl_version\tTLSv1\.[23]\n1\tbread\n$/);
    assert.deepEqual(added, { sessions: 1, login_attempts: 1, upgraded_to_ssl: 1 });
  });

  test("compression passes", async () => {
    const [said, added] = await during("plain", () =>
      db.ask(addresses["plain"]!, [...CLERK, "--compress"], "SELECT repeat(what, 3) FROM orders WHERE id = 1"),
    );
    assert.equal(said.out, "breadbreadbread\n");
    assert.deepEqual(added, { sessions: 1, login_attempts: 1 });
  });

  test("packets of more than 16 MiB, both ways", async () => {
    const long = "x".repeat(17 * 1024 * 1024);
    const options = [...CLERK, "--max-allowed-packet=64M"];
    const sql = `REPLACE INTO orders VALUES (3, '${long}');\nSELECT what FROM orders WHERE id = 3;\nSELECT count(*) FROM orders;`;
    const [said, added] = await during("plain", () => db.ask(addresses["plain"]!, options, sql));
    assert.equal(said.err, "");
    assert.ok(said.out.startsWith(`${long}\n`));
    assert.match(said.out.slice(long.length), /^\n\d\n$/);
    assert.equal(added["protocol_errors"], undefined);
    assert.equal(added["decoder_errors"], undefined);
    assert.ok(added["queries_parsed"]! >= 3);
  });

  test("a file that the client sends", async () => {
    const file = `${db.socket}.csv`;
    writeFileSync(file, "50\tjam\n51\tDELETE FROM orders\n");
    const sql = `LOAD DATA LOCAL INFILE '${file}' INTO TABLE orders; SELECT what FROM orders WHERE id = 50;`;
    const [said, added] = await during("plain", () => db.ask(addresses["plain"]!, [...CLERK, "--local-infile=1"], sql));
    assert.deepEqual(said, { status: 0, out: "jam\n", err: "" });
    assert.equal(added["protocol_errors"], undefined);
    assert.equal(added["queries_parse_error"], undefined);
  });
});

describe("with network rbac behind it", () => {
  test("what the policy denies never reaches the server; all else does", async () => {
    const allowed =
      "SELECT what FROM orders WHERE id = 1; DELETE FROM stock.items WHERE id = 99; UPDATE orders SET what = 'rolls' WHERE id = 2;";
    assert.deepEqual(await db.ask(addresses["guarded"]!, CLERK, allowed), { status: 0, out: "bread\n", err: "" });
    const denied = await db.ask(addresses["guarded"]!, CLERK, "SELECT 1; DELETE FROM orders WHERE id = 1; SELECT 2;");
    assert.equal(denied.status, 1);
    assert.equal(denied.out, "1\n");
    assert.match(denied.err, /Lost connection|server has gone away/);
    assert.equal(await db.administer("SELECT what FROM shop.orders WHERE id = 1"), "bread\n");
  });
});
