/** Where connections to hosts come from: upstream_bind_config. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { SourceAddresses } from "../../runtime/config/cluster-snapshot.ts";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { ResetReason } from "../../runtime/errors.ts";
import { closeDescriptor, openFrom, readOption } from "../../runtime/listener/native-sockets.ts";
import { Host } from "../../runtime/upstream/host.ts";
import { selfSigned } from "../tls/certificates.ts";
import { upstreamTls } from "../tls/contexts.ts";
import { bootstrap, brief, load, snapshotOf } from "../config/fixture.ts";
import { clusterConfig, clusterUnderTest, endpoint, get, onRequests, origin } from "./fixtures.ts";

const IP_BIND_ADDRESS_NO_PORT = 24;
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

for (const [way, openSource] of [
  ["Node's way", undefined],
  ["with a port for each destination", openFrom],
] as const)
  test(`connections come from the first address of the host's family, else from the first one, and fail: ${way}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "sock");
    const script = (socket: Socket): void => onRequests(socket, () => socket.write(OK));
    const [four, six, pipe] = await Promise.all([
      origin(t, script),
      origin(t, script, { host: "::1" }),
      origin(t, script, { path }),
    ]);
    const both: SourceAddresses = ["127.0.0.6", "::1", "127.0.0.7"];
    const ask = async (over: Partial<ClusterConfig>, at: Parameters<typeof endpoint>): Promise<string> => {
      const config = clusterConfig([endpoint(...at)], over);
      const { cluster, clusters } = clusterUnderTest(t, config, { openFrom: openSource });
      await clusters.start();
      const { status, resetReason, transportFailure } = await get(cluster, "/");
      return status === 200 ? "ok" : `${resetReason}: ${transportFailure}`;
    };
    assert.equal(await ask({ sources: both }, [four.port]), "ok");
    assert.equal(four.sockets[0]!.remoteAddress, "127.0.0.6");
    assert.equal(await ask({ sources: both }, [six.port, { host: "::1" }]), "ok");
    assert.equal(six.sockets[0]!.remoteAddress, "::1");
    assert.equal(await ask({ sources: both }, [0, { address: { kind: "pipe", path, mode: 0 } }]), "ok");
    assert.equal(pipe.sockets.length, 1);
    // An address of nobody here, and one of the other family.
    const away = await ask({ sources: ["192.0.2.7"] }, [four.port]);
    const local = ResetReason.LOCAL_CONNECTION_FAILURE;
    assert.equal(away, `${local}: immediate connect error: Cannot assign requested address`);
    const other = await ask({ sources: ["::1"] }, [four.port]);
    assert.match(other, /: immediate connect error: (?:Invalid argument|Address family not supported by protocol)$/);
    assert.equal(four.sockets.length, 1);
  });

test("the port of a socket from an address is chosen when it connects", () => {
  for (const ip of ["127.0.0.6", "::1"]) {
    const fd = openFrom(ip);
    assert.equal(readOption(fd, 0, IP_BIND_ADDRESS_NO_PORT, 4)[0], 1);
    closeDescriptor(fd);
  }
  assert.throws(
    () => openFrom("192.0.2.7"),
    (error: Error & { cause: { code: string } }) => error.cause.code === "EADDRNOTAVAIL",
  );
});

test("TLS, and what goes before it, comes from there", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const { certificate, key } = selfSigned(folder, "good.test");
  const secrets = { cert: readFileSync(certificate), key: readFileSync(key) };
  const from: (string | undefined)[] = [];
  const server = createServer(secrets, (_request, response) => response.end("ok"));
  server.on("secureConnection", ({ remoteAddress }) => from.push(remoteAddress));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.close(), server.closeAllConnections()));
  const secured = endpoint((server.address() as AddressInfo).port, { tls: 0 });
  // Whoever is told of downstream by such a header, and nobody else, knows the cluster's own end of the connection from it.
  let first = "";
  const told = await origin(t, (socket) => socket.once("data", (data) => ((first = String(data)), socket.destroy())));
  const header = endpoint(told.port, { proxyProtocol: { version: 1, passed: [], added: [] } });
  const sources: SourceAddresses = ["127.0.0.6"];
  for (const [host, status] of [
    [secured, 200],
    [header, 0],
  ] as const) {
    const config = clusterConfig([host], { sources, tls: [upstreamTls({})] });
    const { cluster } = clusterUnderTest(t, config, { openFrom });
    assert.equal((await get(cluster, "/")).status, status);
  }
  assert.deepEqual(from, ["127.0.0.6"]);
  assert.match(first, /^PROXY TCP4 127\.0\.0\.6 127\.0\.0\.1 /);
});

test("a host that moves to the other family gets the other address", () => {
  const target = (host: string) => ({ kind: "ip", host, port: 80, ipv4Compat: false }) as const;
  const facts = { target: target("192.0.2.1"), hostname: "", weight: 1, priority: 0, healthy: true };
  const pool = { request: () => assert.fail("nobody asks"), drain: () => {}, close: () => {} };
  const host = new Host({ ...facts, sources: ["127.0.0.6", "::6"] }, () => pool);
  assert.equal(host.source, "127.0.0.6");
  host.moveTo(target("2001:db8::1"));
  assert.equal(host.source, "::6");
  assert.equal(new Host(facts, () => pool).source, undefined);
});

test("the configuration", () => {
  const cluster = (bind: string): string => bootstrap({ cluster: `upstream_bind_config: { ${bind} },` });
  const built = (bind: string): unknown => snapshotOf(cluster(bind)).clusters[0]!.sources;
  assert.equal(built(""), undefined);
  assert.deepEqual(built("source_address: { address: 127.0.0.6, port_value: 0 }"), ["127.0.0.6"]);
  const extra = `extra_source_addresses: [ { address: { address: "::6", port_value: 0 } } ]`;
  const additional = "additional_source_addresses: [ { address: 127.0.0.7, port_value: 0 } ]";
  assert.deepEqual(built(`source_address: { address: 127.0.0.6, port_value: 0 }, ${extra}, ${additional}`), [
    "127.0.0.6",
    "::6",
    "127.0.0.7",
  ]);
  const errors = (bind: string): string[] => brief(load(cluster(bind)).errors).map((text) => text.replace(/^\S+ /, ""));
  const at = "static_resources.clusters[0].upstream_bind_config";
  assert.deepEqual(errors(extra), [`${at}.source_address ip-address`]);
  assert.deepEqual(errors("source_address: { address: localhost, port_value: 0 }"), [
    `${at}.source_address.address ip-address`,
  ]);
  assert.deepEqual(errors("source_address: { address: 127.0.0.6, port_value: 7 }"), [
    `${at}.source_address.port_value not-supported`,
  ]);
  assert.deepEqual(errors("source_address: { address: 127.0.0.6, port_value: 0 }, freebind: true"), [
    `${at}.freebind not-supported`,
  ]);
});

test("an inbound listener that passes connections on from any address is warned of", () => {
  const type = "type.googleapis.com/envoy.extensions.filters";
  const passing = (direction: string, route: string, cluster = ""): string[] =>
    load(
      bootstrap({
        listener: `traffic_direction: ${direction}, listener_filters: [ { name: o, typed_config: { "@type": ${type}.listener.original_dst.v3.OriginalDst } } ],`,
        routes: `{ match: { prefix: / }, route: { ${route} } }`,
        clusters: `- { name: away, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, ${cluster} }`,
      }),
    ).warnings.flatMap(({ rule, path, message }) => (rule === "source-address" ? [`${path} ${message}`] : []));
  const weighted = "weighted_clusters: { clusters: [ { name: up, weight: 1 }, { name: away, weight: 1 } ] }";
  for (const route of ["cluster: away", weighted]) {
    assert.match(
      passing("INBOUND", route)[0]!,
      /^static_resources\.clusters\[1\] cluster away passes connections of the inbound listener l on: .* 127\.0\.0\.6 and ::6/,
    );
    assert.deepEqual(passing("OUTBOUND", route), []);
    const bound = "upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 } }";
    assert.deepEqual(passing("INBOUND", route, bound), []);
  }
  assert.deepEqual(passing("INBOUND", "cluster: up"), []);
});
