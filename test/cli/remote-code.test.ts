/** A plugin whose module is fetched: before anything listens, from the cache without a network, and under its failure policy without code. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, test } from "node:test";
import { sha256Of } from "../../runtime/artifact/digest-cache.ts";
import { freePort } from "../bench/processes.ts";
import { assemble } from "../wasm/puppet.ts";
import { bootstrap, OK_ROUTE, ProxyProcess } from "./proxy-process.ts";

const MARK = assemble(`(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-mark")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 16) (i32.const 6) (i32.const 16) (i32.const 6))) (i32.const 0)))`);
const SHA = sha256Of(MARK);
const root = mkdtempSync(join(tmpdir(), "sluice-remote-"));
after(() => rmSync(root, { recursive: true }));
let caches = 0;

const type = (name: string): string => `"@type": type.googleapis.com/${name}`;

interface Wanted {
  readonly port: number;
  readonly sha256?: string;
  readonly policy?: string;
  readonly vm?: string;
  readonly cache?: string;
  /** When what could not be had is tried for again. */
  readonly later?: string;
}

function configured({ port, sha256 = SHA, policy = "FAIL_CLOSED", vm = "", cache, later }: Wanted): string {
  const http = `http_uri: { uri: "http://modules.test/mark.wasm", cluster: modules, timeout: 60s }`;
  const most = later === undefined ? "" : `, max_interval: ${later}`;
  const retry = `retry_policy: { num_retries: 1, retry_back_off: { base_interval: 0.01s${most} } }`;
  const code = `code: { remote: { ${http}, sha256: "${sha256}", ${retry} } }`;
  const config = `{ name: mark, failure_policy: ${policy}, vm_config: { ${vm} ${code} } }`;
  const endpoint = `{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }`;
  const base = bootstrap({
    routes: [OK_ROUTE],
    httpFilters: `- { name: mark, typed_config: { ${type("envoy.extensions.filters.http.wasm.v3.Wasm")}, config: ${config} } }`,
    clusters: `[{ name: modules, load_assignment: { cluster_name: modules, endpoints: [{ lb_endpoints: [${endpoint}] }] } }]`,
  });
  const path = cache ?? join(root, String(++caches));
  return `${base}
bootstrap_extensions:
- { name: wasm, typed_config: { ${type("sluice.v1.WasmRuntime")}, code_cache: { path: "${path}" } } }
`;
}

function proxy(wanted: Wanted): ProxyProcess {
  return new ProxyProcess(configured(wanted), ["--concurrency", "1"]);
}

interface Registry {
  readonly port: number;
  readonly requests: string[];
  close(): void;
}

/** Serves the module under its path, and notes the Host of each request. */
async function registry(): Promise<Registry> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.headers.host} ${request.url}`);
    response.end(MARK);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  after(close);
  return { port: (server.address() as AddressInfo).port, requests, close };
}

test("the module is there when the first request comes, and at the next start the network need not be", async () => {
  const { port, requests, close } = await registry();
  const cache = join(root, "kept");
  const first = await proxy({ port, cache }).live();
  assert.equal((await first.get("/")).headers["x-mark"], "x-mark");
  assert.deepEqual(requests, ["modules.test /mark.wasm"]);
  assert.deepEqual(readdirSync(cache), [SHA]);
  const stats = (await first.get("/stats?filter=remote_load&usedonly", first.admin)).body;
  assert.match(stats, /wasm\.remote_load_cache_misses: 1\nwasm\.remote_load_fetch_successes: 1\n/);
  assert.match((await first.get("/wasm", first.admin)).body, new RegExp(`mark::sha256::${SHA}\nmark::source::http://modules\\.test/mark\\.wasm\n`)); // prettier-ignore
  close();
  const second = await proxy({ port, cache, vm: "nack_on_code_cache_miss: true," }).live();
  assert.equal((await second.get("/")).headers["x-mark"], "x-mark");
});

