/** Many connections that want nothing: opened and left, or reset at once. Bounded, counted, and nobody else notices. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import { bootstrap, OK_ROUTE, ProxyProcess } from "../cli/proxy-process.ts";

const LIMIT = 1000;
const OPENED = 5000;
const RESET = 3000;

async function stat(proxy: ProxyProcess, name: string): Promise<number> {
  const { body } = await proxy.get(`/stats?filter=^${name}$`, proxy.admin);
  return Number(body.split(": ")[1]);
}

/** Who is over the limit may be closed before it knows that it is connected. */
function connected(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("connect", () => resolve()).once("close", () => resolve()));
}

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("connections opened and abandoned, and a storm of resets", async () => {
  const text = bootstrap({ routes: [OK_ROUTE] })
    .replace(
      "- name: ingress\n",
      "$&      stat_prefix: ingress\n      connection_balance_config: { exact_balance: {} }\n",
    )
    .concat(
      `layered_runtime: { layers: [ { name: static, static_layer: {
         envoy.resource_limits.listener.ingress.connection_limit: ${LIMIT} } } ] }\n`,
    );
  const proxy = await new ProxyProcess(text, ["--concurrency", "2"]).live();
  const [host, port] = proxy.address.split(":") as [string, string];
  // A peaceful client on one connection, all the while.
  const peaceful = connect(Number(port), host);
  let answers = 0;
  let asking = true;
  const ask = (async (): Promise<void> => {
    while (asking) {
      peaceful.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      const [data] = (await once(peaceful, "data")) as [Buffer];
      assert.match(data.toString(), /^HTTP\/1.1 200 /);
      answers++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();

  const sockets: Socket[] = [];
  for (let opened = 0; opened < OPENED; opened += 500) {
    const batch = Array.from({ length: 500 }, () =>
      connect(Number(port), host)
        .on("error", () => {})
        .resume(),
    );
    sockets.push(...batch);
    await Promise.all(batch.map(connected));
  }
  let active = 0;
  await until(async () => {
    active = await stat(proxy, "listener.ingress.downstream_cx_active");
    return active + (await stat(proxy, "listener.ingress.downstream_cx_overflow")) === OPENED + 1;
  });
  // Two workers may see room for the last one at the same time.
  assert.ok(Math.abs(active - LIMIT) <= 1, String(active));
  for (const socket of sockets) socket.destroy();
  await until(async () => (await stat(proxy, "listener.ingress.downstream_cx_active")) === 1);

  for (let reset = 0; reset < RESET; reset += 100) {
    const batch = Array.from({ length: 100 }, () => connect(Number(port), host).on("error", () => {}));
    await Promise.all(batch.map(connected));
    for (const socket of batch) socket.resetAndDestroy();
  }
  await until(async () => (await stat(proxy, "listener.ingress.downstream_cx_active")) === 1);
  const enough = Math.max(answers + 5, 20);
  await until(() => Promise.resolve(answers >= enough));
  asking = false;
  await ask;
  assert.equal((await proxy.get("/")).status, 200);
  peaceful.destroy();
});
