/** A whole process with TLS on both sides, from configuration text: two workers, files that change, statistics, the dump. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Authority, folder, openssl, read } from "../tls/certificates.ts";
import { ProxyProcess } from "./proxy-process.ts";

interface Listed {
  readonly path: string;
  readonly serial_number: string;
  readonly subject_alt_names: readonly object[];
  readonly days_until_expiration: string;
  readonly valid_from: string;
  readonly expiration_time: string;
}
interface ListedCertificates {
  readonly certificates: readonly { readonly ca_cert: readonly Listed[]; readonly cert_chain: readonly Listed[] }[];
}

function serialOf(certificate: string): string {
  return openssl(["x509", "-in", certificate, "-noout", "-serial"]).replace("serial=", "0x").trim();
}

const TYPE = '"@type": type.googleapis.com/envoy.extensions.';

function curl(...args: readonly string[]): Promise<string> {
  return new Promise((resolve) =>
    execFile("curl", ["-sS", "--max-time", "20", ...args], (_error, out, errors) => resolve(out + errors)),
  );
}

function manager(prefix: string, route: string, more = ""): string {
  const text = `{ name: hcm, typed_config: { ${TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: ${prefix}, ${more}
    http_filters: [ { name: router, typed_config: { ${TYPE}filters.http.router.v3.Router } } ],
    route_config: { virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: / }, ${route} } ] } ] } } }`;
  // A flow mapping on lines of its own would have to be indented.
  return text.replaceAll(/\s*\n\s*/g, " ");
}

test("mTLS in front and behind, HTTP/2 by ALPN, rotation on every worker", { timeout: 60_000 }, async (t) => {
  const place = folder(t);
  const root = new Authority(place, "root");
  const front = root.issue("front.test");
  const inner = root.issue("inner.test", { names: "DNS:inner.test" });
  const proxy = root.issue("proxy.test", { names: "URI:spiffe://t/proxy", usage: "clientAuth" });
  const caller = root.issue("caller.test", { names: "URI:spiffe://t/caller", usage: "clientAuth" });
  const log = join(place, "access.log");
  const files = (one: { certificate: string; key: string }): string =>
    `tls_certificates: [ { certificate_chain: { filename: ${one.certificate} }, private_key: { filename: ${one.key} } } ]`;
  const trust = (name: string): string =>
    `validation_context: { trusted_ca: { filename: ${root.certificate} }, match_typed_subject_alt_names: [ ${name} ] }`;
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
    - transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: {
          alpn_protocols: [h2, http/1.1], ${files(front)}, validation_context: { trusted_ca: { filename: ${root.certificate} } } } } }
      filters:
      - ${manager(
        "edge",
        "route: { cluster: inner, timeout: 0s }",
        `forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: { uri: true },
        access_log: [ { name: file, typed_config: { ${TYPE}access_loggers.file.v3.FileAccessLog, path: ${log}, log_format: { text_format_source: {
          inline_string: "%PROTOCOL% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_PEER_DNS_SAN% %UPSTREAM_TLS_VERSION%\\n" } } } } ],`,
      )}
  - name: inner
    address: { pipe: { path: ${inside} } }
    filter_chains:
    - transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true,
        common_tls_context: { ${files(inner)}, ${trust('{ san_type: URI, matcher: { exact: "spiffe://t/proxy" } }')} } } }
      filters:
      - ${manager("inner", `direct_response: { status: 200, body: { inline_string: "inner" } }, response_headers_to_add: [ { header: { key: x-cert, value: "%REQUEST_HEADER(x-forwarded-client-cert)%" } } ]`, "forward_client_cert_details: ALWAYS_FORWARD_ONLY,")}
  clusters:
  - name: inner
    connect_timeout: 5s
    load_assignment: { cluster_name: inner, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: ${inside} } } } } ] } ] }
    transport_socket: { name: tls, typed_config: { ${TYPE}transport_sockets.tls.v3.UpstreamTlsContext, sni: inner.test,
      common_tls_context: { ${files(proxy)}, ${trust("{ san_type: DNS, matcher: { exact: inner.test } }")} } } }
`,
    ["--concurrency", "2"],
  ).live();
  const port = running.address.split(":").at(-1)!;
  const own = ["--cert", caller.certificate, "--key", caller.key];
  const at = [
    "--cacert",
    root.certificate,
    "--resolve",
    `front.test:${port}:127.0.0.1`,
    "-w",
    " %{http_version} %header{x-cert}",
  ];
  assert.match(
    await curl(...at, ...own, `https://front.test:${port}/`),
    /^inner 2 Hash=[0-9a-f]{64};URI=spiffe:\/\/t\/caller$/,
  );
  assert.match(await curl(...at, "--http1.1", `https://front.test:${port}/`), /^inner 1\.1 -?$/);
  await running.post("/reopen_logs");
  const stats = async (): Promise<string> => (await running.get("/stats", running.admin)).body;
  const found = await stats();
  assert.match(found, /listener\.edge\.ssl\.handshake: 2\n/);
  assert.match(found, /cluster\.inner\.ssl\.handshake: [12]\n/);
  const dump = (await running.get("/config_dump", running.admin)).body;
  assert.ok(dump.includes("[redacted]") && !dump.includes("PRIVATE KEY"));
  const certs = async (): Promise<ListedCertificates["certificates"]> =>
    (JSON.parse((await running.get("/certs", running.admin)).body) as ListedCertificates).certificates;
  const listed = await certs();
  assert.equal(listed.length, 3);
  assert.deepEqual(
    listed.map(({ ca_cert: [ca], cert_chain: [leaf] }) => [ca!.path, leaf!.path, leaf!.subject_alt_names]),
    [
      [root.certificate, front.certificate, [{ dns: "front.test" }]],
      [root.certificate, inner.certificate, [{ dns: "inner.test" }]],
      [root.certificate, proxy.certificate, [{ uri: "spiffe://t/proxy" }]],
    ],
  );
  const [{ days_until_expiration: days, expiration_time: end, valid_from: from }] = listed[0]!.cert_chain as [Listed];
  assert.equal(days, "29");
  assert.match(`${from} ${end}`, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  // One file by rename, the other in place, while both workers serve.
  const next = root.issue("next", { names: "DNS:front.test" });
  renameSync(next.certificate, front.certificate);
  writeFileSync(front.key, read(next.key));
  let workers = 0;
  while (workers < 2) {
    workers = Number(
      /listener\.edge\.server_ssl_socket_factory\.ssl_context_update_by_sds: (\d+)/.exec(await stats())?.[1] ?? 0,
    );
  }
  const [renewed] = await certs();
  assert.equal(BigInt(`0x${renewed!.cert_chain[0]!.serial_number}`), BigInt(serialOf(front.certificate)));
  const shown = await curl(...at, "-v", "-o", "/dev/null", `https://front.test:${port}/`);
  assert.match(shown, /subject: O=Sluice test; CN=next/);
  running.process.kill("SIGTERM");
  assert.equal(await running.exited, 0);
  // Workers write their own lines.
  assert.deepEqual(readFileSync(log, "utf8").trim().split("\n").toSorted(), [
    "HTTP/1.1 TLSv1.3 - inner.test TLSv1.2",
    "HTTP/2 TLSv1.3 - inner.test TLSv1.2",
    "HTTP/2 TLSv1.3 spiffe://t/caller inner.test TLSv1.2",
  ]);
});
