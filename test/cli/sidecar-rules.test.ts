/** `sluice sidecar iptables` on machines of its own: what the rules catch, and that they come and go whole. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { sidecarRules } from "../../runtime/cli/sidecar-rules.ts";
import type { SidecarOptions } from "../../runtime/cli/sidecar-rules.ts";
import { connectNamespaces, Namespace } from "../listener/namespaces.ts";
import { iptables, SLUICE } from "../samples/sidecar-stage.ts";

const TEXT = "OK";
/** Answers on any address of its machine. */
const SERVER = `require("node:net").createServer((s) => s.on("error", () => {}).end("${TEXT}")).listen(8080, "::", () => console.log("ready"));`;
/** Connects over and over until told to end, and counts who answered. */
const CLIENT = `
  const net = require("node:net");
  const seen = {};
  const count = (what) => (seen[what] = (seen[what] ?? 0) + 1);
  let over = false;
  process.stdin.resume().on("end", () => (over = true));
  const next = () => {
    if (over) return console.log(JSON.stringify(seen));
    const socket = net.connect(8080, "10.97.0.2");
    socket.on("data", (data) => count(String(data)));
    socket.on("error", (error) => count(error.code));
    socket.on("close", next);
  };
  process.stdout.write("going\\n", next);
`;
const PROXY = SERVER.replace(TEXT, "proxy").replace("8080", "15001");

const PLAIN: SidecarOptions = {
  mode: "REDIRECT",
  inboundPort: 15_006,
  outboundPort: 15_001,
  uid: [],
  gid: [],
  includeUsers: [],
  includeGroups: [],
  excludeUsers: [],
  excludeGroups: [],
  includeInboundPorts: [],
  excludeInboundPorts: [],
  includeOutboundPorts: [],
  excludeOutboundPorts: [],
  includeOutboundNetworks: [],
  excludeOutboundNetworks: [],
  excludeInterfaces: [],
  dropInvalid: false,
};

/** Two machines and a server on the second; the rules are the first one's. */
async function machines(t: TestContext): Promise<{ readonly here: Namespace; readonly there: Namespace }> {
  const here = new Namespace(t, "here");
  const there = new Namespace(t, "there");
  connectNamespaces([here, "10.97.0.1/24", "fd97::1/64"], [there, "10.97.0.2/24", "fd97::2/64"]);
  for (const machine of [here, there]) await machine.start(t, process.execPath, "-e", SERVER);
  return { here, there };
}

function savedRules(machine: Namespace): string[] {
  const text = machine.run("iptables-save") + machine.run("ip6tables-save");
  return text.split("\n").filter((line) => line.startsWith("-A") || line.includes("SLUICE"));
}

/** A program that stands in front of the one of the same name. */
function instead(t: TestContext, programs: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, script] of Object.entries(programs))
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return ["env", `PATH=${folder}:${process.env["PATH"]}:/usr/sbin:/sbin`];
}

