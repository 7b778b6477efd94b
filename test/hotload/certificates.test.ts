/** A certificate is renewed and the configuration reloaded, in whatever order: nothing drains, and new connections see the new one. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { connect as open } from "node:net";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { after, test } from "node:test";
import { Authority, folder, read } from "../tls/certificates.ts";
import { until } from "./versions.ts";
import { cluster, listener, manager, to, typed, WorldProxy } from "./world.ts";
import type { World } from "./world.ts";

type Json = World["clusters"][number];

const ok = (body: string): Json => ({
  match: { prefix: "/" },
  direct_response: { status: 200, body: { inline_string: body } },
});

test("renewed certificates of listeners and clusters change no chain and no cluster", async (t) => {
  const place = folder(t);
  const root = new Authority(place, "root");
  const [front, back] = [root.issue("front.test"), root.issue("back.test")];
  const socket = (type: string, context: Json): Json => ({
    transport_socket: {
      name: "tls",
      typed_config: typed(`envoy.extensions.transport_sockets.tls.v3.${type}`, context),
    },
  });
  const files = ({ certificate, key }: typeof front): Json => ({
    tls_certificates: [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }],
  });
  const edge = (text: string, certificate: typeof front): Json => {
    const own = socket("DownstreamTlsContext", { common_tls_context: files(certificate) });
    return { ...listener("edge", []), filter_chains: [{ ...own, filters: [manager([ok(text)])] }] }; // prettier-ignore
  };
  const trusted = { validation_context: { trusted_ca: { filename: root.certificate } } };
  const world = (text: string, inner: number): World => ({
    listeners: [
      edge(text, front),
      { ...edge("inner", back), name: "inner" },
      listener("plain", [manager([to("inner")])]),
    ],
    clusters: [
      cluster("inner", [inner], socket("UpstreamTlsContext", { common_tls_context: { ...trusted, ...files(front) } })),
    ],
  });
  const proxy = await new WorldProxy(world("one", 1), ["--concurrency", "1"]).live();
  const inner = Number((await proxy.addressOf("inner")).split(":")[1]);
  await proxy.reload(world("one", inner));
  const port = Number(proxy.address.split(":")[1]);
  const ca = read(root.certificate);
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca });
  after(() => agent.destroy());
  const connections = new Set<unknown>();
  const ask = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const outgoing = request({ port, host: "127.0.0.1", servername: "front.test", agent }, (response) => {
        connections.add(response.socket);
        assert.notEqual(response.headers.connection, "close");
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("end", () => resolve(body)).on("error", reject);
      });
      outgoing.on("error", reject).end();
    });
  const shown = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const one = connect({ port, host: "127.0.0.1", servername: "front.test", ca }, () => {
        resolve(String(one.getPeerCertificate().subject.CN));
        one.destroy();
      });
      one.on("error", reject);
    });
  const renew = (name: string, one: typeof front, names: string): void => {
    const next = root.issue(name, { names });
    writeFileSync(one.key, read(next.key));
    writeFileSync(one.certificate, read(next.certificate));
  };
  assert.equal(await ask(), "one");
  assert.equal((await proxy.get("/", await proxy.addressOf("plain"))).body, "inner");
  const upstreams = (): Promise<number> => proxy.stat("cluster.inner.upstream_cx_total");
  assert.equal(await upstreams(), 1);

  renew("second", front, "DNS:front.test");
  renew("back2", back, "DNS:back.test");
  const { state } = await proxy.reload(world("one", inner));
  assert.equal(state, "unchanged");
  assert.equal(await ask(), "one");
  assert.equal((await proxy.get("/", await proxy.addressOf("plain"))).body, "inner");
  assert.equal(await upstreams(), 1);
  await until(shown, (name) => name === "second");

  // Routes change with it, and the next certificate comes after that. Somebody is about to say hello.
  const accepted = await proxy.stat("listener.edge.downstream_cx_total");
  const early = open(port, "127.0.0.1");
  await until(
    () => proxy.stat("listener.edge.downstream_cx_total"),
    (count) => count > accepted,
  );
  renew("third", front, "DNS:front.test");
  await proxy.reload(world("two", inner));
  assert.equal(await ask(), "two");
  assert.match(await talk(connect({ socket: early, servername: "front.test", ca })), /\r\n\r\ntwo$/);
  await until(shown, (name) => name === "third");
  renew("fourth", front, "DNS:front.test");
  await until(shown, (name) => name === "fourth");
  assert.equal(await ask(), "two");
  assert.equal(connections.size, 1);
  assert.equal(await upstreams(), 1);
  assert.equal(await proxy.stat("listener_manager.listener_modified"), 0);
  assert.equal(await proxy.stat("cluster_manager.cluster_modified"), 1);
});

/** One request over a connection of its own. */
async function talk(socket: TLSSocket): Promise<string> {
  socket.write("GET / HTTP/1.1\r\nhost: front.test\r\nconnection: close\r\n\r\n");
  return (await socket.setEncoding("utf8").toArray()).join("");
}
