/** The whole process: TLS that passes through, the cluster chosen by its server name; peers that PROXY protocol names. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { closed } from "../listener/fixture.ts";
import { Authority, read } from "../tls/certificates.ts";
import { recorded } from "./proxied.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-sni-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const TYPES = "type.googleapis.com/envoy.extensions.filters";
const log = join(folder, "access.log");

async function secureHost(name: string): Promise<number> {
  const { certificate, key } = root.issue(name);
  const server = createServer({ cert: read(certificate), key: read(key) }, (_request, response) =>
    response.end(`this is ${name}`),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const cluster = (name: string, port: number): string =>
  `{ name: ${name}, load_assignment: { cluster_name: ${name}, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } } ] } ] } }`;

const config = `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: passing
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    listener_filters:
    - { name: proxy, typed_config: { "@type": ${TYPES}.listener.proxy_protocol.v3.ProxyProtocol, allow_requests_without_proxy_protocol: true } }
    - { name: tls, typed_config: { "@type": ${TYPES}.listener.tls_inspector.v3.TlsInspector } }
    filter_chains:
    - filters:
      - name: rbac
        typed_config:
          "@type": ${TYPES}.network.rbac.v3.RBAC
          stat_prefix: passing
          rules: { action: DENY, policies: { outside: { permissions: [ { requested_server_name: { exact: b.test } } ], principals: [ { remote_ip: { address_prefix: 203.0.113.0, prefix_len: 24 } } ] } } }
      - { name: sni, typed_config: { "@type": ${TYPES}.network.sni_cluster.v3.SniCluster } }
      - name: tcp
        typed_config:
          "@type": ${TYPES}.network.tcp_proxy.v3.TcpProxy
          stat_prefix: passing
          cluster: a.test
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: ${log}
              log_format: { text_format_source: { inline_string: "%REQUESTED_SERVER_NAME% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\\n" } }
  clusters:
  - ${cluster("a.test", await secureHost("a.test"))}
  - ${cluster("b.test", await secureHost("b.test"))}
`;

const proxy = await new ProxyProcess(config, ["--concurrency", "1"]).live();
const port = Number(proxy.address.slice(proxy.address.lastIndexOf(":") + 1));

function curl(name: string, ...more: readonly string[]): Promise<string> {
  const options = ["-sS", "--max-time", "20", "--cacert", root.certificate, "--resolve", `${name}:${port}:127.0.0.1`];
  return new Promise((resolve) =>
    execFile("curl", [...options, ...more, `https://${name}:${port}/`], (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    ),
  );
}

function logged(line: string): Promise<void> {
  return recorded(proxy, log, (one) => one === line);
}

test("each server name has its cluster, and its certificate is the host's own", async () => {
  for (const name of ["a.test", "b.test"]) {
    assert.equal(await curl(name), `this is ${name}`);
    await logged(`${name} ${name} - - 127.0.0.1`);
  }
});

test("a server name without a cluster is closed with NC; without a name the configured cluster is taken", async () => {
  assert.match(await curl("c.test"), /curl: \(35\)/);
  await logged("c.test - NC - 127.0.0.1");
  const plain = connect(port, "127.0.0.1");
  plain.end("no TLS at all\r\n");
  await closed(plain.resume());
  await logged("- a.test - - 127.0.0.1");
});

test("rules see the peer that the PROXY protocol names", async () => {
  assert.equal(await curl("b.test", "--haproxy-protocol"), "this is b.test");
  const outside = connect(port, "127.0.0.1");
  outside.write("PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\n");
  outside.write(helloOf("b.test"));
  await closed(outside.resume());
  await logged("b.test b.test - rbac_access_denied_matched_policy[outside] 203.0.113.7");
});

/** A TLS 1.2 ClientHello that names a server and nothing else. */
function helloOf(name: string): Buffer {
  const u16 = (value: number): number[] => [value >> 8, value & 255];
  const host = [...Buffer.from(name)];
  const names = [...u16(host.length + 3), 0, ...u16(host.length), ...host];
  const extensions = [...u16(0), ...u16(names.length), ...names];
  const body = [
    3,
    3,
    ...Array.from({ length: 32 }, () => 7),
    0,
    ...u16(2),
    0xc0,
    0x2f,
    1,
    0,
    ...u16(extensions.length),
    ...extensions,
  ];
  const handshake = [1, 0, ...u16(body.length), ...body];
  return Buffer.from([0x16, 3, 1, ...u16(handshake.length), ...handshake]);
}
