/** The whole process with real peers: Redis behind tcp_proxy on two workers, guarded by rbac, its log, and its drain. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { until } from "../listener/chain.ts";
import { closed } from "../listener/fixture.ts";
import { recorded } from "./proxied.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "sluice-redis-"));
const NETWORK = "type.googleapis.com/envoy.extensions.filters.network";

function config(): string {
  return `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: redis
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: rbac
        typed_config:
          "@type": ${NETWORK}.rbac.v3.RBAC
          stat_prefix: redis.
          rules: { policies: { local: { permissions: [{ any: true }], principals: [{ direct_remote_ip: { address_prefix: 127.0.0.1, prefix_len: 32 } }] } } }
      - name: limit
        typed_config: { "@type": ${NETWORK}.connection_limit.v3.ConnectionLimit, stat_prefix: redis, max_connections: 1000 }
      - name: tcp
        typed_config:
          "@type": ${NETWORK}.tcp_proxy.v3.TcpProxy
          stat_prefix: redis
          cluster: redis
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: ${join(folder, "access.log")}
              log_format: { text_format_source: { inline_string: "%UPSTREAM_CLUSTER% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS%\\n" } }
  clusters:
  - name: redis
    load_assignment:
      cluster_name: redis
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "${join(folder, "redis.sock")}" } } } } ] } ]
`;
}

const options = ["--port", "0", "--unixsocket", join(folder, "redis.sock"), "--save", ""];
const redis = spawn("redis-server", [...options, "--dir", folder], { stdio: ["ignore", "pipe", "inherit"] });
let printed = "";
redis.stdout.on("data", (data) => (printed += String(data)));
after(async () => {
  redis.kill();
  await once(redis, "close");
  rmSync(folder, { recursive: true });
});

await until(() => /ready to accept connections.*(unix|sock)/i.test(printed), "redis-server is ready");
const start = (drainSeconds: string): Promise<ProxyProcess> =>
  new ProxyProcess(config(), ["--concurrency", "2", "--drain-time-s", drainSeconds]).live();
const proxy = await start("3600");

const proxyPort = (of = proxy): string => of.address.slice(of.address.lastIndexOf(":") + 1);

async function stat(name: string): Promise<number> {
  const { body } = await proxy.get(`/stats?filter=^${name.replaceAll(".", "\\.")}$`, proxy.admin);
  return Number(body.trim().split(": ")[1]);
}

test("redis-benchmark runs through the proxy, and nothing is left of it", async () => {
  const { stdout } = await run("redis-benchmark", [
    ..."-q -t set,get,lrange_100 -n 5000 -c 40 -P 8 -p".split(" "),
    proxyPort(),
  ]);
  assert.match(stdout, /SET: [\d.]+ requests per second/);
  assert.doesNotMatch(stdout, /rror/);
  const total = await stat("tcp.redis.downstream_cx_total");
  assert.ok(total >= 120, `${total} connections`);
  assert.equal(await stat("cluster.redis.upstream_cx_total"), total);
  assert.ok((await stat("redis.rbac.allowed")) >= 120);
  for (const name of ["cluster.redis.upstream_cx_active", "connection_limit.redis.active_connections"])
    for (let left = -1; left !== 0; await sleep(5)) left = await stat(name);
});

test("redis-cli asks through the proxy; the log tells of it", async () => {
  await run("redis-cli", ["-p", proxyPort(), "set", "word", "x".repeat(10_000)]);
  const { stdout } = await run("redis-cli", ["-p", proxyPort(), "get", "word"]);
  assert.equal(stdout.trim(), "x".repeat(10_000));
  const socket = join(folder, "redis.sock");
  await recorded(proxy, join(folder, "access.log"), (line) => /^redis \S+ \d+ 100\d\d -$/.test(line));
  const lines = readFileSync(join(folder, "access.log"), "utf8").trim().split("\n");
  for (const line of lines) assert.ok(line.startsWith(`redis ${socket} `), line);
});

async function ping(peer: Socket): Promise<void> {
  peer.write("PING\r\n");
  const [pong] = (await once(peer, "data")) as [Buffer];
  assert.equal(pong.toString(), "+PONG\r\n");
}

test("SIGTERM: connections live on until they end, or the drain time is over", async () => {
  const peer = connect(Number(proxyPort()), "127.0.0.1");
  await ping(peer);
  proxy.process.kill("SIGTERM");
  await proxy.printed("drain");
  await ping(peer);
  peer.end();
  assert.equal(await proxy.exited, 0);

  const hasty = await start("1");
  const lasting = connect(Number(proxyPort(hasty)), "127.0.0.1");
  await ping(lasting);
  hasty.process.kill("SIGTERM");
  await closed(lasting);
  assert.equal(await hasty.exited, 0);
});
