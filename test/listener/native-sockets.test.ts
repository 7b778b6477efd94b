/** Listening sockets with options that Node cannot set, and sockets that several servers share. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { SocketOptionConfig, SocketSettings } from "../../runtime/config/listener-snapshot.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { closeDescriptor, duplicate, listenNatively, readOption } from "../../runtime/listener/native-sockets.ts";
import { bootstrap, load, snapshotOf } from "../config/fixture.ts";
import { config, ip, open, say, start } from "./fixture.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_PRIORITY = 12;
const SO_KEEPALIVE = 9;
const PLAIN: SocketSettings = {
  transparent: undefined,
  freebind: undefined,
  tcpFastOpenQueueLength: undefined,
  options: [],
};

function int(fd: number, level: number, name: number): number {
  return new DataView(readOption(fd, level, name, 4).buffer).getInt32(0, true);
}

test("socket options, transparent, freebind and TCP Fast Open are set on the listening socket", async (t) => {
  const options: SocketOptionConfig[] = [
    { level: SOL_SOCKET, name: SO_RCVBUF, value: 40_000, state: "PREBIND" },
    { level: SOL_SOCKET, name: SO_PRIORITY, value: 3, state: "BOUND" },
    { level: SOL_SOCKET, name: SO_KEEPALIVE, value: new Uint8Array([1, 0, 0, 0]), state: "LISTENING" },
  ];
  const socket = { transparent: true, freebind: true, tcpFastOpenQueueLength: 7, options: [options, []] };
  const listener = config(ip("127.0.0.1"), { reusePort: false, socket, additionalAddresses: [ip("::1")] });
  const { set } = await start(t, [listener]);
  const [four, six] = set.bound;
  const fd = four!.descriptor;
  // The kernel doubles what it is told.
  assert.equal(int(fd, SOL_SOCKET, SO_RCVBUF), 80_000);
  assert.equal(int(fd, SOL_SOCKET, SO_PRIORITY), 3);
  assert.equal(int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
  assert.deepEqual([int(fd, 0, 19), int(fd, 0, 15), int(fd, 6, 23)], [1, 1, 7]);
  const sixFd = six!.descriptor;
  assert.deepEqual([int(sixFd, 41, 75), int(sixFd, 41, 78), int(sixFd, 6, 23)], [1, 1, 7]);
  assert.equal(int(sixFd, SOL_SOCKET, SO_PRIORITY), 0);
  assert.equal(await say({ host: "127.0.0.1", port: four!.port }, "hello"), "hello");
  assert.equal(await say({ host: "::1", port: six!.port }, "hello"), "hello");
});

test("freebind listens where there is no such address yet", async (t) => {
  const listener = config(ip("192.0.2.55"), { socket: { ...PLAIN, freebind: true } });
  const { set } = await start(t, [listener]);
  assert.equal(set.bound[0]!.address, `192.0.2.55:${set.bound[0]!.port}`);
});

test("sockets with options share a port as others do, and die with their server", async (t) => {
  const socket = { ...PLAIN, freebind: true };
  const first = await start(t, [config(ip("127.0.0.1"), { socket })]);
  const { port } = first.set.bound[0]!;
  const second = await start(t, [config(ip("127.0.0.1", port), { socket })], undefined, 1);
  for (let n = 0; n < 20; n++) assert.equal(await say({ host: "127.0.0.1", port }, "x"), "x");
  first.set.close();
  second.set.close();
  await assert.rejects(open({ host: "127.0.0.1", port }), /ECONNREFUSED/);
});

test("a refused option or address is told with the listener", async (t) => {
  const option: SocketOptionConfig = { level: 12_345, name: 1, value: 1, state: "BOUND" };
  await assert.rejects(
    start(t, [config(ip("127.0.0.1"), { socket: { ...PLAIN, options: [[option]] } })]),
    (error: unknown) =>
      error instanceof ProxyError &&
      /^BIND_FAILED: listener l: cannot bind 127.0.0.1:0: NATIVE_SOCKETS: setsockopt\(level 12345, name 1, value 1\): E/.test(
        error.message,
      ),
  );
  const { set } = await start(t, [config(ip("127.0.0.1"), { reusePort: false })]);
  const busy = { reusePort: false, socket: { ...PLAIN, freebind: true } };
  await assert.rejects(start(t, [config(ip("127.0.0.1", set.bound[0]!.port), busy)]), /another process listens there/);
});

test("transparent without the capability says what is missing", async (t) => {
  const me = process.geteuid!();
  process.seteuid!(65_534);
  try {
    await assert.rejects(
      start(t, [config(ip("127.0.0.1"), { socket: { ...PLAIN, transparent: true } })]),
      /BIND_FAILED: listener l: .* EPERM .*: transparent listeners .* need CAP_NET_ADMIN/,
    );
  } finally {
    process.seteuid!(me);
  }
});

test("original destinations that nobody knows are an error of the start, not of a connection", async (t) => {
  const platform = Object.getOwnPropertyDescriptor(process, "platform")!;
  Object.defineProperty(process, "platform", { ...platform, value: "darwin" });
  try {
    const filter = { name: "o", disabled: undefined, filter: { kind: "original_dst" } } as const;
    const listener = config(ip("127.0.0.1"), { listenerFilters: [filter] });
    await assert.rejects(start(t, [listener]), /NATIVE_SOCKETS: original destinations are known on Linux only/);
  } finally {
    Object.defineProperty(process, "platform", platform);
  }
});

test("one socket can be shared, and lives as long as one of its owners", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"), { reusePort: false })]);
  const [bound] = set.bound;
  assert.ok(bound!.descriptor >= 0);
  const kept = duplicate(bound!.descriptor);
  // O_CLOEXEC: a program that the proxy starts must not hold the port.
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${kept}`, "utf8"))![1]!;
  assert.equal(Number.parseInt(flags, 8) & 0o2000000, 0o2000000);
  const shared = { "l/0": kept };
  const other = await start(t, [config(ip("127.0.0.1"), { reusePort: false })], undefined, 1, undefined, shared);
  assert.equal(other.set.bound[0]!.port, bound!.port);
  set.close();
  closeDescriptor(kept);
  for (let n = 0; n < 10; n++) assert.equal(await say({ host: "127.0.0.1", port: bound!.port }, "x"), "x");
  other.set.close();
  await assert.rejects(open({ host: "127.0.0.1", port: bound!.port }), /ECONNREFUSED/);
});

test("without a shared socket only worker 0 binds what can be bound once", async (t) => {
  const { set } = await start(t, [config(ip("127.0.0.1"), { reusePort: false })], undefined, 1);
  assert.deepEqual(set.bound, []);
});

test("a connection through a native socket has its options and ends as others do", async (t) => {
  const fd = listenNatively({ ip: "::1", port: 0, backlog: 5, reusePort: false, ipv6Only: true, options: [] });
  const { set } = await start(t, [config(ip("::1"), { reusePort: false })], undefined, 1, undefined, { "l/0": fd });
  closeDescriptor(fd);
  const { port } = set.bound[0]!;
  const who = JSON.parse(await say({ host: "::1", port }, "who"));
  assert.equal(who.localAddress, `[::1]:${port}`);
  const socket = await open({ host: "::1", port });
  socket.write("reset");
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNRESET");
});

test("the configuration of sockets", () => {
  const listener = `transparent: true, freebind: false, tcp_fast_open_queue_length: 5,
    socket_options: [ { level: 1, name: 9, int_value: 1, state: STATE_LISTENING }, { level: 1, name: 8, buf_value: AQI= } ],
    additional_addresses: [ { address: { socket_address: { address: "::1", port_value: 0 } }, socket_options: {} },
      { address: { socket_address: { address: "::1", port_value: 0 } } } ],`;
  const [built] = snapshotOf(bootstrap({ listener })).listeners;
  const own = [
    { level: 1, name: 9, value: 1, state: "LISTENING" },
    { level: 1, name: 8, value: new Uint8Array([1, 2]), state: "PREBIND" },
  ];
  assert.deepEqual(JSON.stringify(built!.socket.options), JSON.stringify([own, [], own]));
  assert.deepEqual(
    [built!.socket.transparent, built!.socket.freebind, built!.socket.tcpFastOpenQueueLength],
    [true, false, 5],
  );
  const { errors } = load(bootstrap({ listener: "socket_options: [ { level: 1, name: 9, int_value: 4294967296 } ]," }));
  assert.match(errors[0]!.message, /must fit into a C int/);
});
