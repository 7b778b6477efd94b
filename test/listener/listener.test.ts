import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Address } from "../../runtime/config/snapshot.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { addressText, plainIp } from "../../runtime/observe/address-text.ts";
import { closeDescriptor, listenOnPath } from "../../runtime/listener/native-sockets.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import type { NetworkFilterFactory } from "../../runtime/network/filter.ts";
import { drainLogFiles } from "../../runtime/observe/log-file.ts";
import { until } from "../upstream/fixtures.ts";
import { chain, closed, config, echo, Echo, environment, ip, open, say, start } from "./fixture.ts";

test("IPv4, IPv6 and further addresses of one listener", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"), { additionalAddresses: [ip("::1")] })]);
  const [first, second] = set.bound;
  assert.equal(first!.address, `127.0.0.1:${first!.port}`);
  assert.equal(second!.address, `[::1]:${second!.port}`);
  const four = JSON.parse(await say({ host: "127.0.0.1", port: first!.port }, "who"));
  assert.match(four.directRemoteAddress, /^127\.0\.0\.1:\d+$/);
  assert.equal(four.localAddress, first!.address);
  assert.deepEqual([four.listenerName, four.direction, four.filterChainName], ["l", 1, "chain"]);
  const six = JSON.parse(await say({ host: "::1", port: second!.port }, "who"));
  assert.match(six.directRemoteAddress, /^\[::1\]:\d+$/);
  assert.equal(six.directRemoteIp, "::1");
});

test("a dual-stack listener shows IPv4 peers as IPv4", async (t) => {
  const { set } = await start(t, [config(ip("::", 0, true))]);
  const said = JSON.parse(await say({ host: "127.0.0.1", port: set.bound[0]!.port }, "who"));
  assert.equal(said.directRemoteIp, "127.0.0.1");
  assert.equal(plainIp("::ffff:1.2.3.4"), "1.2.3.4");
  assert.equal(plainIp("::1"), "::1");
});

test("unix sockets: mode, stale socket files, and files that are none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "s");
  const address: Address = { kind: "pipe", path, mode: 0o600 };
  assert.equal(addressText(address), path);
  const first = await start(t, [config(address)]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(await say({ path }, "hello"), "hello");
  assert.equal(JSON.parse(await say({ path }, "who")).directRemoteAddress, path);
  // A path that is served is not taken away from whoever serves it.
  await assert.rejects(start(t, [config(address)]), /BIND_FAILED: .* the address is in use/);
  assert.equal(await say({ path }, "still"), "still");
  first.set.close();
  // A process that died leaves its socket file: the next one takes the name over.
  closeDescriptor(listenOnPath(path, 1));
  const second = await start(t, [config(address)]);
  assert.equal(await say({ path }, "again"), "again");
  second.set.close();
  const file = join(folder, "file");
  writeFileSync(file, "precious");
  await assert.rejects(start(t, [config({ kind: "pipe", path: file, mode: 0 })]), /BIND_FAILED/);
  assert.equal(readFileSync(file, "utf8"), "precious");
});

test("an accept that fails is told, once a second, and the listener goes on", async (t) => {
  // The system's own failures cannot be had at will.
  const servers: net.Server[] = [];
  const { createServer } = net;
  const spy = t.mock.method(net, "createServer", (...given: Parameters<typeof createServer>) => {
    const server = createServer(...given);
    servers.push(server);
    return server;
  });
  syncBuiltinESMExports();
  const logged: string[] = [];
  const log = (level: string, message: string): void => void logged.push(`${level}: ${message}`);
  const set = new ListenerSet(
    [config(ip("127.0.0.1"))],
    environment(new StatsStore(() => {}), () => [echo], { log }),
  );
  t.after(() => set.close());
  await set.start();
  spy.mock.restore();
  syncBuiltinESMExports();
  assert.equal(servers.length, 1);
  for (let n = 0; n < 5; n++) servers[0]!.emit("error", new Error("accept EMFILE"));
  assert.deepEqual(logged, ["warn: listener l: a connection cannot be accepted: accept EMFILE"]);
  assert.equal(await say({ host: "127.0.0.1", port: set.bound[0]!.port }, "hello"), "hello");
});

test("abstract unix sockets", async (t) => {
  const name = `sluice-test-${process.pid}`;
  await start(t, [config({ kind: "pipe", path: `@${name}`, mode: 0 })]);
  assert.equal(await say({ path: `\0${name}` }, "hello"), "hello");
});

test("bind_to_port false binds nothing", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"), { bindToPort: false })]);
  assert.deepEqual(set.bound, []);
});

test("a busy address is told with listener and address", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"), { reusePort: false })]);
  const busy = config(ip("127.0.0.1", set.bound[0]!.port), { name: "second", reusePort: false });
  await assert.rejects(
    start(t, [busy]),
    (error: unknown) =>
      error instanceof ProxyError &&
      error.message ===
        `BIND_FAILED: listener second: cannot bind 127.0.0.1:${set.bound[0]!.port}: the address is in use (another process listens there)`,
  );
  await assert.rejects(start(t, [config(ip("192.0.2.1", 1))]), /this machine has no such address/);
});