/** Whether a connection of a user reaches the server: there is no proxy, so what is led to it is refused. */
async function passes(from: Namespace, url: string, user = 65_534, group = 65_534): Promise<boolean> {
  const as = ["setpriv", `--reuid=${user}`, `--regid=${group}`, "--clear-groups"];
  const asked = from.ask(...as, "curl", "-sS", "-g", "--http0.9", "--max-time", "20", url);
  return await asked.then(
    (body) => {
      assert.equal(body, TEXT);
      return true;
    },
    (error: unknown) => {
      assert.match(String(error), /Connection refused|Couldn't connect/);
      return false;
    },
  );
}

test("who is led to the proxy, and who is not", async (t) => {
  const { here, there } = await machines(t);
  const link = /inet6 (fe80::\S+)\//.exec(there.run("ip", "-6", "addr", "show", "dev", "wire"))![1]!;
  const [four, six, own] = ["http://10.97.0.2:8080", "http://[fd97::2]:8080", "http://10.97.0.1:8080"];
  const linkLocal = `http://[${link}%25wire]:8080`;
  /** Options, and the ones of these that pass: from here out, and from there in. */
  const cases: readonly (readonly [options: string, out: readonly boolean[], into: readonly boolean[] | null])[] = [
    ["--no-ipv6", [false, true, true, true], [false, true]],
    ["", [false, false, true, true], [false, false]],
    // Without a transparent listener TPROXY lets packets fall, and nobody is told.
    ["--mode TPROXY", [false, false, true, true], null],
    ["--exclude-outbound-ports 22,8000:8100", [true, true, true, true], [false, false]],
    ["--include-outbound-ports 80", [true, true, true, true], [false, false]],
    ["--exclude-outbound-networks 10.97.0.0/16", [true, false, true, true], [false, false]],
    ["--include-outbound-networks fd97::/64", [true, false, true, true], [false, false]],
    ["--exclude-inbound-ports 8080", [false, false, true, true], [true, true]],
    ["--mode TPROXY --include-inbound-ports 80,81", [false, false, true, true], [true, true]],
    ["--exclude-interfaces wir+", [true, true, true, true], [true, true]],
    ["--mode TPROXY --exclude-interfaces wire --drop-invalid", [true, true, true, true], [true, true]],
    ["--exclude-users 65534", [true, true, true, true], [false, false]],
    ["--exclude-groups 1,65534", [true, true, true, true], [false, false]],
    ["--include-users 65534", [false, false, true, true], [false, false]],
    ["--include-users 1,2 --include-groups 65534", [false, false, true, true], [false, false]],
    ["--include-users 1,2 --include-groups 3 --drop-invalid", [true, true, true, true], [false, false]],
    ["--uid 65534", [true, true, false, true], [false, false]],
    ["--gid 65534 --exclude-inbound-ports 8080", [true, true, true, true], [true, true]],
  ];
  for (const [options, out, into] of cases) {
    const args = options.split(" ").filter((one) => one !== "");
    iptables(here, "apply", ...args);
    const [went, came] = await Promise.all([
      Promise.all([four, six, own, linkLocal].map((url) => passes(here, url))),
      Promise.all((into === null ? [] : [own, "http://[fd97::1]:8080"]).map((url) => passes(there, url))),
    ]);
    assert.deepEqual({ options, went, came }, { options, went: out, came: into ?? [] });
  }
  const options = [...cases.at(-1)![0].split(" "), "--drop-invalid"];
  iptables(here, "apply", ...options);
  assert.match(iptables(here, "check", ...options), /in force/);
  // Whatever the options, the proxy's own connections out pass, and what it says to itself.
  for (const mode of ["REDIRECT", "TPROXY"]) {
    iptables(here, "apply", "--mode", mode);
    for (const url of [four, six, "http://127.0.0.1:8080", "http://[::1]:8080"])
      assert.equal(await passes(here, url, 1337, 1337), true, `${mode} ${url}`);
  }
  iptables(here, "remove", "--no-ipv6");
  assert.equal(await passes(here, four), true);
  assert.equal(await passes(here, six), false);
});

test("rules are applied and removed any number of times, in either mode, among others' rules", (t) => {
  const machine = new Namespace(t, "rules");
  for (const program of ["iptables", "ip6tables"])
    for (const port of ["81", "82"])
      machine.run(program, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", port, "-j", "ACCEPT");
  const before = savedRules(machine);
  for (const mode of ["REDIRECT", "TPROXY", "TPROXY", "REDIRECT"]) {
    iptables(machine, "apply", "--mode", mode);
    assert.match(iptables(machine, "check", "--mode", mode), /in force/);
  }
  // What stands in front of others' rules stays there.
  machine.run("iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "83", "-j", "ACCEPT");
  iptables(machine, "apply");
  const output = savedRules(machine).filter((line) => line.startsWith("-A OUTPUT"));
  assert.match(output[2]!, /SLUICE_OUTPUT/);
  machine.run("iptables", "-t", "nat", "-D", "OUTPUT", "-p", "tcp", "--dport", "83", "-j", "ACCEPT");
  // Other ports are other rules, although as many.
  const other = /table nat: -A SLUICE_IN_REDIRECT .*16000 is missing/;
  assert.throws(() => iptables(machine, "check", "--inbound-port", "16000"), other);
  iptables(machine, "apply", "--mode", "TPROXY");
  // Whichever mode they are of.
  iptables(machine, "remove");
  assert.deepEqual(savedRules(machine), before);
  assert.doesNotMatch(machine.run("ip", "rule") + machine.run("ip", "-6", "rule"), /lookup 133/);
  assert.doesNotMatch(machine.run("ip", "-6", "addr"), /::6/);
  assert.match(iptables(machine, "remove"), /removed: IPv4 \(iptables\) and IPv6 \(ip6tables\)/);
});

test("check names what somebody has changed", (t) => {
  const machine = new Namespace(t, "changed");
  iptables(machine, "apply", "--mode", "TPROXY");
  machine.run("iptables", "-t", "nat", "-D", "SLUICE_OUTPUT", "-o", "lo", "-j", "RETURN");
  machine.run("ip6tables", "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-j", "SLUICE_INBOUND");
  machine.run("ip", "-6", "addr", "del", "::6/128", "dev", "lo");
  machine.run("ip", "-4", "rule", "del", "fwmark", "1337", "lookup", "133");
  assert.throws(
    () => iptables(machine, "check", "--mode", "TPROXY"),
    (error: { stderr: string }) => {
      assert.deepEqual(error.stderr.trim().split("\n"), [
        "sluice: IPv4, table nat: -A SLUICE_OUTPUT -o lo -j RETURN is missing",
        "sluice: IPv4, ip -4 rule add fwmark 1337 lookup 133 is missing",
        "sluice: IPv6, table mangle: 1 other rules of ours",
        "sluice: IPv6, ip -6 addr add ::6/128 dev lo preferred_lft 0 is missing",
      ]);
      return true;
    },
  );
  // Applying mends it.
  iptables(machine, "apply", "--mode", "TPROXY");
  iptables(machine, "check", "--mode", "TPROXY");
});

test("while rules are applied anew, no connection gets past the proxy", async (t) => {
  const { here } = await machines(t);
  await here.start(t, process.execPath, "-e", PROXY);
  iptables(here, "apply");
  const command = here.command("setpriv", "--reuid=65534", "--clear-groups", process.execPath, "-e", CLIENT);
  const client = spawn(command[0]!, command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => client.kill("SIGKILL"));
  let told = "";
  client.stdout.on("data", (piece: Buffer) => (told += piece.toString()));
  const closed = once(client, "close");
  await once(client.stdout, "data");
  const asked = [["--exclude-outbound-ports", "99"], [], ["--drop-invalid"], []];
  for (const more of asked) await here.ask(process.execPath, SLUICE, "sidecar", "iptables", "apply", ...more);
  client.stdin.end();
  await closed;
  const seen = JSON.parse(told.slice(told.indexOf("{"))) as Record<string, number>;
  assert.deepEqual(Object.keys(seen), ["proxy"], told);
});

test("rules that cannot all be put in force leave what was there", async (t) => {
  const machine = new Namespace(t, "half");
  // What iptables says on a kernel without IPv6.
  const complaint = `echo "ip6tables-restore v1.8.9 (nf_tables): Could not fetch rule set generation id" >&2; exit 4`;
  const path = instead(t, {
    "ip6tables-restore": `text=$(cat); case "$text" in *16001*) ${complaint};; esac; echo "$text" | ip6tables-nft-restore "$@"`,
  });
  const apply = [...path, process.execPath, SLUICE, "sidecar", "iptables", "apply"];
  const failing = (): string => machine.run(...apply, "--outbound-port", "16001");
  assert.throws(
    failing,
    /IPTABLES: ip6tables-restore .*generation id \(where there is no IPv6, --no-ipv6 leaves it out/,
  );
  assert.deepEqual(savedRules(machine), []);
  assert.doesNotMatch(machine.run("ip", "-6", "addr"), /::6/);
  iptables(machine, "apply", "--mode", "TPROXY", "--exclude-inbound-ports", "15021");
  const before = savedRules(machine);
  assert.throws(() => machine.run(...apply, "--outbound-port", "16001"), /generation id/);
  assert.deepEqual(savedRules(machine), before);
  iptables(machine, "check", "--mode", "TPROXY", "--exclude-inbound-ports", "15021");
  // The way back may be barred, too.
  const barred = instead(t, {
    "ip6tables-restore": complaint,
    ip: `case "$*" in *preferred*) ${complaint};; esac; exec /sbin/ip "$@"`,
  });
  iptables(machine, "remove");
  assert.throws(
    () => machine.run(...barred, process.execPath, SLUICE, "sidecar", "iptables", "apply"),
    /IPTABLES: ip -6 addr add .*generation id/,
  );
  assert.deepEqual(savedRules(machine), []);
  // The route of TPROXY needs it.
  machine.run("ip", "link", "set", "lo", "down");
  assert.throws(() => iptables(machine, "apply", "--mode", "TPROXY"), /IPTABLES: ip .*route add local/);
  assert.deepEqual(savedRules(machine), []);
  assert.doesNotMatch(machine.run("ip", "rule"), /lookup 133/);
  assert.match(machine.run(...apply, "--no-ipv6"), /outbound to 15001, IPv4 \(iptables\)$/m);
});

test("rules of the other iptables are found, and moved", (t) => {
  const machine = new Namespace(t, "backends");
  const legacy = (): string => machine.run("iptables-legacy-save") + machine.run("ip6tables-legacy-save");
  assert.match(iptables(machine, "apply", "--iptables", "legacy"), /IPv4 \(iptables-legacy\)/);
  iptables(machine, "check", "--iptables", "legacy");
  assert.match(legacy(), /SLUICE_OUTPUT/);
  assert.throws(() => iptables(machine, "check"), /IPv4, rules of ours are in iptables-legacy, too/);
  iptables(machine, "apply", "--iptables", "nft");
  iptables(machine, "check", "--iptables", "nft");
  assert.doesNotMatch(legacy(), /SLUICE/);
  assert.match(machine.run("ip", "-6", "addr"), /::6/);
  iptables(machine, "apply", "--iptables", "legacy");
  assert.deepEqual(savedRules(machine), []);
  iptables(machine, "remove");
  assert.doesNotMatch(legacy(), /SLUICE/);
});

test("where the system's iptables does not work, the one that does is taken", (t) => {
  const machine = new Namespace(t, "fallback");
  const broken = `echo "iptables v1.8.9 (legacy): can't initialize iptables table: Table does not exist (do you need to insmod?)" >&2; exit 3`;
  const path = instead(t, { iptables: broken, "iptables-nft": broken });
  const applied = machine.run(...path, process.execPath, SLUICE, "sidecar", "iptables", "apply");
  assert.match(applied, /IPv4 \(iptables-legacy\) and IPv6 \(ip6tables\)/);
  const none = instead(t, { iptables: broken, "iptables-nft": broken, "iptables-legacy": broken });
  assert.throws(
    () => machine.run(...none, process.execPath, SLUICE, "sidecar", "iptables", "apply"),
    /IPTABLES: iptables -w 30 -t nat -S: .*insmod.*\(the kernel lacks a module: .*modprobe/,
  );
});

test("what is no port, network, interface or user is refused, and changes nothing", (t) => {
  for (const [option, wrong] of [
    ["--inbound-port", { inboundPort: 0 }],
    ["--outbound-port", { outboundPort: 70_000 }],
    ["--outbound-port", { outboundPort: 15_006 }],
    ["--uid", { uid: ["sluice"] }],
    ["--gid", { gid: ["-1"] }],
    ["--include-users", { includeUsers: ["app"] }],
    ["--include-groups", { includeGroups: ["1", ""] }],
    ["--exclude-users", { excludeUsers: ["1.5"] }],
    ["--exclude-groups", { excludeGroups: ["4294967295"] }],
    ["--include-inbound-ports", { includeInboundPorts: ["80;reboot"] }],
    ["--exclude-inbound-ports", { excludeInboundPorts: ["9:8"] }],
    ["--exclude-outbound-ports", { excludeOutboundPorts: ["*"] }],
    ["--include-outbound-ports", { includeOutboundPorts: Array.from({ length: 201 }, () => "80") }],
    ["--exclude-outbound-networks", { excludeOutboundNetworks: ["10.0.0.0/33"] }],
    ["--include-outbound-networks", { includeOutboundNetworks: ["10.0.0/8"] }],
    ["--include-outbound-networks", { includeOutboundNetworks: ["127.0.0.0/8"] }],
    ["--exclude-interfaces", { excludeInterfaces: ["eth0 -j ACCEPT"] }],
  ] as const)
    assert.throws(
      () => sidecarRules({ ...PLAIN, ...wrong }),
      (error: Error & { code: string }) =>
        error.code === "SIDECAR_OPTION" && error.message.startsWith(`SIDECAR_OPTION: ${option}: `),
      JSON.stringify(wrong),
    );
  const machine = new Namespace(t, "refused");
  assert.throws(() => iptables(machine, "apply", "--uid", "sluice"), /SIDECAR_OPTION: --uid: "sluice" is no number/);
  assert.deepEqual(savedRules(machine), []);
});

test("who may not change rules is told what is missing", (t) => {
  const machine = new Namespace(t, "rights");
  const weak = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
  const run = (...before: string[]): string =>
    machine.run(...before, process.execPath, SLUICE, "sidecar", "iptables", "apply");
  assert.throws(() => run(...weak), /IPTABLES: .*\(root has no CAP_NET_ADMIN here: a container needs it/);
  const module = `echo "iptables-restore v1.8.9 (nf_tables): line 3: RULE_APPEND failed (No such file or directory)" >&2; exit 4`;
  assert.throws(
    () => run(...instead(t, { "iptables-restore": module })),
    /IPTABLES: .*RULE_APPEND failed.*\(the kernel lacks a module: .*xt_owner.*modprobe/,
  );
});

test("networks go to the rules of their family", () => {
  const [four, six] = sidecarRules({
    ...PLAIN,
    includeInboundPorts: ["80", "8000:8100"],
    includeOutboundPorts: ["443"],
    includeOutboundNetworks: ["10.0.0.0/8", "fd00::/8"],
    excludeOutboundNetworks: ["10.1.0.0/16"],
    excludeInterfaces: ["docker+"],
  });
  const lines = (of: typeof four): string[] => [...of!.tables.values()].flatMap(({ rules }) => rules);
  assert.ok(lines(four).includes("-A SLUICE_OUTPUT -d 10.0.0.0/8 -p tcp --dport 443 -j SLUICE_REDIRECT"));
  assert.ok(lines(four).includes("-A SLUICE_OUTPUT -d 10.1.0.0/16 -j RETURN"));
  assert.ok(lines(four).includes("-A SLUICE_INBOUND -p tcp --dport 8000:8100 -j SLUICE_IN_REDIRECT"));
  assert.ok(lines(four).includes("-A SLUICE_INBOUND -i docker+ -j RETURN"));
  assert.ok(lines(six).includes("-A SLUICE_OUTPUT -d fd00::/8 -p tcp --dport 443 -j SLUICE_REDIRECT"));
  assert.ok(!lines(six).some((line) => line.includes("10.")));
});
