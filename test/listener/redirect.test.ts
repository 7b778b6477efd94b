/** Connections that iptables redirects, in network namespaces: REDIRECT and TPROXY, IPv4 and IPv6. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { connectNamespaces, Namespace } from "./namespaces.ts";

const FOUR = "10.99.0.2";
const SIX = "fd99::2";
/** The application's user: the proxy runs as root and is not redirected. */
const APPLICATION = "65534";

/** Tells who asked whom. */
const SERVER = `
  const http = require("node:http");
  http.createServer((request, response) => {
    const { remoteAddress, localAddress, localPort } = request.socket;
    response.end("server " + localAddress.replace("::ffff:", "") + " " + localPort + " " + request.headers.via);
  }).listen(8080, "::", () => console.log("ready"));
`;

const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.${name}`;

/** A chain whose HTTP answers are its name, or that passes requests on to where they wanted to go. */
function chain(name: string, route = `direct_response: { status: 200, body: { inline_string: "${name}" } }`): string {
  return `{ name: ${name}, filters: [ { name: hcm, typed_config: {
    ${type("filters.network.http_connection_manager.v3.HttpConnectionManager")}, stat_prefix: ${name}, via: sidecar,
    route_config: { virtual_hosts: [ { name: v, domains: [ "*" ], routes: [ { match: { prefix: / }, ${route} } ] } ] },
    http_filters: [ { name: router, typed_config: { ${type("filters.http.router.v3.Router")} } } ] } } ] }`;
}

function listener(name: string, address: string, port: number, more: string): string {
  return `    { name: ${name}, address: { socket_address: { address: "${address}", port_value: ${port}, ipv4_compat: ${name === "both"} } }, ${more} }`;
}

function bootstrap(folder: string, listeners: readonly string[]): string {
  return `
admin: { address: { pipe: { path: "${join(folder, "admin.sock")}" } } }
static_resources:
  clusters:
    - { name: passthrough, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 5s }
  listeners: [
${listeners.join(",\n")} ]
`;
}

/** The same for bytes, whatever they are. */
const RAW_PASSTHROUGH = `{ name: raw, filters: [ { name: tcp, typed_config: {
    ${type("filters.network.tcp_proxy.v3.TcpProxy")}, stat_prefix: raw, cluster: passthrough } } ] }`;
const PASSTHROUGH = chain("passthrough", "route: { cluster: passthrough }");

function accessLog(path: string): string {
  const format =
    "text_format_source: { inline_string: '%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%\\n' }";
  return `access_log: [ { name: f, typed_config: { ${type("access_loggers.file.v3.FileAccessLog")}, path: "${path}",
    log_format: { ${format.replaceAll("'", '"')} } } } ]`;
}

async function proxyIn(namespace: Namespace, listeners: (folder: string) => readonly string[]): Promise<ProxyProcess> {
  const proxy = new ProxyProcess(
    (folder) => bootstrap(folder, listeners(folder)),
    ["--concurrency", "2"],
    namespace.command(),
  );
  await proxy.printed("live after");
  return proxy;
}

async function counter(proxy: ProxyProcess, name: string): Promise<number> {
  const { body } = await proxy.get(`/stats?filter=^${name}$`, join(proxy.folder, "admin.sock"));
  return Number(body.split(": ")[1]);
}

async function machines(t: TestContext): Promise<{ app: Namespace; server: Namespace }> {
  const app = new Namespace(t, "app");
  const server = new Namespace(t, "server");
  connectNamespaces([app, "10.99.0.1/24", "fd99::1/64"], [server, `${FOUR}/24`, `${SIX}/64`]);
  app.run("ip", "route", "add", "default", "via", FOUR);
  await server.start(t, process.execPath, "-e", SERVER);
  return { app, server };
}

/** What the application sees at an address; it knows of no proxy. */
function curl(namespace: Namespace, url: string): Promise<string> {
  return namespace.ask(
    "setpriv",
    `--reuid=${APPLICATION}`,
    "--clear-groups",
    "curl",
    "-sS",
    "--max-time",
    "20",
    "-g",
    url,
  );
}

test("REDIRECT: the owner of the destination serves it, the catch-all passes the rest on", async (t) => {
  const { app } = await machines(t);
  const dual = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "82", "-m", "owner", "--uid-owner", APPLICATION];
  app.run("iptables", ...dual, "-j", "REDIRECT", "--to-ports", "15002");
  for (const iptables of ["iptables", "ip6tables"]) {
    const rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-m", "owner", "--uid-owner", APPLICATION];
    app.run(iptables, ...rule, "-j", "REDIRECT", "--to-ports", "15001");
  }
  const proxy = await proxyIn(app, (folder) => [
    listener(
      "four",
      "0.0.0.0",
      15001,
      `use_original_dst: true, filter_chains: [ ${PASSTHROUGH} ], ${accessLog(join(folder, "log"))}`,
    ),
    listener(
      "six",
      "::",
      15001,
      `use_original_dst: true, filter_chains: [ ${RAW_PASSTHROUGH} ], ${accessLog(join(folder, "log"))}`,
    ),
    listener("both", "::", 15002, `use_original_dst: true, filter_chains: [ ${PASSTHROUGH} ]`),
    listener("wild82", "0.0.0.0", 82, `bind_to_port: false, filter_chains: [ ${chain("wild82")} ]`),
    listener("exact", FOUR, 80, `bind_to_port: false, filter_chains: [ ${chain("exact")} ]`),
    listener("wild", "0.0.0.0", 81, `bind_to_port: false, filter_chains: [ ${chain("wild")} ]`),
    listener("exact6", SIX, 80, `bind_to_port: false, filter_chains: [ ${chain("exact6")} ]`),
    listener(
      "wild6",
      "::",
      81,
      `bind_to_port: false, connection_balance_config: { exact_balance: {} }, filter_chains: [ ${chain("wild6")} ]`,
    ),
  ]);
  assert.equal(await curl(app, `http://${FOUR}:80/`), "exact");
  assert.equal(await curl(app, `http://${FOUR}:81/`), "wild");
  assert.equal(await curl(app, "http://203.0.113.7:81/"), "wild");
  // IPv4 through a socket of both families.
  assert.equal(await curl(app, `http://${FOUR}:82/`), "wild82");
  assert.equal(await curl(app, `http://[${SIX}]:80/`), "exact6");
  assert.equal(await curl(app, `http://[${SIX}]:81/`), "wild6");
  assert.equal(await curl(app, `http://${FOUR}:8080/`), `server ${FOUR} 8080 sidecar`);
  assert.equal(await curl(app, `http://[${SIX}]:8080/`), `server ${SIX} 8080 undefined`);
  // A connection that was not redirected stays where it is, and has no destination to be passed on to.
  const direct = await app.ask("curl", "-sS", "--max-time", "20", "http://127.0.0.1:15001/");
  assert.equal(direct, "no healthy upstream");
  assert.equal(await counter(proxy, "listener.0.0.0.0_15001.downstream_cx_total"), 2);
  assert.equal(await counter(proxy, "listener.0.0.0.0_81.downstream_cx_total"), 2);
  proxy.process.kill("SIGTERM");
  await proxy.exited;
  const log = readFileSync(join(proxy.folder, "log"), "utf8");
  assert.match(log, new RegExp(`^127\\.0\\.0\\.1:15001 ${FOUR}:8080$`, "m"));
  assert.match(log, new RegExp(`^\\[::1\\]:15001 \\[${SIX}\\]:8080$`, "m"));
});

