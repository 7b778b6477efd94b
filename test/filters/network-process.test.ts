/** A network filter of an author's own: in the test kit, and in a listener of the whole proxy with two workers and many connections. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { loadFilter } from "../../runtime/testkit/testkit.ts";
import { ProxyProcess } from "../cli/proxy-process.ts";

const outFolder = fileURLToPath(new URL("../../build/guests", import.meta.url));
const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.filters.network.${name}`;

function config(module: string): string {
  return `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
    - name: lines
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: wire
              typed_config:
                ${type("wasm.v3.Wasm")}
                config: { name: wire, vm_config: { code: { local: { filename: "${module}" } } } }
            - { name: echo, typed_config: { ${type("echo.v3.Echo")} } }
`;
}

/** Sends a text on a connection of its own and ends; all that comes back. */
async function exchange(address: string, text: string): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  let answer = "";
  socket.on("data", (data: Buffer) => (answer += data.toString()));
  socket.end(text);
  await once(socket, "end");
  socket.destroy();
  return answer;
}

test("the test kit plays both ends of a connection", async () => {
  const folder = fileURLToPath(new URL("../guests/wire", import.meta.url));
  const { path } = await buildFilter(folder, { outFolder });
  const filter = await loadFilter({ module: path, upstreams: { side: () => ({ body: "answered" }) } });
  const connection = await filter.connect("10.0.0.7:4711");
  await connection.send("who");
  assert.equal(connection.upstream.toString(), "");
  await connection.send("\n");
  assert.equal(connection.upstream.toString(), "who 4711\n");
  await connection.send("call\n");
  assert.equal(connection.upstream.toString(), "who 4711\ncall answered\n");
  await connection.answer("hello", { end: true });
  assert.equal(connection.downstream.toString(), "assemblyscript< hello");
  assert.deepEqual([connection.accepted, connection.closed], [true, false]);
  await connection.send("close\n");
  assert.equal(connection.closed, true);
  await connection.close();
  assert.ok(filter.log.some((line) => line.endsWith("assemblyscript closed 1")));
  filter.close();
});

test("each connection goes through the module, in both directions, on every worker", async () => {
  const folder = fileURLToPath(new URL("../guests/wire", import.meta.url));
  const { path } = await buildFilter(folder, { outFolder });
  const proxy = await new ProxyProcess(config(path), ["--concurrency", "2"]).live();
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => exchange(proxy.address, `line ${n}\n`)));
  assert.deepEqual(
    answers,
    answers.map((_, n) => `assemblyscript< assemblyscript> line ${n}\n`),
  );
  assert.equal(await exchange(proxy.address, "close\n"), "");
  const { body } = await proxy.get("/wasm", proxy.admin);
  assert.match(body, /wire/);
  assert.equal(await exchange(proxy.address, "after\n"), "assemblyscript< assemblyscript> after\n");
});
