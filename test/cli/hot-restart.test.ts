import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent } from "node:http";
import { connect as http2Connect } from "node:http2";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Predecessor } from "../../runtime/control/predecessor.ts";
import { ask, bootstrap, OK_ROUTE, ProxyProcess } from "./proxy-process.ts";
import { Row, steadyLoad } from "./restart-row.ts";
import { ALL_TO_UP, slowUpstream } from "./slow-upstream.ts";

const STEADY = bootstrap({ routes: [OK_ROUTE] });
/** Requests that a process has answered when it is under load. */
const LOADED = 250;

/** Resolves when the process has answered so many requests. */
async function answers(proxy: ProxyProcess, count: number): Promise<void> {
  for (;;) {
    const { body } = await proxy.get("/stats?filter=^http.ingress.downstream_rq_2xx$", proxy.admin);
    if (Number(body.split(": ")[1] ?? 0) >= count) return;
    await sleep(10);
  }
}

describe("hot restart", () => {
  test("under load, over several restarts with more and fewer workers, no request fails", async () => {
    const row = new Row();
    let current = await row.next(STEADY, "--concurrency", "2").live();
    const { address } = current;
    const running = steadyLoad(address);
    await answers(current, LOADED);
    for (const workers of ["3", "1", "2"]) {
      const before = current;
      current = await row.next(STEADY, "--concurrency", workers).live();
      await answers(current, LOADED);
      assert.equal(current.address, address, "the port is the same, although the system had chosen it");
      assert.equal(await before.exited, 0, before.output);
      assert.match(before.output, /hot restart, and no connection is left/);
    }
    running.end();
    const { requests, errors } = await running.result;
    assert.equal(errors, 0);
    assert.ok(requests >= 4 * LOADED, `${requests} requests`);
  });

  test("a stream under way finishes on the old process while the new one answers", async () => {
    const { clusters, arrived } = await slowUpstream();
    const row = new Row();
    const old = await row.next(bootstrap({ routes: [ALL_TO_UP], clusters })).live();
    const answer = old.get("/");
    const upstream = await arrived;
    const successor = await row.next(STEADY).live();
    assert.equal((await successor.get("/")).body, "ok");
    await old.printed("the next process accepts; draining");
    assert.equal(old.process.exitCode, null);
    // Past the drain time every answer asks downstream to leave.
    const past = performance.now() + 1000;
    while (performance.now() < past) await successor.get("/");
    upstream.end("late");
    const { status, body, headers } = await answer;
    assert.deepEqual([status, body, headers["connection"]], [200, "late", "close"]);
    assert.equal(await old.exited, 0);
    await successor.printed("the process before has ended");
    assert.equal((await successor.get("/hot_restart_version", successor.admin)).body, "1\n");
    const { body: stats } = await successor.get("/stats?filter=hot_restart", successor.admin);
    assert.equal(stats, "server.hot_restart_epoch: 1\n");
    // Whole seconds: those of the whole row are ahead for as much of each second as the first process was there before.
    for (let ahead = false; !ahead;) {
      const info = JSON.parse((await successor.get("/server_info", successor.admin)).body) as Record<string, string>;
      const [all, current] = [info["uptime_all_epochs"]!, info["uptime_current_epoch"]!].map((text) =>
        parseInt(text, 10),
      );
      assert.ok(all! >= current!);
      ahead = all! > current!;
    }
  });

  test("connections that do not end are ended after the parent's time", async () => {
    const row = new Row("--parent-shutdown-time-s", "1");
    const old = await row.next(STEADY).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    await ask("GET", old.address, "/", agent);
    await row.next(STEADY).live();
    assert.equal(await old.exited, 0);
    assert.match(old.output, /hot restart, and the time for connections is over/);
  });

  test("while the new process cannot start the old one goes on, with its admin interface; a later one takes over", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    after(() => holder.close());
    const { port } = holder.address() as AddressInfo;
    const row = new Row();
    const old = await row.next(STEADY, "--concurrency", "2").live();
    const running = steadyLoad(old.address);
    const busy = `additional_addresses: [{ address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }]`;
    const failing = row.next(STEADY.replace("- name: ingress\n", `$&      ${busy}\n`), "--concurrency", "2");
    assert.equal(await failing.exited, 1);
    assert.match(failing.output, /cannot start: BIND_FAILED: listener ingress: cannot bind 127.0.0.1:\d+: the address/);
    await old.printed("the process that was to take over is gone: this one goes on serving");
    assert.equal((await old.get("/ready", old.admin)).body, "LIVE\n");
    row.epoch--;
    const successor = await row.next(STEADY).live();
    assert.equal(await old.exited, 0);
    running.end();
    assert.equal((await running.result).errors, 0);
    assert.equal(successor.address, old.address);
    assert.equal(successor.admin, old.admin);
  });

  for (const [name, sketch, more] of [
    ["one socket for all workers", {}, "enable_reuse_port: false"],
    ["exact balance", {}, "connection_balance_config: { exact_balance: {} }"],
  ] as const) {
    test(`${name}: no request fails`, async () => {
      const row = new Row();
      const config = bootstrap({ routes: [OK_ROUTE], ...sketch }).replace("- name: ingress\n", `$&      ${more}\n`);
      const old = await row.next(config, "--concurrency", "2").live();
      const running = steadyLoad(old.address);
      const successor = await row.next(config, "--concurrency", "2").live();
      assert.equal(await old.exited, 0);
      running.end();
      assert.equal((await running.result).errors, 0);
      assert.equal(successor.address, old.address);
      assert.equal((await successor.get("/")).body, "ok");
    });
  }

  test("HTTP/2: connections are told to go, and no stream fails", async () => {
    const row = new Row();
    const old = await row.next(STEADY).live();
    let over = false;
    let answered = 0;
    let connections = 0;
    /** Streams one after the other, on a new connection after each GOAWAY. */
    const streams = async (): Promise<void> => {
      while (!over) {
        const session = http2Connect(`http://${old.address}`);
        connections++;
        let going = false;
        session.on("goaway", () => (going = true));
        while (!over && !going) {
          const stream = session.request({ ":path": "/" }).resume();
          await once(stream, "end");
          answered++;
        }
        session.close();
      }
    };
    const downstreams = Array.from({ length: 8 }, streams);
    await row.next(STEADY).live();
    assert.equal(await old.exited, 0);
    // Each has heard that it is to go, and goes on with the next process.
    const before = answered;
    while (connections < 2 * downstreams.length || answered < before + 10 * downstreams.length) await sleep(5);
    over = true;
    await Promise.all(downstreams);
  });

  test("a unix socket keeps its file", async () => {
    const row = new Row();
    const path = join(new ProxyProcess("").folder, "in.sock");
    const config = bootstrap({ routes: [OK_ROUTE], address: `{ pipe: { path: "${path}" } }` });
    const old = await row.next(config, "--concurrency", "2").live();
    const successor = await row.next(config, "--concurrency", "2").live();
    assert.equal(await old.exited, 0);
    assert.equal(successor.address, path);
    assert.equal((await successor.get("/")).body, "ok");
  });

  test("a place in the row that is taken, and a process before that is none, are clear errors", async () => {
    const row = new Row();
    const first = await row.next(STEADY).live();
    row.epoch--;
    const twin = row.next(STEADY);
    assert.equal(await twin.exited, 1);
    assert.match(twin.output, /HOT_RESTART: a process with base id \d+ and restart epoch 0 runs already/);
    row.epoch = 6;
    const lost = row.next(STEADY);
    assert.equal(await lost.exited, 1);
    assert.match(
      lost.output,
      /HOT_RESTART: cannot take over from .* restart epoch 6: there is none; epoch 0 runs, from which --restart-epoch 1 takes over/,
    );
    assert.equal((await first.get("/")).body, "ok");
    const alone = await new ProxyProcess(STEADY, ["--restart-epoch", "6", "--disable-hot-restart"]).live();
    assert.equal((await alone.get("/hot_restart_version", alone.admin)).body, "disabled\n");
  });

  test("what is handed over is the sockets themselves: connections wait in them though their process is gone", async () => {
    const row = new Row();
    const proxy = await row.next(STEADY, "--concurrency", "3").live();
    const { sockets } = Predecessor.take({ baseId: row.baseId, epoch: 1, parentShutdownMs: 0, trialMs: 0 })!;
    assert.equal(sockets.length, 3);
    proxy.process.kill("SIGKILL");
    await proxy.exited;
    const answers = Array.from({ length: 30 }, () => ask("GET", proxy.address, "/"));
    for (const { descriptor } of sockets) {
      const server = createServer((socket) => socket.end("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nheir"));
      server.listen({ fd: descriptor });
      after(() => server.close());
    }
    for (const { body } of await Promise.all(answers)) assert.equal(body, "heir");
  });

  test("another user gets no sockets, nonsense changes nothing", async () => {
    const row = new Row();
    const proxy = await row.next(STEADY).live();
    const { baseId } = row;
    const place = { baseId, epoch: 1, parentShutdownMs: 0, trialMs: 0 };
    const me = process.geteuid!();
    process.seteuid!(65_534);
    try {
      assert.throws(() => Predecessor.take(place), {
        code: "HOT_RESTART",
        message: /it belongs to user 0, and this one to user 65534/,
      });
    } finally {
      process.seteuid!(me);
    }
    await proxy.printed("user 65534 asked for listening sockets, which user 0 does not give away");
    for (const words of ["nonsense\n", "x".repeat(5000), "\n\n\n"]) {
      const socket = connect(`\0sluice_domain_socket_${baseId}_0`);
      socket.on("error", () => {});
      socket.end(words);
      socket.resume();
      await once(socket, "close");
    }
    assert.equal((await proxy.get("/")).body, "ok");
    const taken = Predecessor.take(place)!;
    assert.equal(taken.sockets.length > 0, true);
    assert.throws(() => Predecessor.take(place), /another process is taking over from it already/);
  });
});
