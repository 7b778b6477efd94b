/**
 * The sidecar sample as an operator runs it: two machines (network namespaces), an application on each that knows of no proxy,
 * and beside each application the proxy, with the rules that `sluice sidecar iptables` puts in force.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import { sidecarRules } from "../../runtime/cli/sidecar-rules.ts";
import { MariaDb } from "../filters/mariadb.ts";
import { connectNamespaces, Namespace } from "../listener/namespaces.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SLUICE = `${ROOT}runtime/cli/sluice.js`;
const SAMPLE = `${ROOT}samples/sidecar/`;
const FOUR = "10.98.0.2";
const SIX = "fd98::2";
/** What runs beside the proxy; the proxy is known by its group, so that it can read this checkout wherever that lies. */
const APPLICATION = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const PROXY = ["setpriv", "--regid=1337", "--clear-groups"];

const WEB = `
  const http = require("node:http");
  http.createServer((request, response) => {
    const { localAddress, localPort } = request.socket;
    response.end("application " + localAddress.replace("::ffff:", "") + " " + localPort + " for " + request.headers["x-evangelist"]);
  }).on("upgrade", (request, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n");
    socket.on("data", (data) => socket.end(data + " for " + request.headers["x-evangelist"]));
  }).listen(8080, "::", () => console.log("ready"));
`;
/** Goes over to another protocol, as WebSocket clients do, says a word and prints the answer. */
const UPGRADE = `
  const http = require("node:http");
  const headers = { connection: "upgrade", upgrade: "websocket" };
  http.get({ host: "${FOUR}", port: 8080, path: "/socket", headers }).on("upgrade", (response, socket) => {
    socket.on("data", (data) => process.stdout.write(data)).on("end", () => socket.end());
    socket.write("a word");
  });
`;
/** MariaDB of the test's own namespace, on a port of this one: unix sockets know no networks. */
const BRIDGE = (socket: string): string => `
  const net = require("node:net");
  net.createServer((downstream) => {
    const upstream = net.connect(${JSON.stringify(socket)});
    downstream.pipe(upstream).pipe(downstream);
    for (const one of [downstream, upstream]) one.on("error", () => { downstream.destroy(); upstream.destroy(); });
  }).listen(3306, "::", () => console.log("ready"));
`;

interface Sidecar {
  readonly namespace: Namespace;
  /** Access logs. */
  log(): string;
}

