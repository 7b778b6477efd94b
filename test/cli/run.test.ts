import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ask, bootstrap, OK_ROUTE, ProxyProcess, untilRefused } from "./proxy-process.ts";
import { ALL_TO_UP, slowUpstream } from "./slow-upstream.ts";

describe("sluice run", () => {
  test("serves with all workers, and admin tells about them", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), ["--concurrency", "3"]).live();
    for (let n = 0; n < 20; n++) assert.equal((await proxy.get("/")).body, "ok");
    assert.equal((await proxy.get("/ready", proxy.admin)).body, "LIVE\n");
    const { workers } = JSON.parse((await proxy.get("/workers", proxy.admin)).body) as { workers: { state: string }[] };
    assert.deepEqual(
      workers.map((worker) => worker.state),
      ["listening", "listening", "listening"],
    );
    const stats = (await proxy.get("/stats", proxy.admin)).body;
    assert.match(stats, /^http.ingress.downstream_rq_2xx: 20$/m);
    assert.match(stats, /^server.concurrency: 3$/m);
    assert.match(stats, /^server.worker_restarts: 0$/m);
    assert.match(stats, /^listener_manager.workers_started: 1$/m);
    const dump = (await proxy.get("/config_dump?resource=static_listeners", proxy.admin)).body;
    assert.match(dump, /"name": "ingress"/);
  });

  test("SIGTERM stops accepting, lets the stream finish, closes the connection and ends with 0", async () => {
    const { clusters, arrived } = await slowUpstream();
    const args = ["--drain-time-s", "600"];
    const proxy = await new ProxyProcess(bootstrap({ routes: [ALL_TO_UP], clusters }), args).live();
    const answer = proxy.get("/");
    const upstream = await arrived;
    proxy.process.kill("SIGTERM");
    await proxy.printed("SIGTERM: draining for at most 600 s; 1 connection is open");
    await untilRefused(proxy.address);
    upstream.end("late");
    const { status, body, headers } = await answer;
    assert.deepEqual([status, body, headers["connection"]], [200, "late", "close"]);
    assert.equal(await proxy.exited, 0);
    assert.match(proxy.output, /exiting\n$/);
    assert.doesNotMatch(proxy.output, /the drain time is over/);
  });

  test("a stream that does not finish in the drain time is cut off", async () => {
    const { clusters, arrived } = await slowUpstream();
    const proxy = await new ProxyProcess(bootstrap({ routes: [ALL_TO_UP], clusters }), ["--drain-time-s", "0"]).live();
    const cut = assert.rejects(proxy.get("/"), { code: "ECONNRESET" });
    await arrived;
    proxy.process.kill("SIGINT");
    await cut;
    assert.equal(await proxy.exited, 0);
    assert.match(proxy.output, /\[warning\]\[main\] the drain time is over: 1 connection is cut/);
  });

  test("a second signal ends it at once", async () => {
    const { clusters, arrived } = await slowUpstream();
    const proxy = await new ProxyProcess(bootstrap({ routes: [ALL_TO_UP], clusters })).live();
    const cut = assert.rejects(proxy.get("/"));
    await arrived;
    proxy.process.kill("SIGINT");
    await proxy.printed("draining");
    assert.equal((await proxy.get("/ready", proxy.admin)).body, "DRAINING\n");
    // What comes soon is an echo of the first one (signals.test.ts), so it is repeated.
    const again = setInterval(() => proxy.process.kill("SIGTERM"), 50);
    assert.equal(await proxy.exited, 1);
    clearInterval(again);
    await cut;
  });

  test("/quitquitquit ends it with 0", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] })).live();
    assert.equal((await proxy.post("/quitquitquit")).body, "OK\n");
    assert.equal(await proxy.exited, 0);
  });

  test("SIGUSR1 and /reopen_logs open access logs anew, and no debugger", async () => {
    const proxy = new ProxyProcess("", []);
    const log = join(proxy.folder, "access.log");
    const real = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE], accessLog: log }), [
      "--concurrency",
      "1",
    ]).live();
    for (const [turn, reopen] of [
      ["1", () => real.process.kill("SIGUSR1")],
      ["2", () => real.post("/reopen_logs")],
    ] as const) {
      await real.get(`/before-${turn}`);
      renameSync(log, `${log}.${turn}`);
      real.output = "";
      await reopen();
      await real.printed("reopening access logs");
      // Answered by the same worker after it has read the message.
      await real.get("/clusters", real.admin);
      assert.equal(existsSync(log), true);
      await real.get(`/after-${turn}`);
    }
    real.process.kill("SIGTERM");
    await real.exited;
    assert.match(readFileSync(`${log}.1`, "utf8"), /\/before-1 /);
    assert.match(readFileSync(`${log}.2`, "utf8"), /\/after-1 .*\n.*\/before-2 /);
    assert.match(readFileSync(log, "utf8"), /\/after-2 /);
    assert.doesNotMatch(real.output, /Debugger/);
  });

  test("a replaced worker costs at most its own requests, and is back", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), ["--concurrency", "2"]).live();
    let stop = false;
    let answered = 0;
    let lost = 0;
    const load = Array.from({ length: 8 }, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      while (!stop)
        await ask("GET", proxy.address, "/", agent).then(
          () => answered++,
          () => lost++,
        );
      agent.destroy();
    });
    assert.equal((await proxy.post("/workers/replace?index=1")).status, 200);
    await proxy.printed("worker 1 is back");
    const before = answered;
    while (answered < before + 100) await proxy.get("/");
    stop = true;
    await Promise.all(load);
    assert.ok(lost <= 8, `${lost} lost`);
    assert.match((await proxy.get("/stats?filter=worker_restarts", proxy.admin)).body, /server.worker_restarts: 1\n/);
  });

  test("/healthcheck/fail makes responses close their connections, /healthcheck/ok ends that", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), ["--concurrency", "1"]).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    const connection = async (): Promise<unknown> =>
      (await ask("GET", proxy.address, "/", agent)).headers["connection"];
    assert.equal(await connection(), undefined);
    await proxy.post("/healthcheck/fail");
    assert.equal((await proxy.get("/ready", proxy.admin)).status, 503);
    assert.equal(await connection(), "close");
    await proxy.post("/healthcheck/ok");
    assert.equal(await connection(), undefined);
  });

  test("a listener of the drain type MODIFY_ONLY ignores /healthcheck/fail", async () => {
    const text = bootstrap({ routes: [OK_ROUTE] }).replace("- name: ingress\n", "$&      drain_type: MODIFY_ONLY\n");
    const args = ["--concurrency", "1", "--drain-strategy", "immediate"];
    const proxy = await new ProxyProcess(text, args).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    const connection = async (): Promise<unknown> =>
      (await ask("GET", proxy.address, "/", agent)).headers["connection"];
    assert.equal(await connection(), undefined);
    await proxy.post("/healthcheck/fail");
    assert.equal((await proxy.get("/ready", proxy.admin)).status, 503);
    assert.equal(await connection(), undefined);
    await proxy.post("/drain_listeners?graceful");
    assert.equal(await connection(), "close");
  });

  test("/drain_listeners stops accepting and leaves connections alone", async () => {
    const { clusters, arrived } = await slowUpstream();
    const proxy = await new ProxyProcess(bootstrap({ routes: [ALL_TO_UP], clusters })).live();
    const answer = proxy.get("/");
    const upstream = await arrived;
    await proxy.post("/drain_listeners?inboundonly");
    const second = connect(Number(proxy.address.split(":")[1]), "127.0.0.1");
    await once(second, "connect");
    second.destroy();
    await proxy.post("/drain_listeners");
    await proxy.get("/clusters", proxy.admin);
    await untilRefused(proxy.address);
    upstream.end("done");
    assert.equal((await answer).body, "done");
    assert.equal((await proxy.get("/ready", proxy.admin)).body, "LIVE\n");
  });

  test("/drain_listeners?graceful asks downstream to leave, and goes on accepting in the drain time", async () => {
    const args = ["--concurrency", "1", "--drain-strategy", "immediate", "--drain-time-s", "86400"];
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), args).live();
    const connection = async (): Promise<unknown> => (await proxy.get("/", proxy.address)).headers["connection"];
    const keeping = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => keeping.destroy());
    assert.equal((await ask("GET", proxy.address, "/", keeping)).headers["connection"], undefined);
    assert.equal((await proxy.post("/drain_listeners?skip_exit")).status, 400);
    await proxy.post("/drain_listeners?graceful&inboundonly");
    assert.equal((await ask("GET", proxy.address, "/", keeping)).headers["connection"], undefined);
    await proxy.post("/drain_listeners?graceful");
    assert.equal((await ask("GET", proxy.address, "/", keeping)).headers["connection"], "close");
    assert.equal(await connection(), "close");
  });

  test("/drain_listeners?graceful stops accepting when the drain time is over", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), ["--drain-time-s", "1"]).live();
    await proxy.post("/drain_listeners?graceful");
    await untilRefused(proxy.address);
    assert.equal((await proxy.get("/ready", proxy.admin)).body, "LIVE\n");
  });

  test("a gradual drain that has just begun lets most connections live; with skip_exit listening goes on", async () => {
    const args = ["--concurrency", "1", "--drain-time-s", "86400"];
    const text = bootstrap({ routes: [OK_ROUTE] }).replace("- name: ingress\n", "$&      traffic_direction: INBOUND\n");
    const proxy = await new ProxyProcess(text, args).live();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    after(() => agent.destroy());
    await proxy.post("/drain_listeners?graceful&inboundonly&skip_exit");
    let asked = 0;
    for (let turn = 0; turn < 5; turn++)
      if ((await ask("GET", proxy.address, "/", agent)).headers["connection"] === "close") asked++;
    // Within the first minute each does by a chance of less than one in a thousand; four of them, of one in 10^11.
    assert.ok(asked < 4, `${asked} of 5 answers asked to leave`);
    const { body } = await proxy.get("/stats?filter=^http.ingress.downstream_cx_total$", proxy.admin);
    assert.ok(Number(body.split(": ")[1]) <= asked + 1, `${asked} were asked to leave, and ${body}`);
  });

  test("log levels reach the workers", async () => {
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), [
      "--component-log-level",
      "wasm:trace,main:info",
      "-l",
      "warn",
    ]).live();
    assert.equal(
      (await proxy.post("/logging")).body,
      "active loggers:\n  admin: warning\n  listener: warning\n  main: info\n  wasm: trace\n",
    );
    assert.match((await proxy.post("/logging?level=error")).body, /main: error\n  wasm: error\n/);
  });

  test("a unix socket is served although there are two workers", async () => {
    const folder = new ProxyProcess("").folder;
    const path = join(folder, "in.sock");
    const address = `{ pipe: { path: "${path}", mode: 384 } }`;
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE], address }), ["--concurrency", "2"]).live();
    assert.equal(proxy.address, path);
    assert.equal((await proxy.get("/")).body, "ok");
  });

  test("a busy port is a clear error and status 1", async () => {
    const holder = createTcpServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    after(() => holder.close());
    const { port } = holder.address() as AddressInfo;
    const address = `{ socket_address: { address: 127.0.0.1, port_value: ${port} } }`;
    const proxy = new ProxyProcess(bootstrap({ routes: [OK_ROUTE], address }));
    assert.equal(await proxy.exited, 1);
    assert.match(
      proxy.output,
      new RegExp(`cannot start: BIND_FAILED: listener ingress: cannot bind 127.0.0.1:${port}: the address is in use`),
    );
  });

  test("a module that is none is a clear error and status 1", async () => {
    const folder = new ProxyProcess("").folder;
    const module = join(folder, "not.wasm");
    writeFileSync(module, "nonsense");
    const filter = `- { name: w, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: { name: w, vm_config: { code: { local: { filename: "${module}" } } } } } }`;
    const proxy = new ProxyProcess(bootstrap({ routes: [OK_ROUTE], httpFilters: filter }));
    assert.equal(await proxy.exited, 1);
    assert.match(proxy.output, /code.local.filename: not a WebAssembly module/);
  });

  test("a configuration with problems is refused with all of them and status 1", async () => {
    const proxy = new ProxyProcess(
      bootstrap({ routes: ["{ match: { prefix: / }, route: { cluster: nowhere } }"] }).replace(
        "stat_prefix",
        "stat_prefx",
      ),
    );
    assert.equal(await proxy.exited, 1);
    assert.match(proxy.output, /bootstrap.yaml:\d+:\d+: error: .*stat_prefx/);
    assert.match(proxy.output, /unknown cluster 'nowhere'/);
    assert.match(proxy.output, /error initializing configuration '.*bootstrap.yaml': \d errors\n/);
  });

  test("validate and --mode validate bind nothing and say OK", async () => {
    const config = bootstrap({ routes: [OK_ROUTE] });
    const proxy = new ProxyProcess(config, ["--mode", "validate"]);
    assert.equal(await proxy.exited, 0);
    assert.equal(proxy.output, `configuration '${proxy.folder}/bootstrap.yaml' OK\n`);
  });

  test("--config-yaml and --service-* are merged in", async () => {
    const args = [
      "--config-yaml",
      "node: { id: from-text }",
      "--service-node",
      "from-option",
      "--service-cluster",
      "c",
      "--service-zone",
      "z",
    ];
    const proxy = await new ProxyProcess(bootstrap({ routes: [OK_ROUTE] }), args).live();
    const { node } = JSON.parse((await proxy.get("/server_info", proxy.admin)).body) as {
      node: { id: string; cluster: string; locality: object };
    };
    assert.equal(node.cluster, "c");
    assert.deepEqual(node.locality, { region: "", zone: "z", sub_zone: "" });
  });
});
