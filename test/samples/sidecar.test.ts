/**
 * The sidecar sample as an operator runs it: two machines (network namespaces), an application on each that knows of no proxy,
 * and beside each application the proxy, with the rules that `sluice sidecar iptables` puts in force.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import { DRAIN_TIME_MS } from "../../runtime/limits.ts";
import { MariaDb } from "../filters/mariadb.ts";
import { connectNamespaces, Namespace } from "../listener/namespaces.ts";
import { APPLICATION, iptables, SAMPLE, SLUICE, startSidecar, until, WEB } from "./sidecar-stage.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOUR = "10.98.0.2";
const SIX = "fd98::2";
/** The health port is not the application's. */
const HEALTH = ["--exclude-inbound-ports", "15021"];

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
  for (const namespace of [client, server])
    assert.match(iptables(namespace, "apply", ...HEALTH), /applied: inbound to 15006 by REDIRECT/);
  const [here, there] = await Promise.all([startSidecar(t, client), startSidecar(t, server)]);
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
  assert.match(await curl(`http://${FOUR}:15021/healthz/ready`), /LIVE/);
  // The rules are ours to take away: then the applications talk without anybody between them.
  for (const namespace of [client, server]) {
    iptables(namespace, "check", ...HEALTH);
    iptables(namespace, "remove");
    assert.throws(() => iptables(namespace, "check"), /IPv4, table nat: none of the 14 rules is there/);
    assert.doesNotMatch(namespace.run("iptables-save"), /SLUICE/);
  }
  assert.match(await curl(`http://${FOUR}:8080/`), /for undefined/);
});

for (const mode of ["REDIRECT", "TPROXY"]) {
  test(`${mode}: a call of the application to itself by another name comes in like any other, and calls of others go out`, async (t) => {
    const machine = new Namespace(t, "self");
    const other = new Namespace(t, "other");
    connectNamespaces([machine, `${FOUR}/24`, `${SIX}/64`], [other, "10.98.0.1/24", "fd98::1/64"]);
    machine.run("ip", "route", "add", "default", "via", "10.98.0.1");
    machine.run("ip", "-6", "route", "add", "default", "via", "fd98::1");
    for (const one of [machine, other]) await one.start(t, ...APPLICATION, process.execPath, "-e", WEB);
    iptables(machine, "apply", "--mode", mode, ...HEALTH);
    // Whatever the application asks for lies here, as a service of Kubernetes may whose only pod this is.
    const endpoint = (ip: string): string =>
      `{ endpoint: { address: { socket_address: { address: "${ip}", port_value: 8080 } } } }`;
    const service = (name: string, ip: string): string =>
      `    - { name: ${name}, load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [${endpoint(ip)}] }] } }\n`;
    const route = (host: string, cluster: string): string =>
      `{ match: { prefix: /, headers: [{ name: ":authority", string_match: { exact: "${host}" } }] }, route: { cluster: ${cluster} } }`;
    const { log } = await startSidecar(t, machine, (text) => {
      const changed = text
        .replace("  clusters:\n", `$&${service("service4", FOUR)}${service("service6", SIX)}`)
        .replace(
          "routes: [{",
          `routes: [${route("203.0.113.1", "service4")}, ${route("[2001:db8::1]", "service6")}, {`,
        );
      return mode === "REDIRECT" ? changed : changed.replace("- name: virtualInbound", "$&\n      transparent: true");
    });
    const curl = (from: Namespace, url: string): Promise<string> =>
      from.ask(...APPLICATION, "curl", "-sS", "-g", "--max-time", "20", url);
    for (const [host, ip, source] of [
      ["203.0.113.1", FOUR, "127.0.0.6"],
      ["[2001:db8::1]", SIX, "::6"],
    ] as const) {
      const answer = await curl(machine, `http://${host}/self`);
      assert.equal(answer, `application ${ip} 8080 for outbound sidecar from ${source}`);
      const shown = ip.includes(":") ? `[${ip}]` : ip;
      await until(() => log().includes(`http outbound-http GET /self 200 to ${shown}:8080`));
      await until(() => log().includes(`http inbound-http GET /self 200 to ${shown}:8080`));
      // Without a detour it stays between its own processes.
      const lines = log();
      assert.equal(await curl(machine, `http://${shown}:8080/own`), `application ${ip} 8080 for undefined from ${ip}`);
      // And from another machine it comes in; the application is told who asks by the header.
      const outside = await curl(other, `http://${shown}:8080/outside`);
      assert.equal(outside, `application ${ip} 8080 for undefined from ${source}`);
      await until(() => log().includes(`http inbound-http GET /outside 200 to ${shown}:8080`));
      assert.doesNotMatch(log().slice(lines.length), / \/own /);
    }
    for (const [host, source] of [
      ["10.98.0.1", FOUR],
      ["[fd98::1]", SIX],
    ] as const) {
      const away = `application ${host.replaceAll(/[[\]]/g, "")} 8080 for outbound sidecar from ${source}`;
      assert.equal(await curl(machine, `http://${host}:8080/away`), away);
    }
    assert.match(await curl(other, `http://[${SIX}]:15021/healthz/ready`), /^LIVE/);
  });
}