test("without its code the plugin's failure policy holds, and the log says why", async () => {
  const port = await freePort();
  const closed = await proxy({ port, later: "3600s" }).live();
  assert.equal((await closed.get("/")).status, 503);
  assert.match(closed.output, /plugin mark has no code, its streams get FAIL_CLOSED: .*ECONNREFUSED/);
  const stats = (await closed.get("/stats?filter=remote_load_fetch", closed.admin)).body;
  assert.match(stats, /wasm\.remote_load_fetch_failures: 2\n/);
  const open = await proxy({ port, policy: "FAIL_OPEN" }).live();
  const answer = await open.get("/");
  assert.deepEqual([answer.status, answer.headers["x-mark"]], [200, undefined]);
});

test("code that comes late is taken in while traffic flows", async () => {
  const port = await freePort();
  const late = await proxy({ port, policy: "FAIL_OPEN" }).live();
  assert.equal((await late.get("/")).headers["x-mark"], undefined);
  const server = createServer((_request, response) => response.end(MARK)).listen(port, "127.0.0.1");
  after(() => (server.close(), server.closeAllConnections()));
  await late.printed(`sha256 ${SHA}`);
  while ((await late.get("/")).headers["x-mark"] === undefined) await sleep(20);
  const page = (await late.get("/wasm", late.admin)).body;
  assert.match(page, /^mark::version_number::2$/m);
  // There is nothing that could be brought back.
  assert.doesNotMatch(page, /previous_version|version_1/);
});

test("SIGTERM ends a start that waits for code", async () => {
  const asked = Promise.withResolvers<void>();
  const server = createServer(() => asked.resolve()).listen(0, "127.0.0.1");
  after(() => (server.close(), server.closeAllConnections()));
  await once(server, "listening");
  const waiting = proxy({ port: (server.address() as AddressInfo).port });
  await asked.promise;
  waiting.process.kill("SIGTERM");
  assert.equal(await waiting.exited, 0);
  assert.match(waiting.output, /SIGTERM before the start was over/);
});

test("a reload fetches new code first, and without it the old one stays", async () => {
  const { port } = await registry();
  const path = join(root, "reload");
  const first = await proxy({ port, cache: path }).live();
  const file = join(first.folder, "bootstrap.yaml");
  writeFileSync(file, configured({ port, cache: path, sha256: "0".repeat(64), policy: "FAIL_OPEN" }));
  const refused = await first.post("/reload");
  assert.notEqual(refused.status, 200);
  assert.match(refused.body, /CODE_MISSING: plugin mark: DOWNLOAD_DIGEST: .* the sha256 is [0-9a-f]{64}, not 0{64}/);
  assert.equal((await first.get("/")).headers["x-mark"], "x-mark");
  const other = assemble(`(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096)))`);
  writeFileSync(join(path, sha256Of(other)), other);
  writeFileSync(file, configured({ port, cache: path, sha256: sha256Of(other) }));
  assert.equal((await first.post("/reload")).status, 200);
  assert.equal((await first.get("/")).headers["x-mark"], undefined);
});

test("a plugin that wants to be refused without its code, and code that is no module, refuse the start", async () => {
  const refused = proxy({ port: await freePort(), vm: "nack_on_code_cache_miss: true," });
  assert.equal(await refused.exited, 1);
  assert.match(refused.output, /cannot start: CODE_MISSING: plugin mark: DOWNLOAD_UNREACHABLE: .*ECONNREFUSED/);
  const cache = join(root, "garbage");
  const { port } = await registry();
  const garbage = readFileSync(import.meta.filename);
  const first = await proxy({ port, cache }).live();
  first.process.kill("SIGKILL");
  writeFileSync(join(cache, sha256Of(garbage)), garbage);
  const bad = proxy({ port, cache, sha256: sha256Of(garbage) });
  assert.equal(await bad.exited, 1);
  assert.match(bad.output, /cannot start: MODULE_CORRUPTED: http:\/\/modules\.test\/mark\.wasm: /);
});
