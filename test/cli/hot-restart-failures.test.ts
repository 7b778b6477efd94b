/** Hot restart when a process dies, hangs or is none, at each step: whoever can serves on, and says why. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { after, describe, test } from "node:test";
import { socketName } from "../../runtime/control/hand-over-protocol.ts";
import { ask, bootstrap, OK_ROUTE } from "./proxy-process.ts";
import type { ProxyProcess } from "./proxy-process.ts";
import { Row } from "./restart-row.ts";
import { ALL_TO_UP, slowUpstream } from "./slow-upstream.ts";

const STEADY = bootstrap({ routes: [OK_ROUTE] });
/** Long enough for whatever a test does meanwhile. */
const TRIAL = ["--restart-trial-s", "86000"];

/** Whoever is taken over from, as the test plays it. */
async function playPredecessor(row: Row, play: (socket: Socket, leave: () => void) => void): Promise<void> {
  const sockets = new Set<Socket>();
  // Its door goes with it.
  const leave = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => socket.destroy()));
    socket.once("data", () => play(socket, leave));
  });
  server.listen(socketName(row.baseId, 0));
  await once(server, "listening");
  after(leave);
  row.epoch = 0;
}

function frame(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, Buffer.from(text)]);
}

const LENDING = { refused: "", admin: null, adminLent: false, sockets: [{ key: "shared 127.0.0.1 false 1", port: 1 }] };

async function serves(proxy: ProxyProcess, address = proxy.address): Promise<void> {
  for (let n = 0; n < 20; n++) assert.equal((await ask("GET", address, "/")).body, "ok");
}

describe("the process that is taken over from", () => {
  test("is not there, and nobody else of the row: the new one starts without", async () => {
    const row = new Row();
    row.epoch = 4;
    const proxy = await row.next(STEADY).live();
    assert.match(proxy.output, /no process with base id \d+ is there to take over from: this one starts without/);
    await serves(proxy);
    // And is one of the row as any other.
    const successor = await row.next(STEADY).live();
    assert.equal(await proxy.exited, 0);
    assert.equal(successor.address, proxy.address);
  });

  const told = frame(JSON.stringify({ ...LENDING, version: 1 }));
  for (const [when, play] of [
    ["before it has answered", (_socket: Socket, leave: () => void) => leave()],
    ["amid its answer", (socket: Socket, leave: () => void) => socket.write(told.subarray(0, 9), leave)],
    ["after it has told what it lends", (socket: Socket, leave: () => void) => socket.once("data", leave).write(told)],
  ] as const)
    test(`ends ${when}: the new one starts without`, async () => {
      const row = new Row();
      await playPredecessor(row, play);
      const proxy = await row.next(STEADY).live();
      assert.match(proxy.output, /is there to take over from: this one starts without/);
      await serves(proxy);
    });

  test("ends while the new one starts: that goes on with its sockets", async () => {
    const row = new Row();
    const old = await row.next(STEADY).live();
    const proxy = row.next(STEADY);
    await proxy.printed("listening sockets of epoch 0");
    old.process.kill("SIGKILL");
    await proxy.live();
    assert.equal(proxy.address, old.address);
    await serves(proxy);
  });

  test("ends while the new one is on trial: that takes over at once", async () => {
    const row = new Row();
    const old = await row.next(STEADY).live();
    const proxy = row.next(STEADY, ...TRIAL);
    await proxy.printed("serving on trial beside epoch 0, for 86000 s");
    old.process.kill("SIGKILL");
    await proxy.live();
    assert.match(proxy.output, /the process before ended by itself/);
    assert.equal(proxy.admin, old.admin);
    await serves(proxy);
  });

  for (const [what, answer, complaint] of [
    [
      "speaks another version",
      frame(JSON.stringify({ ...LENDING, version: 99 })),
      /it speaks version 99 of hot restart, and this one version 1/,
    ],
    ["has no version", frame("{}"), /it speaks version undefined of hot restart/],
    ["talks nonsense", frame("nonsense"), /its answer cannot be read/],
    [
      "threatens with more than there is room for",
      Buffer.from([0x7f, 0, 0, 0]),
      /its answer of 2130706432 bytes is too long/,
    ],
    ["hangs", Buffer.alloc(0), /it has not answered for 5 s/],
    ["hangs up, but is there", null, /recv: the other side has closed/],
  ] as const)
    test(`${what}: the new one leaves it alone`, async () => {
      const row = new Row();
      await playPredecessor(row, (socket) => (answer === null ? socket.end() : socket.write(answer)));
      const proxy = row.next(STEADY);
      assert.equal(await proxy.exited, 1);
      assert.match(
        proxy.output,
        /\[critical\]\[main\] cannot start: HOT_RESTART: cannot take over from .* epoch 0, which goes on: /,
      );
      assert.match(proxy.output, complaint);
    });
});

