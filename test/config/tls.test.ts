/** TLS contexts in configuration text: what becomes of them, and what is wrong with them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { sameConfig } from "../../runtime/config/same.ts";
import { Authority, read } from "../tls/certificates.ts";
import { bootstrap, load, managerOf, snapshotOf } from "./fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
after(() => rmSync(folder, { recursive: true }));
const root = new Authority(folder, "root");
const good = root.issue("good.test");
const other = root.issue("other.test");
const must = root.issue("must.test", { extensions: ["tlsfeature=status_request"] });
const rsa = root.issue("rsa.test", { rsa: true });
const staple = root.staple(other, 1);
const TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.";

const pair = (one = good): string =>
  `{ certificate_chain: { filename: ${one.certificate} }, private_key: { filename: ${one.key} } }`;

function listenerOf(context: string, rest = ""): string {
  return bootstrap({
    rest,
    chain: `transport_socket: { name: tls, typed_config: { "@type": ${TYPE}DownstreamTlsContext, ${context} } },`,
  });
}

function clusterOf(context: string, more = ""): string {
  return bootstrap({
    cluster: `transport_socket: { name: tls, typed_config: { "@type": ${TYPE}UpstreamTlsContext, ${context} } }, ${more}`,
  });
}

test("a listener's context with everything at its default", () => {
  const { tls } = snapshotOf(listenerOf(`common_tls_context: { tls_certificates: [ ${pair()} ] }`)).listeners[0]!
    .filterChains[0]!;
  assert.ok(tls !== undefined);
  assert.equal(tls.certificates[0]!.chain.file, good.certificate);
  assert.deepEqual(Buffer.from(tls.certificates[0]!.key.bytes), read(good.key));
  assert.deepEqual(
    [tls.minVersion, tls.maxVersion, tls.curves, tls.requireClientCertificate, tls.statefulResumption],
    ["TLSv1.2", "TLSv1.3", "X25519:P-256", false, true],
  );
  assert.equal(tls.ticketKey?.rotates, true);
  assert.equal(tls.ocspStaplePolicy, "LENIENT_STAPLING");
  assert.equal(tls.sessionTimeoutSeconds, 7200);
  assert.match(tls.cipherSuites, /:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:/);
});

test("secrets by name, and a validation context put together from two", () => {
  const rest = "";
  const text = listenerOf(
    `require_client_certificate: true, common_tls_context: { alpn_protocols: [h2, http/1.1],
      tls_params: { tls_minimum_protocol_version: TLSv1_3, ecdh_curves: [P-384] },
      tls_certificate_sds_secret_configs: [ { name: own } ],
      combined_validation_context: {
        default_validation_context: { match_typed_subject_alt_names: [ { san_type: URI, matcher: { prefix: "spiffe://t/" } } ] },
        validation_context_sds_secret_config: { name: roots } } }`,
    rest,
  ).replace(
    "static_resources:",
    `static_resources:\n  secrets:\n  - { name: own, tls_certificate: ${pair()} }\n  - { name: roots, validation_context: { trusted_ca: { filename: ${root.certificate} } } }`,
  );
  const { tls } = snapshotOf(text).listeners[0]!.filterChains[0]!;
  assert.deepEqual([tls!.minVersion, tls!.curves, tls!.alpn], ["TLSv1.3", "P-384", ["h2", "http/1.1"]]);
  assert.equal(tls!.validation!.trustedCa!.file, root.certificate);
  assert.deepEqual(tls!.validation!.sanMatchers, [
    { type: "URI", matcher: { kind: "prefix", value: "spiffe://t/", ignoreCase: false }, oid: "" },
  ]);
});

test("a private key never appears in the dump", () => {
  const key = read(good.key).toString();
  const inline = `{ certificate_chain: { filename: ${good.certificate} }, private_key: { inline_string: ${JSON.stringify(key)} } }`;
  const { dump, listeners } = snapshotOf(listenerOf(`common_tls_context: { tls_certificates: [ ${inline} ] }`));
  assert.equal(listeners[0]!.filterChains[0]!.tls!.certificates[0]!.key.file, "");
  const text = JSON.stringify(dump);
  assert.ok(text.includes('"private_key":"[redacted]"') && !text.includes("PRIVATE KEY"));
});

test("a cluster's context; endpoints choose another by their metadata", () => {
  const text = clusterOf(
    "sni: up.test, max_session_keys: 0",
    `transport_socket_matches: [
      { name: mtls, match: { mode: mtls }, transport_socket: { name: tls, typed_config: { "@type": ${TYPE}UpstreamTlsContext, sni: mtls.test } } },
      { name: plain, match: { mode: off }, transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } } } ],`,
  ).replace(
    /lb_endpoints: \[[^\]]*\]/,
    `lb_endpoints: [ ${["mtls", "off", "other"]
      .map(
        (mode, at) =>
          `{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${at + 1} } } }, metadata: { filter_metadata: { envoy.transport_socket_match: { mode: "${mode}" } } } }`,
      )
      .join(", ")} ]`,
  );
  const [cluster] = snapshotOf(text.replace("mode: off }", 'mode: "off" }')).clusters;
  assert.deepEqual(
    cluster!.tls!.map(({ sni, maxSessionKeys, maxVersion }) => [sni, maxSessionKeys, maxVersion]),
    [
      ["up.test", 0, "TLSv1.2"],
      ["mtls.test", 1, "TLSv1.2"],
    ],
  );
  assert.deepEqual(
    cluster!.endpoints.map((endpoint) => endpoint.tls),
    [1, undefined, 0],
  );
});

const listenerProblems: readonly (readonly [string, RegExp])[] = [
  ["common_tls_context: {}", /a listener's TLS context needs a certificate/],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${good.certificate} } } ] }`,
    /a certificate needs private_key/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${good.certificate} }, private_key: { filename: ${other.key} } } ] }`,
    /the private key does not belong to the certificate/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { inline_string: nonsense }, private_key: { filename: ${good.key} } } ] }`,
    /tls_certificates\[0\]\.certificate_chain: there is no certificate in PEM form in it/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${good.certificate} }, private_key: { inline_string: nonsense } } ] }`,
    /tls_certificates\[0\]\.private_key: it is no private key in PEM form, or its password is wrong/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${folder}/none }, private_key: { filename: ${good.key} } } ] }`,
    /cannot read the file: ENOENT/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], tls_params: { cipher_suites: [NONSENSE] } }`,
    /no cipher suite of this name|no cipher match/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], tls_params: { ecdh_curves: [NONSENSE] } }`,
    /no curve of this name/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2 } }`,
    /tls_minimum_protocol_version is above/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], validation_context: { trusted_ca: { inline_string: x } } }`,
    /trusted_ca: there is no certificate/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], validation_context: { match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a } } ] } }`,
    /SAN-based verification of peer certificates without trusted CA is insecure/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], validation_context: { trusted_ca: { filename: ${root.certificate} }, crl: { inline_string: x } } }`,
    /Failed to parse CRL/,
  ],
  [
    `common_tls_context: { tls_certificates: [ ${pair()} ], validation_context: { trusted_ca: { filename: ${root.certificate} }, crl: { inline_string: x }, only_verify_leaf_cert_crl: true } }`,
    /Failed to parse CRL: there is none in PEM form/,
  ],
  [
    `common_tls_context: { tls_certificate_sds_secret_configs: [ { name: nobody } ] }`,
    /no secret 'nobody' in static_resources\.secrets/,
  ],
  [
    `common_tls_context: { tls_certificate_sds_secret_configs: [ { name: a, sds_config: { ads: {} } } ] }`,
    /not supported yet: secrets of a discovery service/,
  ],
  [
    `ocsp_staple_policy: MUST_STAPLE, common_tls_context: { tls_certificates: [ ${pair()} ] }`,
    /Required OCSP response is missing from TLS context/,
  ],
  [
    `common_tls_context: { key_log: { path: /nowhere }, tls_certificates: [ ${pair()} ] }`,
    /not supported: key_log: secrets of connections are never written down/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { pkcs12: { filename: ${good.key} } } ] }`,
    /tls_certificates\[0\]\.pkcs12: it is no PKCS #12 file/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { pkcs12: { inline_string: x }, private_key: { filename: ${good.key} } } ] }`,
    /pkcs12 and private_key cannot stand together/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${good.certificate} }, private_key: { filename: ${good.key} }, ocsp_staple: { filename: ${staple} } } ] }`,
    /tls_certificates\[0\]\.ocsp_staple: OCSP response does not match its TLS certificate/,
  ],
  [
    `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${must.certificate} }, private_key: { filename: ${must.key} } } ] }`,
    /OCSP response is required for must-staple certificate/,
  ],
  [
    `full_scan_certs_on_sni_mismatch: true, common_tls_context: { tls_certificates: [ ${pair(rsa)}, { certificate_chain: { filename: ${other.certificate} }, private_key: { filename: ${other.key} }, ocsp_staple: { filename: ${staple} } } ] }`,
    /not supported for a name that has certificates of several kinds/,
  ],
  [
    `session_ticket_keys: { keys: [ { inline_string: short } ] }, common_tls_context: { tls_certificates: [ ${pair()} ] }`,
    /incorrect TLS session ticket key length, 5 bytes, but should be 80/,
  ],
];

for (const [context, wanted] of listenerProblems) {
  test(`a listener's context is refused: ${wanted.source.slice(0, 60)}`, () => {
    const { errors } = load(listenerOf(context));
    assert.ok(
      errors.some(({ message }) => wanted.test(message)),
      JSON.stringify(errors),
    );
    assert.ok(
      errors.every(({ line, path }) => line > 0 && path.startsWith("static_resources.listeners[0].filter_chains[0]")),
    );
  });
}

test("a cluster's context is refused", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [clusterOf("allow_renegotiation: true"), /not supported: allow_renegotiation: hosts cannot renegotiate/],
    [
      clusterOf(`common_tls_context: { tls_certificates: [ ${pair()}, ${pair(other)} ] }`),
      /multiple TLS certificates are not supported for client contexts/,
    ],
    [
      clusterOf("auto_sni_san_validation: true"),
      /'auto_sni_san_validation' was configured without a validation context/,
    ],
    [
      bootstrap({
        cluster: `transport_socket: { name: tls, typed_config: { "@type": ${TYPE}DownstreamTlsContext } },`,
      }),
      /a cluster takes a UpstreamTlsContext/,
    ],
    [
      clusterOf(
        "sni: a",
        `typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http_protocol_options: {} }, upstream_http_protocol_options: { auto_sni: true } } },`,
      ),
      /not supported yet: auto_sni/,
    ],
  ];
  for (const [text, wanted] of cases) {
    const { errors } = load(text);
    assert.ok(
      errors.some(({ message }) => wanted.test(message)),
      JSON.stringify(errors),
    );
  }
});

test("a PKCS #12 file, an OCSP response, keys of tickets from files: all are watched", () => {
  const keys = join(folder, "tickets");
  writeFileSync(keys, Buffer.alloc(80, 1));
  const { tls } = snapshotOf(
    listenerOf(`ocsp_staple_policy: STRICT_STAPLING, session_ticket_keys: { keys: [ { filename: ${keys} } ] },
      common_tls_context: { tls_certificates: [ { pkcs12: { filename: ${root.store(other, "secret")} }, password: { inline_string: secret },
        ocsp_staple: { filename: ${staple} } } ] }`),
  ).listeners[0]!.filterChains[0]!;
  const [certificate] = tls!.certificates;
  assert.deepEqual(
    [
      tls!.ocspStaplePolicy,
      certificate!.form,
      certificate!.key.file,
      certificate!.ocspStaple!.file,
      tls!.ticketKey!.source.file,
    ],
    ["STRICT_STAPLING", "pkcs12", other.certificate.replace(".pem", ".p12"), staple, keys],
  );
});

test("a PKCS #12 file that stands in the text, and its password, never appear in the dump", () => {
  const store = read(root.store(other, "open sesame")).toString("base64");
  const { dump } = snapshotOf(
    listenerOf(
      `common_tls_context: { tls_certificates: [ { pkcs12: { inline_bytes: ${store} }, password: { inline_string: open sesame } } ] }`,
    ),
  );
  const text = JSON.stringify(dump);
  assert.ok(text.includes('"pkcs12":"[redacted]"') && text.includes('"password":"[redacted]"'));
  assert.ok(!text.includes("open sesame") && !text.includes(store.slice(0, 40)));
});

test("what listeners are not: datagrams, internal, matched by another tree", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["udp_listener_config: {},", /not supported: udp_listener_config: listeners are TCP listeners/],
    ["internal_listener: {},", /not supported: internal_listener: use a unix socket/],
    ["filter_chain_matcher: {},", /not supported: filter_chain_matcher: use filter_chain_match of each chain/],
    ["enable_mptcp: true,", /not supported: enable_mptcp/],
  ];
  for (const [listener, wanted] of cases)
    assert.ok(
      load(bootstrap({ listener })).errors.some(({ message }) => wanted.test(message)),
      listener,
    );
  const datagrams = bootstrap().replace("socket_address: {", "socket_address: { protocol: UDP,");
  assert.match(load(datagrams).errors[0]!.message, /not supported yet: UDP/);
});

test("a password opens a key; a wrong one does not", () => {
  const key = join(folder, "locked.key");
  root.lock(good.key, key, "secret");
  writeFileSync(join(folder, "password"), "secret\n");
  const certificate = (password: string): string =>
    listenerOf(
      `common_tls_context: { tls_certificates: [ { certificate_chain: { filename: ${good.certificate} }, private_key: { filename: ${key} }, password: ${password} } ] }`,
    );
  assert.deepEqual(load(certificate(`{ filename: ${join(folder, "password")} }`)).errors, []);
  assert.match(load(certificate("{ inline_string: wrong }")).errors[0]!.message, /its password is wrong/);
});

test("listener filters with their settings; a TLS inspector is brought along by chains that need one", () => {
  const LISTENER = "type.googleapis.com/envoy.extensions.filters.listener.";
  const text = bootstrap({
    listener: `listener_filters: [
      { name: proxy, typed_config: { "@type": ${LISTENER}proxy_protocol.v3.ProxyProtocol, stat_prefix: edge, disallowed_versions: [V1],
        allow_requests_without_proxy_protocol: true, rules: [ { tlv_type: 0xEA, on_tlv_present: { key: vpc } } ] } },
      { name: tls, typed_config: { "@type": ${LISTENER}tls_inspector.v3.TlsInspector, enable_ja3_fingerprinting: true, max_client_hello_size: 1000 } },
      { name: http, typed_config: { "@type": ${LISTENER}http_inspector.v3.HttpInspector } } ],`,
  });
  const [listener] = snapshotOf(text).listeners;
  assert.deepEqual(
    listener!.listenerFilters.map(({ filter }) => filter),
    [
      {
        kind: "proxy_protocol",
        allowMissing: true,
        disallowedVersions: [1],
        statPrefix: "edge",
        passed: [],
        rules: [{ type: 0xea, namespace: "envoy.filters.listener.proxy_protocol", key: "vpc" }],
      },
      { kind: "tls_inspector", ja3: true, ja4: false, maxHelloBytes: 1000, closeOnBrokenHello: false },
      { kind: "http_inspector" },
    ],
  );
  const { snapshot, warnings } = load(bootstrap({ chain: "filter_chain_match: { server_names: [a.test] }," }));
  assert.deepEqual(
    snapshot!.listeners[0]!.listenerFilters.map(({ filter }) => filter.kind),
    ["tls_inspector"],
  );
  assert.ok(warnings.some(({ rule }) => rule === "tls-inspector"));
});

test("hosts that are told who downstream is, with TLS below or not; version 1 has no fields", () => {
  const PROXIED = `"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`;
  const raw = `transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }`;
  const tls = `transport_socket: { name: tls, typed_config: { "@type": ${TYPE}UpstreamTlsContext, sni: up.test } }`;
  const of = (inner: string, config: string): ReturnType<typeof load> =>
    load(bootstrap({ cluster: `transport_socket: { name: p, typed_config: { ${PROXIED}, ${config} ${inner} } },` }));
  const fields =
    "pass_through_tlvs: { match_type: INCLUDE, tlv_type: [5] }, added_tlvs: [ { type: 0xE0, value: YQ== } ]";
  const [second] = of(tls, `config: { version: V2, ${fields} },`).snapshot!.clusters;
  assert.deepEqual(second!.endpoints[0]!.proxyProtocol, {
    version: 2,
    passed: [5],
    added: [{ type: 0xe0, value: new Uint8Array([0x61]) }],
  });
  assert.deepEqual([second!.endpoints[0]!.tls, second!.tls![0]!.sni], [0, "up.test"]);
  const first = of(raw, `config: { ${fields} },`);
  assert.deepEqual(first.snapshot!.clusters[0]!.endpoints[0]!.proxyProtocol!.version, 1);
  assert.equal(first.snapshot!.clusters[0]!.endpoints[0]!.tls, undefined);
  assert.equal(first.warnings.filter(({ message }) => /version 1 have no such fields/.test(message)).length, 2);
  assert.match(of("", "config: {},").errors[0]!.message, /required/);
  assert.match(of(raw, "config: { added_tlvs: [ { type: 300, value: YQ== } ] },").errors[0]!.message, /256/);
});

test("what becomes of client certificates, and routes that ask for them", () => {
  const manager = `forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: { dns: true, subject: true, cert: true },`;
  const routes = "{ match: { prefix: /, tls_context: { presented: true, validated: false } }, route: { cluster: up } }";
  const snapshot = snapshotOf(bootstrap({ manager, routes }));
  const hcm = managerOf(snapshot);
  assert.deepEqual(hcm.clientCert, { mode: "SANITIZE_SET", details: ["cert", "subject", "dns"] });
  assert.deepEqual(hcm.routeConfig.virtualHosts[0]!.routes[0]!.match.tls, { presented: true, validated: false });
  assert.equal(managerOf(snapshotOf(bootstrap())).clientCert, undefined);
});

test("a context that is loaded again without a change is the same, ticket key and all", () => {
  const text = listenerOf(`common_tls_context: { tls_certificates: [ ${pair()} ] }`);
  const [first, second] = [snapshotOf(text), snapshotOf(text)];
  assert.deepEqual(first.listeners, second.listeners);
  const third = snapshotOf(listenerOf(`common_tls_context: { tls_certificates: [ ${pair(other)} ] }`));
  const keys = [first, third].map((one) =>
    Buffer.from(one.listeners[0]!.filterChains[0]!.tls!.ticketKey!.source.bytes).toString("hex"),
  );
  assert.notEqual(keys[0], keys[1]);
});

test("secrets of a file, as a discovery service would send them; files in it are watched, and its mistakes have its name", () => {
  const path = join(folder, "sds.yaml");
  const put = (secret: string): void => writeFileSync(path, `resources:\n- { "@type": ${TYPE}Secret, ${secret} }\n`);
  const text = listenerOf(
    `common_tls_context: { tls_certificate_sds_secret_configs: [ { name: own, sds_config: { path_config_source: { path: ${path}, watched_directory: { path: ${folder} } } } } ] }`,
  );
  // Relative names start from the file's own folder.
  put(
    "name: own, tls_certificate: { certificate_chain: { filename: good.test.pem }, private_key: { filename: good.test.key } }",
  );
  const { tls } = snapshotOf(text).listeners[0]!.filterChains[0]!;
  assert.equal(tls!.certificates[0]!.chain.file, good.certificate);
  assert.deepEqual(tls!.watchedDirectories, [folder]);
  put("name: other, tls_certificate: {}");
  assert.match(load(text).errors[0]!.message, /no secret 'own' in that file/);
  put("name: own, tls_certificate: { certificate: {} }");
  assert.ok(load(text).errors.some(({ file, rule }) => file === path && rule === "unknown-field"));
  put("name: own, validation_context: {}");
  assert.match(load(text).errors[0]!.message, /the secret 'own' is no tls_certificate/);
  rmSync(path);
  assert.match(load(text).errors[0]!.message, /cannot read the file: ENOENT/);
});

test("a configuration is the same one whatever has become of its files of secrets", () => {
  const path = join(folder, "moving.yaml");
  const inline = (one: string): string => `{ inline_string: ${JSON.stringify(read(one).toString())} }`;
  const put = (own = good): void =>
    writeFileSync(
      path,
      `resources:\n- { "@type": ${TYPE}Secret, name: own, tls_certificate: { certificate_chain: ${inline(own.certificate)}, private_key: ${inline(own.key)} } }\n` +
        `- { "@type": ${TYPE}Secret, name: roots, validation_context: { trusted_ca: ${inline(own.certificate)} } }\n`,
    );
  const from = (name: string): string => `{ name: ${name}, sds_config: { path_config_source: { path: ${path} } } }`;
  const text = (name: string, suffix: string): string =>
    listenerOf(`common_tls_context: { tls_certificate_sds_secret_configs: [ ${from(name)} ], combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: [ { san_type: DNS, matcher: { suffix: ${suffix} } } ] },
      validation_context_sds_secret_config: ${from("roots")} } }`);
  put();
  const before = snapshotOf(text("own", ".test"));
  put(other);
  const after = snapshotOf(text("own", ".test"));
  const bytes = ({ listeners }: typeof before): Uint8Array =>
    listeners[0]!.filterChains[0]!.tls!.certificates[0]!.chain.bytes;
  assert.notDeepEqual(bytes(before), bytes(after));
  assert.ok(sameConfig(before.listeners, after.listeners));
  assert.ok(!sameConfig(before.listeners, snapshotOf(text("own", ".else")).listeners));
});

test("HTTP/2 of downstream: streams and windows", () => {
  const options = (text: string): string => `http2_protocol_options: { ${text} },`;
  const { http2 } = managerOf(
    snapshotOf(bootstrap({ manager: options("max_concurrent_streams: 7, initial_stream_window_size: 65535") })),
  );
  assert.deepEqual(http2, {
    maxConcurrentStreams: 7,
    streamWindowBytes: 65_535,
    connectionWindowBytes: 24 * 1024 * 1024,
    allowConnect: false,
  });
  const { snapshot, warnings } = load(bootstrap({ manager: options("max_concurrent_streams: 5000") }));
  assert.equal(managerOf(snapshot!).http2!.maxConcurrentStreams, 1024);
  assert.match(warnings[0]!.message, /at most 1024 streams/);
});
