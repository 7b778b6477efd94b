/** A whole bootstrap: what it becomes, and what is wrong with it, all in one run. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { loadBootstrap } from "../../runtime/config/load.ts";
import { formatProblem, type Source } from "../../runtime/config/problem.ts";
import { descriptorsOf, moduleWith } from "./descriptors.ts";
import { bootstrap, brief, load, managerOf, OPTIONS, type Parts, snapshotOf } from "./fixture.ts";

const FAULT = `"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault`;
const WASM = `"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm`;
const folder = mkdtempSync(join(tmpdir(), "sluice-config-"));
after(() => rmSync(folder, { recursive: true }));
const EVANGELIST = readFileSync(join(import.meta.dirname, "../../filters/evangelist/evangelist.proto"), "utf8");
writeFileSync(join(folder, "evangelist.wasm"), moduleWith(descriptorsOf(EVANGELIST)));

/** An evangelist filter as an author of a bootstrap writes it. */
function evangelist(config: string, name = "ev"): string {
  return `{ name: ${name}, typed_config: { ${WASM}, config: { name: n, vm_config: { code: { local: { filename: evangelist.wasm } } },
    configuration: ${config} } } },`;
}
const TOLD = `{ "@type": type.googleapis.com/sluice.filters.evangelist.v1.Evangelist, msg: hello from wasm }`;

describe("the five errors of one file", () => {
  const QUICK = readFileSync(join(import.meta.dirname, "../../samples/quickstart/sluice.yaml"), "utf8").replace(
    "../../build/filters/evangelist.wasm",
    "evangelist.wasm",
  );
  const broken = QUICK.replace("stat_prefix: ingress", "stat_prefx: ingress")
    .replace("use_remote_address: true", 'use_remote_address: "true"')
    .replace("msg: hello from wasm", "msg: short")
    .replace(
      "{ prefix: / }\n                          route: { cluster: upstream }",
      "{ prefix: / }\n                          route: { cluster: upstraem }",
    )
    .replace("timeout: 0.5s", "timeout: 500ms");

  function place(needle: string): string {
    const lines = broken.split("\n");
    const line = lines.findIndex((text) => text.includes(needle));
    return `${line + 1}:${(lines[line] ?? "").indexOf(needle) + 1}`;
  }

  test("the file itself is right", () => {
    const { errors, snapshot } = loadBootstrap([{ name: "sluice.yaml", text: QUICK, base: folder }], OPTIONS);
    assert.deepEqual(errors, []);
    assert.equal(snapshot?.plugins.length, 3);
    assert.deepEqual(Buffer.from(snapshot.plugins[0]?.configuration ?? []).toString("latin1"), "\n\x0fhello from wasm");
  });

  test("wrong field, wrong type, short text, missing cluster, bad duration", () => {
    const { errors, snapshot } = loadBootstrap([{ name: "sluice.yaml", text: broken, base: folder }], OPTIONS);
    assert.equal(snapshot, undefined);
    const at = (needle: string): string | undefined =>
      errors.map(formatProblem).find((line) => line.startsWith(`sluice.yaml:${place(needle)}:`));
    assert.match(
      at("stat_prefx") ?? "",
      /stat_prefx: .* has no such field; did you mean "stat_prefix"\? \[unknown-field\]/,
    );
    assert.match(at('"true"') ?? "", /use_remote_address: expected true or false, found the text "true" \[type\]/);
    assert.match(
      at("short") ?? "",
      /http_filters\[0\]\.typed_config\.config\.configuration\.msg: must have at least 8 characters, has 5 \[string\.min_len\]/,
    );
    assert.match(at("upstraem") ?? "", /unknown cluster 'upstraem'; did you mean "upstream"\? \[unknown-cluster\]/);
    assert.match(at("500ms") ?? "", /timeout: expected a duration such as "1\.5s", found the text "500ms" \[type\]/);
    // That the misspelt field leaves a required one unset is no problem of its own.
    assert.deepEqual(errors.map((p) => p.rule).toSorted(), [
      "string.min_len",
      "type",
      "type",
      "unknown-cluster",
      "unknown-field",
    ]);
  });
});

