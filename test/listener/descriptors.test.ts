/** A process that may open no more files: connections are turned away or wait, and are served again when there is room. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bootstrap, OK_ROUTE, ProxyProcess } from "../cli/proxy-process.ts";

/** What a process of two workers needs is about forty. */
const FILES = 160;
/** So many it may have left when it is full. */
const SPARE = 4;
const CONNECTIONS = 300;

for (const [name, more] of [
  ["a socket for each worker", ""],
  ["exact balance, which needs descriptors to hand over", "connection_balance_config: { exact_balance: {} }"],
] as const) {
  test(`${name}: without descriptors connections are closed or wait, and nothing else happens`, async (t) => {
    const config = bootstrap({ routes: [OK_ROUTE] }).replace("- name: ingress\n", `$&      ${more}\n`);
    const proxy = await new ProxyProcess(config, ["--concurrency", "2"], ["prlimit", `--nofile=${FILES}`]).live();
    const [host, port] = proxy.address.split(":") as [string, string];
    const sockets = Array.from({ length: CONNECTIONS }, () => connect(Number(port), host).resume());
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    for (const socket of sockets) socket.on("error", () => {});
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => socket.once("connect", () => resolve()).once("close", () => resolve())),
      ),
    );
    // More than it can have: the others are closed, or wait in the queue. It can be asked nothing meanwhile.
    while (readdirSync(`/proc/${proxy.process.pid}/fd`).length < FILES - SPARE) await sleep(20);
    for (const socket of sockets) socket.destroy();
    for (let served = 0; served < 10;) {
      const answer = await proxy.get("/").catch(() => null);
      if (answer !== null) {
        assert.equal(answer.body, "ok");
        served++;
      }
    }
    for (let left = Infinity; left > 1; await sleep(20)) {
      const { body } = await proxy.get("/stats?filter=worker_restarts|listener.*[^a]downstream_cx_active", proxy.admin);
      assert.match(body, /server\.worker_restarts: 0/);
      left = Number(/\.downstream_cx_active: (\d+)\n/.exec(body)![1]);
    }
  });
}
