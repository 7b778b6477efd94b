/** The statistics of a listener, its listener filters and its TLS, held against Envoy's lists (configuration/listeners/stats and below). */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ListenerFilterKind } from "../../runtime/config/listener-snapshot.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { Authority, folder } from "../tls/certificates.ts";
import { downstreamTls } from "../tls/contexts.ts";
import { chain, config, echo, environment, ip } from "./fixture.ts";

/** Envoy's names below `listener.<address>.`; a text: why there is no such statistic here. */
const LISTENER: Readonly<Record<string, true | string>> = {
  downstream_cx_total: true,
  downstream_cx_destroy: true,
  downstream_cx_active: true,
  downstream_cx_length_ms: true,
  downstream_cx_transport_socket_connect_timeout: true,
  downstream_cx_overflow: true,
  downstream_cx_overload_reject: "no overload action rejects connections",
  downstream_global_cx_overflow: true,
  connections_accepted_per_socket_event: "libuv accepts, and does not tell how many at a time",
  downstream_cx_proxy_proto_error: true,
  downstream_pre_cx_timeout: true,
  downstream_pre_cx_active: true,
  downstream_listener_filter_remote_close: true,
  downstream_listener_filter_error: true,
  extension_config_missing: "there is no extension discovery",
  network_extension_config_missing: "there is no extension discovery",
  global_cx_overflow: "Envoy's own older name of downstream_global_cx_overflow",
  no_filter_chain_match: true,
  "worker_0.downstream_cx_total": true,
  "worker_0.downstream_cx_active": true,
  "ssl.connection_error": true,
  "ssl.handshake": true,
  "ssl.session_reused": true,
  "ssl.no_certificate": true,
  "ssl.fail_verify_no_cert": true,
  "ssl.fail_verify_error": true,
  "ssl.fail_verify_san": true,
  "ssl.fail_verify_cert_hash": true,
  "ssl.ocsp_staple_failed": true,
  "ssl.ocsp_staple_omitted": true,
  "ssl.ocsp_staple_responses": true,
  "ssl.ocsp_staple_requests": true,
  "ssl.was_key_usage_invalid": true,
  "ssl.certificate.unnamed_cert_e3b0c442.expiration_unix_time_seconds": true,
  "server_ssl_socket_factory.ssl_context_update_by_sds": true,
  "server_ssl_socket_factory.upstream_context_secrets_not_ready": "contexts are made with their secrets or not at all",
  "server_ssl_socket_factory.downstream_context_secrets_not_ready":
    "contexts are made with their secrets or not at all",
};

/** Names of listener filters. */
const FILTERS: readonly string[] = [
  ...[
    "client_hello_too_large",
    "tls_found",
    "tls_not_found",
    "alpn_found",
    "alpn_not_found",
    "sni_found",
    "sni_not_found",
  ].map((name) => `tls_inspector.${name}`),
  "tls_inspector.bytes_processed",
  ...["http10_found", "http11_found", "http2_found", "http_not_found"].map((name) => `http_inspector.${name}`),
  ...["v1", "v2"].flatMap((version) =>
    ["found", "disallowed", "error"].map((what) => `proxy_proto.edge.versions.${version}.${what}`),
  ),
  "proxy_proto.edge.not_found_allowed",
  "proxy_proto.edge.not_found_disallowed",
];

/** Statistics of ours that Envoy has not. */
const OURS: readonly string[] = ["server_ssl_socket_factory.ssl_context_update_failed"];

test("names are Envoy's, and each that is missing has its reason", async (t) => {
  const one = new Authority(folder(t), "root").issue("one.test");
  const kinds: readonly ListenerFilterKind[] = [
    { kind: "tls_inspector", ja3: false, ja4: false, maxHelloBytes: 1000, closeOnBrokenHello: false },
    { kind: "http_inspector" },
    { kind: "proxy_protocol", allowMissing: false, disallowedVersions: [], statPrefix: "edge", passed: [], rules: [] },
  ];
  const found = new Set<string>();
  const stats = new StatsStore(({ entries }) => entries.forEach(({ name }) => found.add(name)));
  const listener = config(ip("127.0.0.1"), {
    listenerFilters: kinds.map((filter) => ({ name: filter.kind, disabled: undefined, filter })),
    filterChains: [{ ...chain("secure"), tls: downstreamTls([one]) }],
  });
  const set = new ListenerSet(
    [listener],
    environment(stats, () => [echo]),
  );
  t.after(() => set.close());
  // Names are announced once the turn is over.
  await new Promise((resolve) => setImmediate(resolve));
  for (const [name, here] of Object.entries(LISTENER))
    assert.equal(found.has(`listener.l.${name}`), here === true, name);
  for (const name of FILTERS) assert.ok(found.has(name), name);
  const below = [...found]
    .filter((name) => name.startsWith("listener.l."))
    .map((name) => name.slice("listener.l.".length));
  assert.deepEqual(below.filter((name) => !(name in LISTENER)).toSorted(), OURS);
});