/** Parts of a bootstrap, and where the first error is: path suffix and rule. */
const REFUSED: readonly [title: string, parts: Parts, path: string, rule: string][] = [
  ["unknown cluster", { routes: "{ match: { prefix: / }, route: { cluster: pu } }" }, "routes[0].route.cluster", "unknown-cluster"],
  ["unknown cluster, weighted", { routes: "{ match: { prefix: / }, route: { weighted_clusters: { clusters: [ { name: no, weight: 1 } ] } } }" }, "clusters[0].name", "unknown-cluster"],
  ["weights of zero", { routes: "{ match: { prefix: / }, route: { weighted_clusters: { clusters: [ { name: up } ] } } }" }, "weighted_clusters.clusters", "weighted-cluster"],
  ["unknown cluster of a gRPC service", { filters: `{ name: rl, typed_config: { "@type": x/envoy.extensions.filters.http.ratelimit.v3.RateLimit, domain: d, rate_limit_service: { transport_api_version: V3, grpc_service: { envoy_grpc: { cluster_name: no } } } } },` }, "envoy_grpc.cluster_name", "unknown-cluster"],
  ["bad expression", { routes: '{ match: { safe_regex: { regex: "a(" } }, route: { cluster: up } }' }, "safe_regex.regex", "regex"],
  ["back reference", { routes: '{ match: { safe_regex: { regex: "(a)\\\\1" } }, route: { cluster: up } }' }, "safe_regex.regex", "regex"],
  ["bad header name", { routes: '{ match: { prefix: /, headers: [ { name: "a b", present_match: true } ] }, route: { cluster: up } }' }, "headers[0].name", "header-name"],
  ["pseudo header added", { host: 'request_headers_to_add: [ { header: { key: ":path", value: a } } ],' }, "header.key", "header-name"],
  ["host removed", { host: "request_headers_to_remove: [ host ]," }, "request_headers_to_remove[0]", "header-name"],
  ["format of a header", { host: 'response_headers_to_add: [ { header: { key: a, value: "%NOPE%" } } ],' }, "header.value", "format"],
  ["format of an access log", { manager: 'access_log: [ { name: a, typed_config: { "@type": x/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: { text_format_source: { inline_string: "%NOPE%" } } } } ],' }, "log_format.text_format_source", "format"],
  ["long direct response", { routes: `{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ${"a".repeat(4097)} } } }` }, "direct_response.body", "direct-response"],
  ["status of a direct response", { routes: "{ match: { prefix: / }, direct_response: { status: 99 } }" }, "direct_response.status", "uint32.gte"],
  ["duplicate domains", { hosts: ", { name: j, domains: [ A.b, a.B ] }" }, "virtual_hosts[1].domains[1]", "duplicate"],
  ["two wildcards", { hosts: ", { name: j, domains: [ '*' ] }" }, "virtual_hosts[1].domains[0]", "duplicate"],
  ["two hosts of one name", { hosts: ", { name: h, domains: [ a ] }" }, "virtual_hosts[1].name", "duplicate"],
  ["name of a host in a static cluster", { clusters: "- { name: d, type: STATIC, load_assignment: { cluster_name: d, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: localhost, port_value: 1 } } } } ] } ] } }" }, "socket_address.address", "ip-address"],
  ["duplicate clusters", { clusters: "- { name: up }" }, "clusters[1].name", "duplicate"],
  ["router first", { filters: `{ name: router2, typed_config: { "@type": x/envoy.extensions.filters.http.router.v3.Router } },` }, "http_filters[0].name", "terminal-filter"],
  ["router not last", { filters: `{ name: r, typed_config: { "@type": x/envoy.extensions.filters.http.router.v3.Router } }, { name: f, typed_config: { ${FAULT} } } ], x: [` }, "typed_config.x", "unknown-field"],
  ["two filters of one name", { filters: `{ name: f, typed_config: { ${FAULT} } }, { name: f, typed_config: { ${FAULT} } },` }, "http_filters[1].name", "duplicate"],
  ["override of no filter", { host: `typed_per_filter_config: { fualt: { ${FAULT} } },`, filters: `{ name: fault, typed_config: { ${FAULT} } },` }, 'typed_per_filter_config["fualt"]', "unknown-filter"],
  ["override of another type", { host: `typed_per_filter_config: { fault: { "@type": x/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute } },`, filters: `{ name: fault, typed_config: { ${FAULT} } },` }, 'typed_per_filter_config["fault"]', "per-filter"],
  ["rule in an override", { host: `typed_per_filter_config: { fault: { ${FAULT}, abort: { http_status: 99 } } },`, filters: `{ name: fault, typed_config: { ${FAULT} } },` }, "abort.http_status", "uint32.gte"],
  ["misspelt type", { filters: "{ name: f, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.fault.v3.HttpFualt } }," }, '["@type"]', "unknown-type"],
  ["type that Envoy has", { filters: "{ name: f, typed_config: { '@type': x/envoy.extensions.filters.http.lua.v3.Lua, a: 1 } }," }, "http_filters[0].typed_config", "not-supported"],
  ["not an HTTP filter", { filters: "{ name: f, typed_config: { '@type': x/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }," }, "typed_config", "any"],
  ["no type", { filters: "{ name: f }," }, "typed_config", "any"],
  ["upgrade with filters", { manager: "upgrade_configs: [ { upgrade_type: websocket, filters: [ { name: x } ] } ]," }, "filters", "not-supported"],
  ["upgrade without a type", { manager: "upgrade_configs: [ {} ]," }, "upgrade_type", "upgrade"],
  ["upgrade twice", { manager: "upgrade_configs: [ { upgrade_type: websocket }, { upgrade_type: WebSocket } ]," }, "upgrade_type", "upgrade"],
  ["upgrade to h2c", { manager: "upgrade_configs: [ { upgrade_type: h2c } ]," }, "upgrade_type", "upgrade"],
  ["connect_config of an upgrade", { routes: "{ match: { prefix: / }, route: { cluster: up, upgrade_configs: [ { upgrade_type: websocket, connect_config: {} } ] } }" }, "connect_config", "upgrade"],
  ["a PROXY header of a tunnel", { routes: "{ match: { connect_matcher: {} }, route: { cluster: up, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: { proxy_protocol_config: {} } } ] } }" }, "proxy_protocol_config", "not-supported"],
  ["rds", { manager: "rds: { route_config_name: a, config_source: { ads: {} } }," }, ".rds", "not-supported"],
  ["listener filter without a type", { listener: "listener_filters: [ { name: a } ]," }, "typed_config", "any"],
  [
    "no listener filter",
    { listener: `listener_filters: [ { name: a, typed_config: { "@type": type.googleapis.com/google.protobuf.Struct } } ],` },
    "typed_config",
    "any",
  ],
  ["ALTS upstream", { cluster: "transport_socket: { name: alts, typed_config: { '@type': x/envoy.extensions.transport_sockets.alts.v3.Alts } }," }, "transport_socket.typed_config", "not-supported"],
  ["EDS", { cluster: "type: EDS, eds_cluster_config: { eds_config: { ads: {} } }," }, "clusters[0].type", "not-supported"],
  ["health checks", { cluster: "health_checks: [ { timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]," }, "health_checks", "not-supported"],
  ["dynamic resources", { rest: "dynamic_resources: { lds_config: { ads: {} } }" }, "dynamic_resources", "not-supported"],
  ["negative timeout", { routes: "{ match: { prefix: / }, route: { cluster: up, timeout: -1s } }" }, "route.timeout", "duration"],
  ["zero connect timeout", { cluster: "dns_refresh_rate: 0s," }, "dns_refresh_rate", "duration.gt"],
  ["missing module", { filters: evangelist(TOLD).replace("evangelist.wasm", "no.wasm") }, "typed_config.config.configuration[\"@type\"]", "unknown-type"],
  ["long text of a plugin", { filters: evangelist(TOLD.replace("hello from wasm", "x".repeat(26))) }, "configuration.msg", "string.max_len"],
  ["misspelt field of a plugin", { filters: evangelist(TOLD.replace("msg:", "mgs:")) }, "configuration.mgs", "unknown-field"],
  ["override of a plugin, as a whole message", { filters: evangelist(TOLD), host: `typed_per_filter_config: { ev: { ${WASM}, config: { configuration: ${TOLD.replace("hello from wasm", "short")} } } },` }, 'typed_per_filter_config["ev"].config.configuration.msg', "string.min_len"],
  ["override of a plugin", { filters: evangelist(TOLD), host: `typed_per_filter_config: { ev: ${TOLD.replace("hello from wasm", "short")} },` }, 'typed_per_filter_config["ev"].msg', "string.min_len"],
]; // prettier-ignore

