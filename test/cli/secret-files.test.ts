/** Files of secrets (`path_config_source`) of a running process: certificates, trust and ticket keys change without a connection lost. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { Certificate, pemCertificates } from "../../runtime/tls/certificate.ts";
import { Authority, folder, type Issued, read } from "../tls/certificates.ts";
import { ProxyProcess } from "./proxy-process.ts";

const TYPE = '"@type": type.googleapis.com/envoy.extensions.';

test(
  "secrets of files are taken up by listeners and clusters while connections go on",
  { timeout: 60_000 },
  async (t) => {
    const place = folder(t);
    const [root, other] = [new Authority(place, "root"), new Authority(place, "other")];
    const [front, inner] = [root.issue("front.test"), root.issue("inner.test")];
    const later = other.issue("front.later", { names: "DNS:front.test", to: "20450101000000Z" });
    const [mine, others] = [root.issue("mine.test"), other.issue("others.test")];
    const sds = join(place, "secrets.yaml");
    const inline = (path: string): string => `{ inline_string: ${JSON.stringify(read(path).toString())} }`;
    const secret = (name: string, what: string): string =>
      `- { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: ${name}, ${what} }\n`;
    const put = (own: Issued, trusted: Authority, more = ""): void => {
      const pair = `{ certificate_chain: ${inline(own.certificate)}, private_key: ${inline(own.key)} }`;
      const text = `resources:\n${secret("own", `tls_certificate: ${pair}`)}${secret("roots", `validation_context: { trusted_ca: ${inline(trusted.certificate)} }`)}${more}`;
      writeFileSync(`${sds}.new`, text);
      renameSync(`${sds}.new`, sds);
    };
    put(front, root);
    const from = (name: string): string => `{ name: ${name}, sds_config: { path_config_source: { path: ${sds} } } }`;
    const manager = (prefix: string, route: string): string =>
      `{ name: hcm, typed_config: { ${TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: ${prefix},
      http_filters: [ { name: router, typed_config: { ${TYPE}filters.http.router.v3.Router } } ],
      route_config: { virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: / }, ${route} } ] } ] } } }`.replaceAll(
        /\s*\n\s*/g,
        " ",
      );
    const inside = join(place, "inner.sock");
    const running = await new ProxyProcess(
      `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: edge
    stat_prefix: edge
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true,
        common_tls_context: { tls_certificate_sds_secret_configs: [ ${from("own")} ], combined_validation_context: {
          default_validation_context: { match_typed_subject_alt_names: [ { san_type: DNS, matcher: { suffix: .test } } ] },
          validation_context_sds_secret_config: ${from("roots")} } } } }
      filters: [ ${manager("edge", "route: { cluster: inner, timeout: 0s }")} ]
  - name: inner
    stat_prefix: inner
    address: { pipe: { path: ${inside} } }
    filter_chains:
    - transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: {
        tls_certificates: [ { certificate_chain: { filename: ${inner.certificate} }, private_key: { filename: ${inner.key} } } ] } } }
      filters: [ ${manager("inner", "direct_response: { status: 200, body: { inline_string: inner } }")} ]
  clusters:
  - name: inner
    load_assignment: { cluster_name: inner, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: ${inside} } } } } ] } ] }
    typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { ${TYPE}upstreams.http.v3.HttpProtocolOptions,
      common_http_protocol_options: { max_requests_per_connection: 1 }, explicit_http_config: { http_protocol_options: {} } } }
    transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.UpstreamTlsContext, sni: inner.test, max_session_keys: 0,
      common_tls_context: { validation_context_sds_secret_config: ${from("roots")} } } }
`,
      ["--concurrency", "2"],
    ).live();
    const port = Number(running.address.split(":").at(-1));
    const curl = (who: Issued): Promise<string> =>
      new Promise((resolve) => {
        const names = ["--resolve", `front.test:${port}:127.0.0.1`, "--cert", who.certificate, "--key", who.key];
        const all = ["-sSk", "-w", " %{http_code}", ...names, `https://front.test:${port}/`];
        execFile("curl", all, { timeout: 20_000 }, (_error, out) => resolve(out));
      });
    const stat = async (name: string): Promise<number> =>
      Number((await running.get(`/stats?filter=^${name}$`, running.admin)).body.split(": ")[1] ?? 0);
    const reaches = async (name: string, value: number): Promise<void> => {
      while ((await stat(name)) < value) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    const ask = async (socket: TLSSocket): Promise<string> => {
      socket.write("GET / HTTP/1.1\r\nhost: front.test\r\n\r\n");
      return String((await once(socket, "data"))[0]);
    };
    assert.equal(await curl(mine), "inner 200");
    assert.equal(await curl(others), " 000");
    const kept = connect({ port, cert: read(mine.certificate), key: read(mine.key), rejectUnauthorized: false });
    await once(kept, "secureConnect");
    assert.match(await ask(kept), /^HTTP\/1\.1 200 OK/);
    const expiry = (name: string): Promise<number> => stat(`${name}.expiration_unix_time_seconds`);
    const seconds = (path: string): number =>
      Math.floor(new Certificate(pemCertificates(read(path))[0]!.raw).notAfterMs / 1000);
    assert.equal(await expiry("listener.edge.ssl.certificate.own"), seconds(front.certificate));
    assert.equal(await expiry("listener.edge.ssl.certificate.roots"), seconds(root.certificate));
    assert.equal(await expiry("listener.inner.ssl.certificate.unnamed_cert_e3b0c442"), seconds(inner.certificate));
    assert.equal(await expiry("cluster.inner.ssl.certificate.roots"), seconds(root.certificate));
    // The file has other secrets: another certificate, and trust in somebody else, on both sides.
    put(later, other);
    await reaches("listener.edge.server_ssl_socket_factory.ssl_context_update_by_sds", 2);
    await reaches("cluster.inner.client_ssl_socket_factory.ssl_context_update_by_sds", 2);
    assert.equal(await expiry("listener.edge.ssl.certificate.own"), seconds(later.certificate));
    assert.equal(await curl(mine), " 000");
    // Who calls is welcome; the host, whose certificate is the old one, is not.
    assert.match(await curl(others), / 503$/);
    assert.match(await ask(kept), /^HTTP\/1\.1 503 /);
    const { body } = await running.get("/certs", running.admin);
    assert.match(body, /front\.test/);
    assert.ok(!body.includes(front.certificate));
    // A file that cannot be used changes nothing and is told of.
    const failed = "listener.edge.server_ssl_socket_factory.ssl_context_update_failed";
    writeFileSync(sds, "resources: [ { nonsense: true } ]\n");
    await reaches(failed, 2);
    await running.printed(/secrets\.yaml:1:\d+: error: resources\[0\]: "@type" is missing/);
    writeFileSync(sds, "resources: []\n");
    await running.printed("no secret 'own' of this kind in that file");
    assert.match(await curl(others), / 503$/);
    put(front, root);
    await reaches("listener.edge.server_ssl_socket_factory.ssl_context_update_by_sds", 4);
    await reaches("cluster.inner.client_ssl_socket_factory.ssl_context_update_by_sds", 4);
    assert.equal(await curl(mine), "inner 200");
    assert.match(await ask(kept), /^HTTP\/1\.1 200 OK/);
    kept.destroy();
  },
);
