/** A whole process between two load balancers: a PROXY header comes in, goes on in front of TLS, and arrives with its fields. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { Authority, folder } from "../tls/certificates.ts";
import { ProxyProcess } from "./proxy-process.ts";

const TYPE = '"@type": type.googleapis.com/envoy.extensions.';

test("addresses and fields of a PROXY header go through tcp_proxy and TLS to the next proxy", async (t) => {
  const place = folder(t);
  const root = new Authority(place, "root");
  const inner = root.issue("inner.test");
  const log = join(place, "access.log");
  const socket = join(place, "inner.sock");
  const filter = (more: string): string =>
    `listener_filters: [ { name: proxy, typed_config: { ${TYPE}filters.listener.proxy_protocol.v3.ProxyProtocol, ${more} } } ]`;
  const running = await new ProxyProcess(
    `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: edge
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    ${filter("pass_through_tlvs: { match_type: INCLUDE, tlv_type: [0xEA, 0xEB] }")}
    filter_chains:
    - filters: [ { name: tcp, typed_config: { ${TYPE}filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: inner } } ]
  - name: inner
    address: { pipe: { path: ${socket} } }
    access_log: [ { name: file, typed_config: { ${TYPE}access_loggers.file.v3.FileAccessLog, path: ${log}, log_format: { text_format_source: {
      inline_string: "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_TLS_VERSION% %DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol)%\\n" } } } } ]
    ${filter("rules: [ { tlv_type: 0xEA, on_tlv_present: { key: vpc } }, { tlv_type: 0xEB, on_tlv_present: { key: none } }, { tlv_type: 0xEC, on_tlv_present: { key: dropped } }, { tlv_type: 0xED, on_tlv_present: { key: ours } } ]")}
    filter_chains:
    - transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext,
        common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${inner.certificate} }, private_key: { filename: ${inner.key} } } ] } } }
      filters:
      - name: hcm
        typed_config:
          ${TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inner
          http_filters: [ { name: router, typed_config: { ${TYPE}filters.http.router.v3.Router } } ]
          route_config: { virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: inner } } } ] } ] }
  clusters:
  - name: inner
    load_assignment: { cluster_name: inner, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: ${socket} } } } } ] } ] }
    transport_socket: { name: proxied, typed_config: { ${TYPE}transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport,
      config: { version: V2, pass_through_tlvs: { match_type: INCLUDE_ALL }, added_tlvs: [ { type: 0xED, value: b3Vycw== } ] },
      transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.UpstreamTlsContext, sni: inner.test,
        common_tls_context: { validation_context: { trusted_ca: { filename: ${root.certificate} } } } } } } }
`,
  ).live();
  const field = (type: number, text: string): Buffer =>
    Buffer.concat([Buffer.of(type, 0, text.length), Buffer.from(text)]);
  const content = Buffer.concat([
    Buffer.of(192, 0, 2, 1, 192, 0, 2, 2, 0x10, 0, 0x01, 0xbb),
    ...[field(0xea, "vpc-7"), field(0xec, "stays here")],
  ]);
  const header = Buffer.concat([
    Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1"),
    Buffer.of(0x21, 0x11, 0, content.length),
    content,
  ]);
  const port = Number(running.address.split(":").at(-1));
  const downstream = connect(port, "127.0.0.1");
  let text = "";
  downstream.setEncoding("latin1").on("data", (data: string) => (text += data));
  downstream.write(Buffer.concat([header, Buffer.from("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")]));
  await new Promise((resolve) => downstream.on("close", resolve));
  assert.match(text, /^HTTP\/1\.1 200 [^]*inner$/);
  running.process.kill("SIGTERM");
  assert.equal(await running.exited, 0);
  assert.equal(readFileSync(log, "utf8"), '192.0.2.1:4096 192.0.2.2:443 TLSv1.2 {"vpc":"vpc-7","ours":"ours"}\n');
});