describe("refused", () => {
  for (const [title, parts, path, rule] of REFUSED) {
    test(title, () => {
      const { errors, snapshot } = load(bootstrap(parts), {}, folder);
      assert.equal(snapshot, undefined);
      const found = errors.some((p) => p.rule === rule && p.path.endsWith(path) && p.line > 0);
      assert.ok(found, `${path} ${rule} is not in\n${errors.map(formatProblem).join("\n")}`);
    });
  }

  test("a module that is none, a section that is none", () => {
    const code = (bytes: Uint8Array): string[] => {
      const filter = `{ name: w, typed_config: { ${WASM}, config: { vm_config: { code: { local: { inline_bytes: "${Buffer.from(bytes).toString("base64")}" } } } } } },`;
      return load(bootstrap({ filters: filter })).errors.map((p) => `${p.rule} ${p.message}`);
    };
    assert.match(code(Buffer.from("hello"))[0] ?? "", /^module not a WebAssembly module/);
    assert.match(
      code(moduleWith(Buffer.from([0x0a, 0x7f])))[0] ?? "",
      /^module the section sluice\.schema is not a FileDescriptorSet/,
    );
    assert.match(
      code(moduleWith(descriptorsOf(EVANGELIST)).subarray(0, 40))[0] ?? "",
      /^module section 0 at byte 8 is cut off/,
    );
    assert.deepEqual(code(moduleWith(descriptorsOf(EVANGELIST))), []);
  });

  test("listeners of one name and address", () => {
    const listener =
      "{ name: a, address: { socket_address: { address: 127.0.0.1, port_value: 81 } }, filter_chains: [ { filters: [] } ] }";
    const { errors } = load(`static_resources: { listeners: [ ${listener}, ${listener} ] }`);
    assert.deepEqual(
      errors.map((p) => `${p.path} ${p.rule}`),
      ["static_resources.listeners[1].name duplicate", "static_resources.listeners[1].address duplicate"],
    );
  });
});