test("TPROXY: the local address is the destination", async (t) => {
  const { app, server } = await machines(t);
  for (const [iptables, family] of [
    ["iptables", "-4"],
    ["ip6tables", "-6"],
  ] as const) {
    const rule = ["-t", "mangle", "-A", "PREROUTING", "-i", "wire", "-p", "tcp", "-j", "TPROXY"];
    server.run(iptables, ...rule, "--on-port", "15006", "--tproxy-mark", "1/1");
    server.run("ip", family, "rule", "add", "fwmark", "1", "lookup", "100");
    server.run("ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100");
  }
  const proxy = await proxyIn(server, () => [
    listener("four", "0.0.0.0", 15006, `transparent: true, use_original_dst: true, filter_chains: [ ${PASSTHROUGH} ]`),
    listener("six", "::", 15006, `transparent: true, use_original_dst: true, filter_chains: [ ${PASSTHROUGH} ]`),
    listener("exact", FOUR, 80, `bind_to_port: false, filter_chains: [ ${chain("exact")} ]`),
    listener("wild6", "::", 81, `bind_to_port: false, filter_chains: [ ${chain("wild6")} ]`),
  ]);
  assert.equal(await curl(app, `http://${FOUR}:80/`), "exact");
  assert.equal(await curl(app, `http://[${SIX}]:81/`), "wild6");
  assert.equal(await curl(app, `http://${FOUR}:8080/`), `server ${FOUR} 8080 sidecar`);
  assert.equal(await curl(app, `http://[${SIX}]:8080/`), `server ${SIX} 8080 sidecar`);
  assert.equal(await counter(proxy, "listener.0.0.0.0_15006.downstream_cx_total"), 1);
  // Who knocks at the listener itself is passed on to nobody: it would come back for ever.
  const own = (iptables: string, ...rule: string[]): string => server.run(iptables, "-t", "mangle", ...rule);
  for (const iptables of ["iptables", "ip6tables"])
    own(iptables, "-I", "PREROUTING", "-p", "tcp", "--dport", "15006", "-j", "RETURN");
  for (const host of [FOUR, `[${SIX}]`]) assert.equal(await curl(app, `http://${host}:15006/`), "no healthy upstream");
  assert.equal(await counter(proxy, "listener.0.0.0.0_15006.downstream_cx_total"), 2);
});
