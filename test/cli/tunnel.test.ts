/** Two proxies with a tunnel between them: a real client of MariaDB at one end, a real server at the other. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { MariaDb } from "../filters/mariadb.ts";
import { ProxyProcess } from "./proxy-process.ts";

const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.${name}`;
const ADMIN = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }";

test("MariaDB through a tunnel, over HTTP/1.1 and HTTP/2, with its statistics at the near end", async () => {
  const db = await MariaDb.start();
  after(() => db.stop());
  await db.administer(
    "CREATE DATABASE shop; CREATE USER clerk@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO clerk@'%';",
  );
  const far = await new ProxyProcess(`
${ADMIN}
static_resources:
  listeners:
  - name: far
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          ${type("filters.network.http_connection_manager.v3.HttpConnectionManager")}
          stat_prefix: far
          http_filters: [ { name: router, typed_config: { ${type("filters.http.router.v3.Router")} } } ]
          route_config:
            virtual_hosts:
            - name: databases
              domains: ["db.shop.test:3306"]
              routes:
              - match: { connect_matcher: {}, headers: [ { name: x-tunnel-key, string_match: { exact: open } } ] }
                route: { cluster: db, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: {} } ] }
  clusters:
  - { name: db, load_assignment: { cluster_name: db, endpoints: [ { lb_endpoints: [
      { endpoint: { address: { pipe: { path: "${db.socket}" } } } } ] } ] } }
`).live();
  const listener = (name: string, key: string): string => `
  - name: ${name}-${key}
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - { name: sniff, typed_config: { ${type("filters.network.mysql_proxy.v3.MySQLProxy")}, stat_prefix: ${name} } }
      - { name: tcp, typed_config: { ${type("filters.network.tcp_proxy.v3.TcpProxy")}, stat_prefix: ${name}, cluster: ${name},
          tunneling_config: { hostname: "db.shop.test:3306", headers_to_add: [ { header: { key: x-tunnel-key, value: ${key} } } ] } } }`;
  const port = far.address.split(":")[1];
  const cluster = (name: string, more: string): string => `
  - { name: ${name}, ${more} load_assignment: { cluster_name: ${name}, endpoints: [ { lb_endpoints: [
      { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } } ] } ] } }`;
  const near = await new ProxyProcess(`
${ADMIN}
static_resources:
  listeners: ${listener("one", "open")}${listener("two", "open")}${listener("one", "wrong")}
  clusters: ${cluster("one", "")}${cluster("two", "http2_protocol_options: {},")}
`).live();
  const lines = (await near.get("/listeners", near.admin)).body.trim().split("\n");
  const addresses = new Map(lines.map((line) => line.split("::") as [string, string]));
  const clerk = ["--skip-ssl", "--user=clerk", "--password=secret", "shop"];
  for (const [at, name] of ["one", "two"].entries()) {
    const sql = `CREATE TABLE t${at} (what LONGTEXT); INSERT INTO t${at} VALUES (REPEAT('x', 3000000)); SELECT LENGTH(what), '${name}' FROM t${at};`;
    const said = await db.ask(addresses.get(`${name}-open`)!, clerk, sql);
    assert.deepEqual(said, { status: 0, out: `3000000\t${name}\n`, err: "" });
    const { body } = await near.get(`/stats?filter=^mysql.${name}.(sessions|login_attempts)`, near.admin);
    assert.equal(body.trim(), `mysql.${name}.login_attempts: 1\nmysql.${name}.sessions: 1`);
  }
  // The far end says no: there is no server for the client.
  const refused = await db.ask(addresses.get("one-wrong")!, clerk, "SELECT 1");
  assert.notEqual(refused.status, 0);
  const { body } = await near.get(
    "/stats?filter=^cluster.one.upstream_cx_(http1_total|connect_attempts_exceeded)",
    near.admin,
  );
  assert.equal(
    body.trim(),
    "cluster.one.upstream_cx_connect_attempts_exceeded: 1\ncluster.one.upstream_cx_http1_total: 2",
  );
});