test("tunnels that end at a route", () => {
  const connectOf = (upgrades: string): unknown => {
    const routes = `{ match: { connect_matcher: {} }, route: { cluster: up, upgrade_configs: [ ${upgrades} ] } }`;
    const [route] = managerOf(snapshotOf(bootstrap({ routes }))).routeConfig.virtualHosts[0]!.routes;
    return route?.action.kind === "route" ? route.action.connect : undefined;
  };
  assert.deepEqual(connectOf("{ upgrade_type: CONNECT, connect_config: {} }"), { allowPost: false });
  assert.deepEqual(connectOf("{ upgrade_type: connect, connect_config: { allow_post: true } }"), { allowPost: true });
  assert.equal(connectOf("{ upgrade_type: CONNECT }"), undefined);
  assert.equal(connectOf("{ upgrade_type: CONNECT, enabled: false, connect_config: {} }"), undefined);
});

describe("the snapshot", () => {
  test("defaults are Envoy's", () => {
    const snapshot = snapshotOf(bootstrap());
    const { routeConfig, httpFilters, accessLogs, ...manager } = managerOf(snapshot);
    assert.deepEqual(httpFilters, [
      { kind: "router", name: "router", disabled: false, suppressEnvoyHeaders: false, respectExpectedRqTimeout: false },
    ]);
    assert.deepEqual(accessLogs, []);
    assert.deepEqual(manager, {
      statPrefix: "in", codecType: "AUTO", serverName: "envoy", serverHeaderTransformation: "OVERWRITE", via: "", useRemoteAddress: false,
      xffNumTrustedHops: 0, skipXffAppend: false, generateRequestId: true, preserveExternalRequestId: false, alwaysSetRequestIdInResponse: false,
      addUserAgent: false, proxy100Continue: false, maxRequestHeadersBytes: 61_440, maxHeadersCount: 100, streamIdleTimeoutMs: 300_000,
      requestTimeoutMs: 0, requestHeadersTimeoutMs: 60_000, idleTimeoutMs: 3_600_000, maxConnectionDurationMs: 0, maxStreamDurationMs: 0,
      delayedCloseTimeoutMs: 1000, drainTimeoutMs: 5000, maxRequestsPerConnection: 0, headersWithUnderscores: "ALLOW", acceptHttp10: false,
      defaultHostForHttp10: "", enableTrailers: false, normalizePath: false, mergeSlashes: false, stripPort: "none", stripTrailingHostDot: false, internalCidrs: [], upgrades: [],
    }); // prettier-ignore
    const action = routeConfig.virtualHosts[0]?.routes[0]?.action;
    assert.ok(action?.kind === "route");
    assert.deepEqual(
      [action.timeoutMs, action.idleTimeoutMs, action.clusterNotFoundStatus, action.retryPolicy],
      [15_000, undefined, 503, undefined],
    );
    const { endpoints, ...cluster } = snapshot.clusters[0] ?? assert.fail();
    assert.deepEqual(cluster, {
      name: "up", statName: "up", type: "STATIC", lbPolicy: "ROUND_ROBIN", connectTimeoutMs: 1000, perConnectionBufferLimitBytes: 1_048_576, protocol: "HTTP1",
      dnsRefreshRateMs: 5000, dnsFailureRefreshRateMs: 5000, dnsLookupFamily: "AUTO", idleTimeoutMs: 3_600_000, maxRequestsPerConnection: 0,
      circuitBreakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 }, metadata: {},
    }); // prettier-ignore
    assert.deepEqual(endpoints, [
      {
        address: { kind: "ip", host: "127.0.0.1", port: 80, ipv4Compat: false },
        hostname: "",
        weight: 1,
        priority: 0,
        healthy: true,
      },
    ]);
  });

  test("is frozen to the ground and can be posted to a thread", () => {
    const snapshot = snapshotOf(bootstrap({ filters: `{ name: f, typed_config: { ${FAULT} } },` }));
    assert.throws(() => Object.assign(managerOf(snapshot), { via: "x" }), TypeError);
    assert.deepEqual(structuredClone(snapshot), snapshot);
  });

  test("bundled filters and overrides are serialized, each place with an id that stays the same", () => {
    const text = (upstream: string): string =>
      bootstrap({
        filters: `{ name: fault, typed_config: { ${FAULT}, max_active_faults: 5 } },`,
        host: `typed_per_filter_config: { fault: { ${FAULT} } },`,
        routes: `{ match: { prefix: /a }, route: { cluster: up }, typed_per_filter_config: { fault: { "@type": x/envoy.config.route.v3.FilterConfig, disabled: true } } },
          { match: { prefix: / }, route: { cluster: up }, typed_per_filter_config: { fault: { "@type": x/envoy.config.route.v3.FilterConfig, config: { ${FAULT}, upstream_cluster: ${upstream} } } } }`,
      });
    const snapshot = snapshotOf(text("up"));
    const [plugin] = snapshot.plugins;
    assert.deepEqual(
      [plugin?.bundled, plugin?.filterName, plugin?.statPrefix, [...(plugin?.configuration ?? [])]],
      [true, "fault", "http.in.", [0x32, 2, 8, 5]],
    );
    const host = managerOf(snapshot).routeConfig.virtualHosts[0];
    const bytes = (array: number[]): Uint8Array => new Uint8Array(array);
    assert.deepEqual(host?.routes[0]?.perFilter, { fault: { disabled: true, id: 0, bytes: undefined } });
    const [first, second] = [host.perFilter["fault"]!, host.routes[1]!.perFilter["fault"]!];
    assert.deepEqual(first, { disabled: false, id: first.id, bytes: bytes([]) });
    assert.deepEqual(second, { disabled: false, id: second.id, bytes: bytes([0x1a, 2, 0x75, 0x70]) });
    assert.ok(first.id > 0 && second.id > 0 && first.id !== second.id);
    // What changes gets another one, what does not keeps its own.
    const later = managerOf(snapshotOf(text("down"))).routeConfig.virtualHosts[0]!;
    assert.equal(later.perFilter["fault"]!.id, first.id);
    assert.notEqual(later.routes[1]!.perFilter["fault"]!.id, second.id);
  });

  test("configurations of a plugin", () => {
    const configured = (config: string): string => {
      const { snapshot, errors } = load(bootstrap({ filters: evangelist(config) }), {}, folder);
      assert.deepEqual(brief(errors), []);
      return Buffer.from(snapshot?.plugins[0]?.configuration ?? []).toString("latin1");
    };
    assert.equal(configured(TOLD), "\n\x0fhello from wasm");
    assert.equal(configured('{ "@type": x/google.protobuf.StringValue, value: "a b" }'), "a b");
    assert.equal(configured('{ "@type": x/google.protobuf.BytesValue, value: aGk= }'), "hi");
    assert.equal(configured('{ "@type": x/google.protobuf.Struct, value: { a: [1, b] } }'), '{"a":[1,"b"]}');
    assert.equal(configured('{ "@type": x/google.protobuf.Duration, value: 1s }'), "\b\x01");
  });

  test("an override of a plugin is its own type or a Wasm message", () => {
    const { snapshot, errors } = load(
      bootstrap({
        filters: evangelist(TOLD),
        host: `typed_per_filter_config: { ev: ${TOLD} },`,
        table: `typed_per_filter_config: { ev: { ${WASM}, config: { configuration: ${TOLD} } } },`,
      }),
      {},
      folder,
    );
    assert.deepEqual(brief(errors), []);
    const table = managerOf(snapshot ?? assert.fail()).routeConfig;
    for (const scope of [table, table.virtualHosts[0]])
      assert.equal(Buffer.from(scope?.perFilter["ev"]?.bytes ?? []).toString("latin1"), "\n\x0fhello from wasm");
  });

  test("metadata of virtual hosts and endpoints is kept for filters; where there is none, nothing is", () => {
    const metadata = (key: string): string => `metadata: { filter_metadata: { ns: { at: ${key} } } }`;
    const address = "address: { socket_address: { address: 127.0.0.1, port_value: 81 } }";
    const snapshot = snapshotOf(
      bootstrap({
        host: `${metadata("host")},`,
        clusters: `- { name: c, connect_timeout: 1s, load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [
          { endpoint: { ${address} }, ${metadata("endpoint")} } ] } ] } }`,
      }),
    );
    assert.deepEqual(managerOf(snapshot).routeConfig.virtualHosts[0]!.metadata, { ns: { at: "host" } });
    assert.deepEqual(
      snapshot.clusters.map(({ endpoints }) => endpoints[0]!.metadata),
      [undefined, { ns: { at: "endpoint" } }],
    );
  });

  test("the node: command line values fill what is empty, and stand in xds.node", () => {
    const { node } = snapshotOf(bootstrap({ rest: "node: { id: own, metadata: { a: 1 } }" }), {
      serviceNode: "no",
      serviceCluster: "c",
      serviceZone: "z",
    });
    assert.deepEqual([node.id, node.cluster, node.zone, node.metadata], ["own", "c", "z", { a: 1 }]);
    assert.ok(Buffer.from(node.serialized).includes("own") && Buffer.from(node.serialized).includes("z"));
  });

  test("static runtime layers are flattened, later ones win", () => {
    const layers =
      "layered_runtime: { layers: [ { name: a, static_layer: { x: { y: 1, z: t }, f: { numerator: 5, denominator: MILLION } } }, { name: b, static_layer: { x.y: 2 } }, { name: c, admin_layer: {} } ] }";
    assert.deepEqual(snapshotOf(bootstrap({ rest: layers })).runtime, {
      "x.y": 2,
      "x.z": "t",
      f: { numerator: 5, denominator: 1_000_000 },
    });
  });

  test("the dump is protobuf JSON in snake_case", () => {
    const { dump } = snapshotOf(
      `{ "staticResources": { "clusters": [ { "name": "c", "connectTimeout": "0.25s", "lbPolicy": 3, "type": 0 } ] }, "admin": null }`,
    );
    assert.deepEqual(dump, {
      node: {},
      static_resources: { clusters: [{ name: "c", connect_timeout: "0.250s", lb_policy: "RANDOM", type: "STATIC" }] },
    });
  });

  test("HTTP/2 upstream by HttpProtocolOptions and by the older field", () => {
    const options = `typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": x/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, common_http_protocol_options: { idle_timeout: 2s, max_requests_per_connection: 9 }, explicit_http_config: { http2_protocol_options: {} } } },`;
    const [cluster] = snapshotOf(bootstrap({ cluster: options })).clusters;
    assert.deepEqual(
      [cluster?.protocol, cluster?.idleTimeoutMs, cluster?.maxRequestsPerConnection],
      ["HTTP2", 2000, 9],
    );
    assert.equal(snapshotOf(bootstrap({ cluster: "http2_protocol_options: {}," })).clusters[0]?.protocol, "HTTP2");
  });

  test("fields without effect and deprecated fields are warnings", () => {
    const { warnings, errors } = load(bootstrap({ manager: "tracing: {},", cluster: "http2_protocol_options: {}," }));
    assert.deepEqual(errors, []);
    assert.deepEqual(
      warnings.map((p) => `${p.path.split(".").at(-1)} ${p.rule}`),
      ["tracing ignored", "http2_protocol_options deprecated"],
    );
  });
});