test("two workers share one port", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"))]);
  const port = set.bound[0]!.port;
  const other = await start(t, [config(ip("127.0.0.1", port))], [echo], 1);
  assert.equal(other.set.bound[0]!.port, port);
  for (let n = 0; n < 40; n++) assert.equal(await say({ host: "127.0.0.1", port }, "x"), "x");
});

test("statistics of connections", async (t) => {
  const { set, stats } = await start(t, [config(ip("127.0.0.1"))]);
  const socket = await open({ host: "127.0.0.1", port: set.bound[0]!.port });
  socket.write("x");
  await once(socket, "data");
  assert.equal(stats.counter("listener.l.downstream_cx_total").value, 1);
  assert.equal(stats.gauge("listener.l.downstream_cx_active").value, 1);
  socket.end();
  await once(socket, "close");
  await until(() => stats.gauge("listener.l.downstream_cx_active").value === 0);
  assert.equal(stats.counter("listener.l.downstream_cx_destroy").value, 1);
});

test("reset ends with RST, not with FIN", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"))]);
  const socket = await open({ host: "127.0.0.1", port: set.bound[0]!.port });
  socket.write("reset");
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNRESET");
});

test("who sends something and resets before it is accepted is nobody, and is not served", async (t) => {
  const seen: string[] = [];
  const factory: NetworkFilterFactory = {
    name: "echo",
    terminal: true,
    create(connection) {
      seen.push(connection.info.remoteAddress);
      return new Echo(connection);
    },
  };
  const { set } = await start(t, [config(ip("127.0.0.1"))], [factory]);
  const { port } = set.bound[0]!;
  const hasty = `require("net").connect(${port}, "127.0.0.1", function () { this.write("x", () => this.resetAndDestroy()) })`;
  // Nothing is accepted here meanwhile.
  execFileSync(process.execPath, ["-e", hasty]);
  assert.equal(await say({ host: "127.0.0.1", port }, "hello"), "hello");
  assert.deepEqual(
    seen.map((address) => address.split(":")[0]),
    ["127.0.0.1"],
  );
});

test("draining: no new connections, filters finish, and what does not finish is ended", async (t) => {
  const { set, stats } = await start(t, [config(ip("127.0.0.1"))]);
  const port = set.bound[0]!.port;
  const socket = await open({ host: "127.0.0.1", port });
  const gone = closed(socket);
  // Who connects is accepted a little later.
  await until(() => stats.gauge("listener.l.downstream_cx_active").value === 1);
  await set.drain(60_000);
  await gone;
  await assert.rejects(open({ host: "127.0.0.1", port }), /ECONNREFUSED/);

  const deaf: NetworkFilterFactory = {
    name: "deaf",
    terminal: true,
    create: (connection) => Object.assign(new Echo(connection), { onDraining: () => {} }),
  };
  const stubborn = await start(t, [config(ip("127.0.0.1"))], [deaf]);
  const stuck = await open({ host: "127.0.0.1", port: stubborn.set.bound[0]!.port });
  await until(() => stubborn.stats.gauge("listener.l.downstream_cx_active").value === 1);
  const ended = closed(stuck.resume());
  await stubborn.set.drain(50);
  await ended;
});

test("each connection gets the chain that matches, else the default one", async (t) => {
  const chains = [chain("here", { sourcePrefixRanges: ["127.0.0.0/8"] }), chain("there", { transportProtocol: "tls" })];
  const listener = config(ip("127.0.0.1"), {
    filterChains: chains,
    defaultFilterChain: chain("rest"),
    additionalAddresses: [ip("::1")],
  });
  const { set } = await start(t, [listener]);
  const [four, six] = set.bound;
  const first = JSON.parse(await say({ host: "127.0.0.1", port: four!.port }, "who"));
  assert.deepEqual([first.filterChainName, first.transportProtocol], ["here", "raw_buffer"]);
  assert.equal(JSON.parse(await say({ host: "::1", port: six!.port }, "who")).filterChainName, "rest");
});

test("no chain matches: closed, counted, and in the access log", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "log");
  const text = "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DOWNSTREAM_LOCAL_ADDRESS%\n";
  const listener = config(ip("127.0.0.1"), {
    filterChains: [chain("never", { destinationPort: 1 })],
    accessLogs: [
      { sink: { kind: "file", path }, format: { kind: "text", text, omitEmptyValues: false }, filter: undefined },
    ],
  });
  const { set, stats } = await start(t, [listener]);
  const socket = await open({ host: "127.0.0.1", port: set.bound[0]!.port });
  await closed(socket.resume());
  assert.equal(stats.counter("listener.l.no_filter_chain_match").value, 1);
  assert.equal(stats.counter("listener.l.downstream_cx_total").value, 0);
  set.close();
  await drainLogFiles();
  assert.equal(readFileSync(path, "utf8"), `NR filter_chain_not_found ${set.bound[0]!.address}\n`);
});
