/** How connections spread over worker threads: a socket for each, one shared, and exact balance. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { bootstrap, OK_ROUTE, ProxyProcess } from "../cli/proxy-process.ts";

const WORKERS = 4;
const BATCH = 1000;
const CONNECTIONS = 4000;
/** Times that a worker is sent away, each twice as long as the one before, until another one must have taken a connection. */
const AWAY = 10;

async function proxy(listener: string): Promise<ProxyProcess> {
  const text = bootstrap({ routes: [OK_ROUTE] }).replace("- name: ingress\n", `- name: ingress\n      ${listener}\n`);
  return new ProxyProcess(text, ["--concurrency", String(WORKERS)]).live();
}

/** Values of `listener.*.worker_N.downstream_cx_<what>`, by worker. */
async function perWorker(proxy_: ProxyProcess, what: "total" | "active"): Promise<number[]> {
  const { body } = await proxy_.get(`/stats?filter=worker_..downstream_cx_${what}`, proxy_.admin);
  return [...body.matchAll(/worker_(\d)\.downstream_cx_\w+: (\d+)/g)]
    .map(([, worker, value]) => [Number(worker), Number(value)] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, value]) => value);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

async function open(address: string, count: number): Promise<Socket[]> {
  const [host, port] = address.split(":") as [string, string];
  const sockets = Array.from({ length: count }, () => connect(Number(port), host));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return sockets;
}

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Opens all connections in batches; `look` sees each batch while it is open. */
async function spread(proxy_: ProxyProcess, look: () => Promise<void> = async () => {}): Promise<number[]> {
  for (let done = 0; done < CONNECTIONS; done += BATCH) {
    const sockets = await open(proxy_.address, BATCH);
    await until(async () => sum(await perWorker(proxy_, "active")) === BATCH);
    await look();
    for (const socket of sockets) socket.resetAndDestroy();
    await until(async () => sum(await perWorker(proxy_, "active")) === 0);
  }
  return perWorker(proxy_, "total");
}

test("a socket for each worker: the kernel spreads connections by chance", async () => {
  const totals = await spread(await proxy(""));
  assert.equal(sum(totals), CONNECTIONS);
  // Four equal shares of 4,000 stray by more than 250, nine standard deviations, once in 10^18 times.
  for (const total of totals) assert.ok(Math.abs(total - CONNECTIONS / WORKERS) < 250, totals.join());
});

test("one socket for all workers: who is awake takes the connection", async () => {
  const shared = await proxy("enable_reuse_port: false");
  const totals = await spread(shared);
  assert.equal(sum(totals), CONNECTIONS);
  // The system may wake the same one each time: while it is away the others take them.
  let most = await perWorker(shared, "total");
  for (let away = 0; most.filter((total) => total > 0).length < 2; away++) {
    const index = most.findIndex((total) => total > 0);
    const from = shared.output.length;
    assert.equal((await shared.post(`/workers/replace?index=${index}`)).status, 200);
    await shared.printed(`worker ${index} is gone`, from);
    assert.equal((await shared.get("/")).body, "ok");
    most = await perWorker(shared, "total");
    await shared.printed(`worker ${index} is back`, from);
    assert.ok(away < AWAY, "nobody else takes a connection");
  }
});

for (const [what, more, pipe] of [
  ["an address", "enable_reuse_port: false", false],
  ["a unix socket", "", true],
] as const) {
  test(`${what} that can be bound once is served on while the worker that bound it is away`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    after(() => rmSync(folder, { recursive: true }));
    const address = `{ pipe: { path: "${join(folder, "s")}" } }`;
    const text = bootstrap({ routes: [OK_ROUTE], ...(pipe ? { address } : {}) });
    const config = text.replace("- name: ingress\n", `$&      ${more}\n`);
    const shared = await new ProxyProcess(config, ["--concurrency", "2"]).live();
    // Each time it is away for longer, until enough has been asked meanwhile.
    for (let answers = 0; answers < 2;) {
      const from = shared.output.length;
      assert.equal((await shared.post("/workers/replace?index=0")).status, 200);
      // What it has accepted ends with it; what comes from then on is the other's.
      await shared.printed("worker 0 is gone", from);
      for (answers = 0; !shared.output.includes("worker 0 is back", from); answers++)
        assert.equal((await shared.get("/")).body, "ok");
    }
    for (let n = 0; n < 20; n++) assert.equal((await shared.get("/")).body, "ok");
    shared.process.kill("SIGTERM");
    assert.equal(await shared.exited, 0);
    assert.equal(existsSync(join(folder, "s")), false);
  });
}

test("exact balance: every worker has as many connections as the others", async () => {
  const balanced = await proxy("connection_balance_config: { exact_balance: {} }");
  const totals = await spread(balanced, async () => {
    assert.deepEqual(await perWorker(balanced, "active"), Array(WORKERS).fill(BATCH / WORKERS));
  });
  assert.equal(sum(totals), CONNECTIONS);
  // Connections are real ones wherever they end up.
  const answers = await Promise.all(Array.from({ length: 40 }, () => balanced.get("/")));
  assert.ok(answers.every(({ status, body }) => status === 200 && body === "ok"));
  // A worker that is lost takes nothing with it but its own connections; afterwards all have their share again.
  await until(async () => sum(await perWorker(balanced, "active")) === 0);
  const kept = await open(balanced.address, 40);
  for (const socket of kept) socket.on("error", () => {}).resume();
  await until(async () => sum(await perWorker(balanced, "active")) === 40);
  assert.deepEqual(await perWorker(balanced, "active"), [10, 10, 10, 10]);
  assert.equal((await balanced.post("/workers/replace?index=1")).status, 200);
  await balanced.printed("worker 1 is back");
  await open(balanced.address, 40);
  await until(async () => sum(await perWorker(balanced, "active")) === 70);
  const active = await perWorker(balanced, "active");
  assert.ok(Math.max(...active) - Math.min(...active) <= 1, active.join());
});

test("exact balance that a reload brings", async () => {
  const running = await proxy("");
  const text = readFileSync(join(running.folder, "bootstrap.yaml"), "utf8");
  const balance = "connection_balance_config: { exact_balance: {} }";
  writeFileSync(
    join(running.folder, "bootstrap.yaml"),
    text.replace("- name: ingress\n", `- name: ingress\n      ${balance}\n`),
  );
  const reload = await running.post("/reload");
  assert.equal(reload.status, 200, reload.body);
  // Port 0 and another balance: the listener's socket goes on.
  const sockets = await open(running.address, 400);
  for (const socket of sockets) socket.on("error", () => {}).resume();
  await until(async () => sum(await perWorker(running, "active")) === 400);
  assert.deepEqual(await perWorker(running, "active"), Array(WORKERS).fill(400 / WORKERS));
});