async function sidecar(t: TestContext, namespace: Namespace): Promise<Sidecar> {
  assert.match(
    namespace.run(process.execPath, SLUICE, "sidecar", "iptables", "apply", "--exclude-inbound-ports", "15021"),
    /applied: inbound to 15006 by REDIRECT/,
  );
  const [file, ...args] = namespace.command(
    ...PROXY,
    process.execPath,
    SLUICE,
    "run",
    "-c",
    `${SAMPLE}sluice.yaml`,
    "--concurrency",
    "2",
  );
  const child = spawn(file!, args, { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let out = "";
  let err = "";
  child.stdout.on("data", (piece: Buffer) => (out += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (err += piece.toString()));
  await until(() => {
    if (child.exitCode !== null) throw new Error(err);
    return err.includes("live after");
  });
  return { namespace, log: () => out };
}

async function until(what: () => boolean): Promise<void> {
  for (let n = 0; n < 400; n++) {
    if (what()) return;
    await sleep(50);
  }
  assert.fail("it does not come about");
}

test("two applications talk through two sidecars: HTTP and MySQL, IPv4 and IPv6", async (t) => {
  const client = new Namespace(t, "client");
  const server = new Namespace(t, "server");
  connectNamespaces([client, "10.98.0.1/24", "fd98::1/64"], [server, `${FOUR}/24`, `${SIX}/64`]);
  const database = await MariaDb.start();
  t.after(() => database.stop());
  await database.administer(
    "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT); CREATE USER app@localhost IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO app@localhost;",
  );
  await server.start(t, ...APPLICATION, process.execPath, "-e", WEB);
  await server.start(t, process.execPath, "-e", BRIDGE(database.socket));
  const [here, there] = await Promise.all([sidecar(t, client), sidecar(t, server)]);
  const curl = (url: string): Promise<string> =>
    client.ask(...APPLICATION, "curl", "-sS", "-i", "-g", "--max-time", "20", url);

  for (const address of [FOUR, `[${SIX}]`]) {
    const answer = await curl(`http://${address}:8080/cart`);
    // The destination is the original one, and the outbound filter has marked both ways.
    assert.match(answer, new RegExp(`application ${address.replaceAll(/[[\]]/g, "")} 8080 for outbound sidecar`));
    assert.match(answer, /x-evangelist: outbound sidecar/);
    await until(() => here.log().includes(`http outbound-http GET /cart 200 to ${address}:8080`));
    await until(() => there.log().includes(`http inbound-http GET /cart 200 to ${address}:8080`));
  }
  assert.equal(await client.ask(...APPLICATION, process.execPath, "-e", UPGRADE), "a word for outbound sidecar");
  await until(() => there.log().includes(`http inbound-http GET /socket 101 to ${FOUR}:8080`));
  const sql = "USE shop; INSERT INTO orders VALUES (7); SELECT id FROM orders;";
  for (const address of [FOUR, SIX]) {
    const told = await client.ask(
      ...APPLICATION,
      "mariadb",
      "--no-defaults",
      `--host=${address}`,
      "--protocol=tcp",
      "--user=app",
      "--password=secret",
      "--skip-ssl",
      "-N",
      "-e",
      sql,
    );
    assert.match(told, /^7$/m);
  }
  for (const { log } of [here, there]) {
    await until(() => [...log().matchAll(/^mysql .* tables .*orders.*$/gm)].length === 2);
    assert.match(log(), /^mysql (?:in|out)bound-mysql to 10\.98\.0\.2:3306 tables .*"orders(?:\.shop)?".*/m);
  }
  for (const namespace of [client, server]) {
    const stats = await namespace.ask("curl", "-sS", "http://127.0.0.1:15000/stats?filter=mysql.sidecar");
    assert.match(stats, /mysql\.sidecar\.login_attempts: 2/);
    assert.match(stats, /mysql\.sidecar\.queries_parsed: [1-9]/);
    assert.match(stats, /mysql\.sidecar\.decoder_errors: 0/);
  }
  // The health port is not the application's, and is reached from outside.
  assert.match(await curl(`http://${FOUR}:15021/healthz/ready`), /ready/);
  // The rules are ours to take away: then the applications talk without anybody between them.
  for (const namespace of [client, server]) {
    namespace.run(process.execPath, SLUICE, "sidecar", "iptables", "check", "--exclude-inbound-ports", "15021");
    namespace.run(process.execPath, SLUICE, "sidecar", "iptables", "remove");
    assert.throws(
      () => namespace.run(process.execPath, SLUICE, "sidecar", "iptables", "check"),
      /IPv4, table nat: -A .* is missing/,
    );
    assert.doesNotMatch(namespace.run("iptables-save"), /SLUICE/);
  }
  assert.match(await curl(`http://${FOUR}:8080/`), /for undefined/);
});

test("rules are applied and removed any number of times, in either mode", (t) => {
  const machine = new Namespace(t, "rules");
  const run = (...args: string[]): string => machine.run(process.execPath, SLUICE, "sidecar", "iptables", ...args);
  const before = machine.run("iptables-save") + machine.run("ip6tables-save");
  for (const mode of ["REDIRECT", "TPROXY", "TPROXY", "REDIRECT"]) {
    run("apply", "--mode", mode);
    assert.match(run("check", "--mode", mode), /in force/);
  }
  // Other ports are other rules, although as many.
  assert.throws(() => run("check", "--inbound-port", "16000"), /table nat: -A SLUICE_IN_REDIRECT .*16000 is missing/);
  run("apply", "--mode", "TPROXY");
  // Whichever mode they are of.
  run("remove");
  const rules = (text: string): string[] =>
    text.split("\n").filter((line) => line.startsWith("-A") || line.includes("SLUICE"));
  assert.deepEqual(rules(machine.run("iptables-save") + machine.run("ip6tables-save")), rules(before));
  assert.doesNotMatch(machine.run("ip", "rule"), /lookup 133/);
});

test("rules that cannot all be put in force leave none", (t) => {
  const machine = new Namespace(t, "half");
  // The route of TPROXY needs it, the rules before it do not.
  machine.run("ip", "link", "set", "lo", "down");
  const apply = (): string => machine.run(process.execPath, SLUICE, "sidecar", "iptables", "apply", "--mode", "TPROXY");
  assert.throws(apply, /IPTABLES: ip .*route add local/);
  assert.doesNotMatch(machine.run("iptables-save") + machine.run("ip6tables-save"), /SLUICE/);
  assert.doesNotMatch(machine.run("ip", "rule"), /lookup 133/);
});

test("a machine without IPv6 is told how to do without, and keeps no rules of IPv4", (t) => {
  const machine = new Namespace(t, "four");
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  // What iptables says on a kernel without it.
  const broken = `#!/bin/sh\necho "ip6tables-restore v1.8.9 (nf_tables): Could not fetch rule set generation id" >&2\nexit 4\n`;
  writeFileSync(join(folder, "ip6tables-restore"), broken, { mode: 0o755 });
  const path = `PATH=${folder}:${process.env["PATH"]}:/usr/sbin:/sbin`;
  const apply = ["env", path, process.execPath, SLUICE, "sidecar", "iptables", "apply"];
  assert.throws(() => machine.run(...apply), /IPTABLES: ip6tables-restore .*--no-ipv6 leaves it out/);
  assert.doesNotMatch(machine.run("iptables-save"), /SLUICE/);
  assert.match(machine.run(...apply, "--no-ipv6"), /outbound to 15001, IPv4$/m);
});

test("what is no port, network, interface or user is refused, and changes nothing", (t) => {
  const machine = new Namespace(t, "refused");
  for (const [option, value] of [
    ["--inbound-port", "0"],
    ["--inbound-port", "15001"],
    ["--outbound-port", "70000"],
    ["--uid", "sluice"],
    ["--gid", "-1"],
    ["--include-inbound-ports", "80;reboot"],
    ["--exclude-inbound-ports", "9:8"],
    ["--exclude-outbound-ports", "*"],
    ["--exclude-outbound-networks", "10.0.0.0/33"],
    ["--include-outbound-networks", "10.0.0/8"],
    ["--exclude-interfaces", "eth0 -j ACCEPT"],
  ] as const) {
    // prettier-ignore
    assert.throws(() => machine.run(process.execPath, SLUICE, "sidecar", "iptables", "apply", option, value), /SIDECAR_OPTION/, `${option} ${value}`);
  }
  assert.doesNotMatch(machine.run("iptables-save"), /SLUICE/);
});

test("networks go to the rules of their family", () => {
  const [four, six] = sidecarRules({
    mode: "REDIRECT", inboundPort: 15_006, outboundPort: 15_001, uid: ["1337"], gid: [], includeInboundPorts: ["80", "8000:8100"], excludeInboundPorts: [],
    includeOutboundPorts: ["443"], excludeOutboundPorts: [], includeOutboundNetworks: ["10.0.0.0/8", "fd00::/8"], excludeOutboundNetworks: ["10.1.0.0/16"], excludeInterfaces: ["docker+"],
  }); // prettier-ignore
  const lines = (rules: typeof four): string[] => [...rules!.tables.values()].flat();
  assert.ok(lines(four).includes("-A SLUICE_OUTPUT -d 10.0.0.0/8 -p tcp --dport 443 -j SLUICE_REDIRECT"));
  assert.ok(lines(four).includes("-A SLUICE_OUTPUT -d 10.1.0.0/16 -j RETURN"));
  assert.ok(lines(four).includes("-A SLUICE_INBOUND -p tcp --dport 8000:8100 -j SLUICE_IN_REDIRECT"));
  assert.ok(lines(four).includes("-A SLUICE_INBOUND -i docker+ -j RETURN"));
  assert.ok(lines(six).includes("-A SLUICE_OUTPUT -d fd00::/8 -p tcp --dport 443 -j SLUICE_REDIRECT"));
  assert.ok(!lines(six).some((line) => line.includes("10.")));
});

test("pods, image and unit: arguments that the command takes, and a configuration that is there", () => {
  const file = (name: string): string => readFileSync(SAMPLE + name, "utf8");
  const image = file("Dockerfile");
  const home = /^COPY --from=build (\S+) \1$/m.exec(image)![1]!;
  const inImage = (text: string): string => /run", "-c", "([^"]+)"/.exec(text)![1]!.replace(`${home}/`, ROOT);
  assert.ok(existsSync(inImage(image)));
  for (const name of ["init-container", "native-sidecar"]) {
    const text = file(`kubernetes/${name}.yaml`);
    assert.deepEqual(
      parseAllDocuments(text).flatMap(({ errors }) => errors),
      [],
    );
    interface Container {
      readonly name: string;
      readonly args?: readonly string[];
    }
    const { spec } = parse(text) as { spec: { initContainers: Container[]; containers: Container[] } };
    const all = [...spec.initContainers, ...spec.containers];
    const init = all.find((one) => one.name === "sluice-init");
    assert.deepEqual(init?.args?.slice(0, 3), ["sidecar", "iptables", "apply"]);
    // What the image runs by itself.
    assert.equal(all.find((one) => one.name === "sluice")?.args, undefined);
  }
  const unit = file("sluice.service");
  assert.ok(existsSync(ROOT + /^ExecStart=.* -c (\S+)$/m.exec(unit)![1]!));
  assert.match(unit, /useradd --uid 1337 /);
});