test("the health port says what kubelet wants to know, and nothing else of the admin interface", async (t) => {
  const machine = new Namespace(t, "health");
  const { process: proxy } = await startSidecar(t, machine);
  const ask = (path: string, ...more: string[]): Promise<string> =>
    machine.ask("curl", "-sS", "-g", "-w", " %{http_code}", "--max-time", "20", ...more, path);
  const ready = "http://127.0.0.1:15021/healthz/ready";
  for (const url of [ready, "http://[::1]:15021/healthz/ready"]) assert.equal(await ask(url), "LIVE\n 200");
  for (const path of ["/", "/ready", "/healthz/ready/", "/quitquitquit"])
    assert.match(await ask(`http://127.0.0.1:15021${path}`, "-X", "POST"), / 404$/);
  const admin = "http://127.0.0.1:15000";
  assert.match(await ask(`${admin}/healthcheck/fail`, "-X", "POST"), / 200$/);
  assert.equal(await ask(ready), "DRAINING\n 503");
  assert.match(await ask(`${admin}/healthcheck/ok`, "-X", "POST"), / 200$/);
  assert.equal(await ask(ready), "LIVE\n 200");
  // A gentle drain of what comes in leaves the proxy itself, which still carries what goes out, ready.
  assert.match(await ask(`${admin}/drain_listeners?inboundonly&graceful`, "-X", "POST"), / 200$/);
  assert.equal(await ask(ready), "LIVE\n 200");
  proxy.kill("SIGTERM");
  const [status] = await once(proxy, "exit");
  assert.equal(status, 0);
  await assert.rejects(ask(ready), /Failed to connect|Couldn't connect/);
});

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: number };
}

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly restartPolicy?: string;
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly [string, string] } } };
  readonly securityContext?: {
    readonly runAsUser: number;
    readonly runAsNonRoot: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

interface PodSpec {
  readonly terminationGracePeriodSeconds: number;
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
}

const sampleFile = (name: string): string => readFileSync(SAMPLE + name, "utf8");

/** The rules that a command line asks for are some. */
function assertRules(args: readonly string[]): void {
  assert.deepEqual(args.slice(0, 3), ["sidecar", "iptables", "apply"]);
  const printed = execFileSync(process.execPath, [SLUICE, "sidecar", "iptables", "print", ...args.slice(3)]).toString();
  assert.match(printed, /-A SLUICE_INBOUND -p tcp --dport 15021 -j RETURN/);
}

for (const name of ["init-container", "native-sidecar"])
  test(`the pod of ${name}.yaml`, () => {
    const text = sampleFile(`kubernetes/${name}.yaml`);
    assert.deepEqual(
      parseAllDocuments(text).flatMap(({ errors }) => errors),
      [],
    );
    const { spec } = parse(text) as { spec: PodSpec };
    const native = name === "native-sidecar";
    const init = spec.initContainers[0]!;
    const proxy = (native ? spec.initContainers : spec.containers).find((one) => one.name === "sluice")!;
    // Rules first: what starts later goes through the proxy. Only of a native sidecar others may be sure that it serves.
    assert.equal(init.name, "sluice-init");
    assertRules(init.args!);
    assert.equal(init.securityContext!.runAsUser, 0);
    assert.deepEqual(init.securityContext!.capabilities, { drop: ["ALL"], add: ["NET_ADMIN", "NET_RAW"] });
    assert.equal(proxy.restartPolicy, native ? "Always" : undefined);
    // What the image runs by itself, as who the rules know the proxy by, with nothing that it does not need.
    assert.equal(proxy.args, undefined);
    const { runAsUser, runAsNonRoot, allowPrivilegeEscalation, capabilities } = proxy.securityContext!;
    assert.deepEqual([runAsUser, runAsNonRoot, allowPrivilegeEscalation], [1337, true, false]);
    assert.deepEqual(capabilities, { drop: ["ALL"] });
    assert.ok(proxy.securityContext!.readOnlyRootFilesystem);
    assert.deepEqual(proxy.volumeMounts, [{ name: "tmp", mountPath: "/tmp" }]);
    assert.deepEqual(
      spec.volumes.map((volume) => volume.name),
      ["tmp"],
    );
    for (const probe of [proxy.readinessProbe, ...(native ? [proxy.startupProbe] : [])])
      assert.deepEqual(probe!.httpGet, { path: "/healthz/ready", port: 15021 });
    // The application may take its time, and then the proxy drains; all of it before the pod is killed.
    const waits = spec.containers.map(({ lifecycle }) => Number(lifecycle!.preStop.exec.command[1]));
    assert.ok(Math.max(...waits) + DRAIN_TIME_MS / 1000 < spec.terminationGracePeriodSeconds);
  });

test("image and unit: arguments that the command takes, and a configuration that is there", () => {
  const image = sampleFile("Dockerfile");
  const home = /^COPY --from=build (\S+) \1$/m.exec(image)![1]!;
  const inImage = (text: string): string => /run", "-c", "([^"]+)"/.exec(text)![1]!.replace(`${home}/`, ROOT);
  assert.ok(existsSync(inImage(image)));
  const unit = sampleFile("sluice.service");
  assert.ok(existsSync(ROOT + /^ExecStart=.* -c (\S+)$/m.exec(unit)![1]!));
  assert.match(unit, /useradd --uid 1337 /);
  assertRules(/^ExecStartPost=\+\/usr\/bin\/node runtime\/cli\/sluice\.js (.*)$/m.exec(unit)![1]!.split(" "));
  // The rules go before the proxy stops accepting: it is told to end after ExecStop.
  assert.match(unit, /^ExecStop=\+\/usr\/bin\/node runtime\/cli\/sluice\.js sidecar iptables remove$/m);
  assert.match(unit, /^Type=notify\nNotifyAccess=all$/m);
  const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)![1]);
  assert.ok(stop > DRAIN_TIME_MS / 1000);
});

test("options that the sample's README names are the command's", () => {
  const help = execFileSync(process.execPath, [SLUICE, "sidecar", "iptables", "--help"]).toString();
  const named = [...sampleFile("README.md").matchAll(/--[a-z][a-z0-9-]+/g)].map(([option]) => option);
  assert.ok(named.length > 12);
  for (const option of named) assert.match(help, new RegExp(`^ +(?:-\\w, )?${option}\\b`, "m"), option);
});
