/** Anything at the admin interface of a running proxy: it answers or closes, nothing is changed, and the proxy goes on. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import { ENDPOINTS } from "../../runtime/control/endpoints.ts";
import { ADMIN_MODULES } from "../../runtime/limits.ts";
import { generator } from "../fuzz/random.ts";
import type { Random } from "../fuzz/random.ts";
import { startProxy, until, versionModule } from "../hotload/versions.ts";
import type { Proxy } from "../hotload/versions.ts";

const REQUESTS = 1500;
/** They end what they are asked to end, or read what they are told to, and are tested elsewhere. */
const LEFT_OUT = new Set(["/quitquitquit", "/drain_listeners", "/workers/replace", "/healthcheck/fail"]);
const PATHS = ENDPOINTS.map(({ path }) => path).filter((path) => !LEFT_OUT.has(path));
const METHODS = [
  "GET",
  "GET",
  "GET",
  "POST",
  "POST",
  "POST",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "TRACE",
  "BREW",
  "",
  "get",
];
const NAMES = [
  "plugin",
  "version",
  "file",
  "artifact",
  "percent",
  "header",
  "shadow",
  "now",
  "format",
  "filter",
  "type",
];
const VALUES = [
  "",
  "versions",
  "%00",
  "%ff%fe",
  "%",
  "../../etc/passwd",
  "-1",
  "1e999",
  "NaN",
  "oci://",
  "oci://[",
  "(((((",
  "a".repeat(3000),
  "json",
  "__proto__",
  "constructor",
  "%0d%0aX-Injected:%201",
];
const BODIES = ["", "{", '{"plugin":', "null", "\0asm\x01\0\0\0", "\0asm", "x".repeat(70_000), "\xff".repeat(100)];
const FIELDS = [
  "",
  "Content-Type: application/json\r\n",
  "Origin: http://evil.example\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Content-Length: 99999999999999999999\r\n",
  "Content-Length: -1\r\n",
  "Content-Length: 5\r\nContent-Length: 6\r\n",
  "Expect: 100-continue\r\n",
  "Upgrade: websocket\r\nConnection: Upgrade\r\n",
  "Authorization: Bearer \xff\xfe\r\n",
  `X-Long: ${"x".repeat(20_000)}\r\n`,
  "Broken\r\n",
];

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random(list.length)]!;
}

function requestText(random: Random): string {
  const parameters = Array.from({ length: random(4) }, () => `${pick(random, NAMES)}=${pick(random, VALUES)}`);
  const path = random(3) === 0 ? pick(random, ["/wasm/load", "/wasm/rollback", "/wasm/promote"]) : pick(random, PATHS);
  if (path.startsWith("/wasm/") && random(2) === 0) parameters.unshift("plugin=versions");
  const target = `${path}${parameters.length > 0 ? `?${parameters.join("&")}` : ""}`;
  const body = pick(random, BODIES);
  const length = random(3) > 0 ? `Content-Length: ${body.length}\r\n` : "";
  const host = random(8) > 0 ? "Host: 127.0.0.1\r\n" : pick(random, ["Host: evil.example\r\n", ""]);
  const fields = random(3) > 0 ? "" : pick(random, FIELDS);
  const text = `${pick(random, METHODS)} ${target} HTTP/1.1\r\n${host}${length}${fields}\r\n${body}`;
  const cut = random(8) === 0 ? random(text.length) : text.length;
  const at = random(text.length);
  const damaged = random(8) === 0 ? text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1) : text;
  return damaged.slice(0, cut);
}

async function open(proxy: Proxy): Promise<Socket> {
  const [host, port] = proxy.admin.split(":");
  const socket = connect(Number(port), host);
  await once(socket, "connect");
  return socket.on("error", () => {});
}

/** Sends, ends, and resolves with what came until the other side had closed. */
async function say(proxy: Proxy, text: string): Promise<string> {
  const socket = await open(proxy);
  let answer = "";
  socket.setEncoding("latin1").on("data", (data: string) => (answer += data));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.end(text, "latin1");
  await closed;
  return answer;
}

test("requests by chance", async () => {
  const proxy = await startProxy({ args: ["--concurrency", "1"] });
  const random = generator(20_261_128);
  const statuses = new Map<string, number>();
  for (let n = 0; n < REQUESTS; n += 10) {
    const texts = Array.from({ length: 10 }, () => requestText(random));
    const answers = await Promise.all(texts.map((text) => say(proxy, text)));
    for (const answer of answers) {
      const status = /^HTTP\/1\.1 ([2-5]\d\d) /m.exec(answer)?.[1] ?? "none";
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      assert.doesNotMatch(answer, /^X-Injected/im);
    }
  }
  for (const status of ["200", "400", "403", "404", "405", "413", "422", "431"])
    assert.ok(statuses.has(status), `no ${status} in ${JSON.stringify([...statuses])}`);
  assert.equal(statuses.get("500"), undefined);
  assert.doesNotMatch(proxy.output, /internal error|uncaught|admin \/\S*: \w*Error/);
  const { versions, version_number } = await proxy.plugin();
  assert.deepEqual([version_number, versions.length], [1, 1]);
  assert.equal(await proxy.version(), "0001");
});

test("modules that are begun and never sent are bounded, and do not keep others out for ever", async () => {
  const proxy = await startProxy({ args: ["--concurrency", "1"] });
  const module = await versionModule(2);
  const head = `POST /wasm/load?plugin=versions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${module.length}\r\n\r\n`;
  const held: Socket[] = [];
  for (let n = 0; n < ADMIN_MODULES; n++) {
    const socket = await open(proxy);
    socket.write(head);
    held.push(socket);
  }
  const refused = await until(
    () => proxy.load(module),
    ({ status }) => status === 503,
  );
  assert.equal(refused.body, `${ADMIN_MODULES} other modules wait for their turn; try again.\n`);
  // Everything else is answered meanwhile.
  assert.equal((await proxy.get("/ready", proxy.admin)).status, 200);
  for (const socket of held) socket.destroy();
  await until(
    () => proxy.load(module),
    ({ status }) => status === 200,
  );
  await until(
    () => proxy.version(),
    (version) => version === "0002",
  );
  assert.doesNotMatch(proxy.output, /internal error|admin \/\S*: \w*Error/);
});