test("what another user has put in the place of a process is neither taken from nor disturbed", async () => {
  const row = new Row();
  const door = `require("net").createServer(() => {}).listen(${JSON.stringify(socketName(row.baseId, 0))}, () => console.log("ready"))`;
  const [program, ...args] = ["setpriv", "--reuid=65534", "--clear-groups", process.execPath, "-e", door];
  const stranger = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  after(() => stranger.kill("SIGKILL"));
  await once(stranger.stdout, "data");
  row.epoch = 0;
  const proxy = row.next(STEADY);
  assert.equal(await proxy.exited, 1);
  assert.match(proxy.output, /it belongs to user 65534, and this one to user 0/);
  row.epoch = -1;
  const first = row.next(STEADY);
  assert.equal(await first.exited, 1);
  assert.match(
    first.output,
    /a process with base id \d+ and restart epoch 0 runs already: give this one another --base-id/,
  );
});

describe("the process that takes over", () => {
  test("ends at each step before it has: the old one goes on, and is taken over from later", async () => {
    const row = new Row();
    const old = await row.next(STEADY, "--concurrency", "2").live();
    const GONE = "is gone: this one goes on serving";
    // It connects and ends; asks and ends; has some of the answer.
    for (const steps of [[], ["take\n"], ["take\n", "\n"]]) {
      const from = old.output.length;
      const socket = connect(socketName(row.baseId, 0));
      await once(socket, "connect");
      for (const step of steps) {
        socket.write(step);
        await once(socket, "data");
      }
      socket.destroy();
      await old.printed(GONE, from);
      await serves(old);
    }
    const before = old.output.length;
    // It serves on trial, too, and is killed.
    const failing = row.next(STEADY, ...TRIAL);
    await failing.printed("serving on trial beside epoch 0");
    failing.process.kill("SIGKILL");
    await failing.exited;
    await old.printed(GONE, before);
    await serves(old);
    assert.equal((await old.get("/ready", old.admin)).body, "LIVE\n");
    row.epoch--;
    const successor = await row.next(STEADY).live();
    assert.equal(await old.exited, 0);
    assert.equal(successor.address, old.address);
    await serves(successor);
  });

  test("is told to end on trial: what it has accepted finishes, and the old one goes on", async () => {
    const { clusters, arrived } = await slowUpstream();
    // Time enough to finish.
    const row = new Row("--drain-time-s", "600");
    const old = await row.next(STEADY).live();
    const onTrial = row.next(bootstrap({ routes: [ALL_TO_UP], clusters }), ...TRIAL, "--drain-time-s", "600");
    await onTrial.printed("serving on trial beside epoch 0");
    // Both accept: sooner or later one is the new one's.
    let late: ReturnType<typeof ask> | null = null;
    for (let busy = false; !busy;) {
      const answer = ask("GET", old.address, "/");
      const first = await Promise.race([answer, arrived]);
      busy = "end" in first;
      if (busy) late = answer;
    }
    onTrial.process.kill("SIGTERM");
    await onTrial.printed("SIGTERM before the start was over");
    (await arrived).end("late");
    assert.equal((await late!).body, "late");
    assert.equal(await onTrial.exited, 0);
    await old.printed("is gone: this one goes on serving");
    await serves(old);
  });

  test("loses a worker on trial: it gives up, and the old one goes on", async () => {
    const row = new Row();
    const old = await row.next(STEADY).live();
    const own = STEADY.replace(
      /^admin: .*$/m,
      "admin: { address: { socket_address: { address: 127.0.0.2, port_value: 0 } } }",
    );
    const onTrial = row.next(own, ...TRIAL);
    await onTrial.printed("serving on trial beside epoch 0");
    const admin = /admin on (\S+)/.exec(onTrial.output)![1]!;
    await ask("POST", admin, "/workers/replace?index=0");
    assert.equal(await onTrial.exited, 1);
    assert.match(onTrial.output, /cannot start: HOT_RESTART: a worker was lost on trial: epoch 0 goes on/);
    await serves(old);
  });

  test("ends once it has taken over, while the old one drains: that says so, and the next one starts", async () => {
    const { clusters, arrived } = await slowUpstream();
    const row = new Row();
    const old = await row.next(bootstrap({ routes: [ALL_TO_UP], clusters })).live();
    const answer = old.get("/");
    const upstream = await arrived;
    const ending = await row.next(STEADY).live();
    ending.process.kill("SIGKILL");
    await old.printed(
      "the process that took over has ended, and this one finishes its connections only: nobody serves",
    );
    row.epoch--;
    const next = await row.next(STEADY).live();
    assert.match(next.output, /this one starts without/);
    await serves(next);
    upstream.end("late");
    assert.equal((await answer).body, "late");
    assert.equal(await old.exited, 0);
  });

  test("is taken over from before it is live, or taken for another one: neither disturbs", async () => {
    const row = new Row();
    const old = await row.next(STEADY).live();
    const onTrial = row.next(STEADY, ...TRIAL);
    await onTrial.printed("serving on trial beside epoch 0");
    const third = row.next(STEADY);
    assert.equal(await third.exited, 1);
    assert.match(third.output, /cannot take over from .* epoch 1, which goes on: .*it does not serve yet/);
    row.epoch = 0;
    const twin = row.next(STEADY);
    assert.equal(await twin.exited, 1);
    assert.match(twin.output, /a process with base id \d+ and restart epoch 1 runs already/);
    await serves(old);
    assert.equal(onTrial.process.exitCode, null);
  });
});