describe("--config-yaml", () => {
  const source = (name: string, text: string): Source => ({ name, text, base: import.meta.dirname });

  test("is merged: lists append, messages merge, scalars are replaced", () => {
    const more =
      "{ node: { id: b }, admin: { address: { socket_address: { address: 127.0.0.1, port_value: 5 } } }, static_resources: { clusters: [ { name: two } ] } }";
    const { snapshot, errors } = loadBootstrap(
      [source("file", bootstrap({ rest: "node: { id: a, cluster: c }" })), source("--config-yaml", more)],
      OPTIONS,
    );
    assert.deepEqual(errors, []);
    assert.deepEqual(
      [snapshot?.node.id, snapshot?.node.cluster, snapshot?.clusters.map((c) => c.name)],
      ["b", "c", ["up", "two"]],
    );
    assert.deepEqual(snapshot?.admin?.address, { kind: "ip", host: "127.0.0.1", port: 5, ipv4Compat: false });
  });

  test("a problem names the source it stands in", () => {
    const { errors } = loadBootstrap(
      [source("file", bootstrap()), source("--config-yaml", "\nnode: { id: 5 }")],
      OPTIONS,
    );
    assert.deepEqual(
      errors.map((p) => `${p.file}:${p.line}:${p.column} ${p.path}`),
      ["--config-yaml:2:13 node.id"],
    );
  });
});

test("one mistake is one error", () => {
  const count = (parts: Parts): string[] => load(bootstrap(parts)).errors.map((p) => p.rule);
  assert.deepEqual(count({ cluster: "dns_refresh_rate: 500ms," }), ["type"]);
  assert.deepEqual(count({ filters: "{ name: 5, typed_config: { '@type': x/no.such.Type } }," }), [
    "type",
    "unknown-type",
  ]);
  assert.deepEqual(count({ filters: "{ name: f, typed_config: { text: 5 } }," }), ["any"]);
  assert.deepEqual(count({ filters: "{ name: f, typed_config: 5 }," }), ["type"]);
  assert.deepEqual(count({ routes: "{ match: { prefx: / }, route: { cluster: up } }" }), ["unknown-field"]);
  assert.deepEqual(count({ manager: "access_log: [ { name: a, typed_config: 5 } ]," }), ["type"]);
});
