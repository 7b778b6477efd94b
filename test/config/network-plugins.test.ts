/** Wasm network filters in a filter chain: any module, and the bundled ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brief, load, OPTIONS, snapshotOf } from "./fixture.ts";

const MYSQL = "envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy";
const options = {
  bundledFilters: { ...OPTIONS.bundledFilters, [MYSQL]: { name: "mysql", module: import.meta.filename } },
};

function chain(...filters: string[]): string {
  return `
static_resources:
  listeners:
  - name: l
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    traffic_direction: INBOUND
    filter_chains: [ { filters: [ ${filters.map((one) => one.replaceAll(/\s+/g, " ")).join(", ")} ] } ]
  clusters: [ { name: c } ]
`;
}
const HCM = `{ name: hcm, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
  stat_prefix: h, route_config: { virtual_hosts: [ { name: v, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: c } } ] } ] },
  http_filters: [ { name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ] } }`;
const mysql = (fields: string): string =>
  `{ name: sniff, typed_config: { "@type": type.googleapis.com/${MYSQL}, ${fields} } }`;

test("any module, with its configuration", () => {
  const wasm = `{ name: guard, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm,
    config: { name: g, root_id: r, fail_open: true,
      vm_config: { code: { local: { inline_bytes: AGFzbQEAAAA= } } },
      configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: text } } } }`;
  const { listeners, plugins } = snapshotOf(chain(wasm, HCM));
  assert.deepEqual(
    listeners[0]!.filterChains[0]!.filters.map(({ kind, name }) => [kind, name]),
    [
      ["wasm", "guard"],
      ["http_connection_manager", "hcm"],
    ],
  );
  const [plugin] = plugins;
  assert.deepEqual(
    [plugin?.name, plugin?.rootId, plugin?.filterName, plugin?.failurePolicy, plugin?.direction, plugin?.bundled],
    ["g", "r", "guard", "FAIL_OPEN", 1, false],
  );
  assert.equal(Buffer.from(plugin!.configuration).toString(), "text");
});

test("mysql_proxy is a bundled plugin with its serialized message", () => {
  const { plugins } = snapshotOf(chain(mysql("stat_prefix: db"), HCM), options);
  assert.deepEqual([plugins[0]?.bundled, plugins[0]?.name], [true, "sniff"]);
  assert.equal(Buffer.from(plugins[0]!.configuration).toString("hex"), "0a026462");
});

test("mysql_proxy: what is wrong is told", () => {
  const { errors } = load(chain(mysql('stat_prefix: ""'), HCM), options);
  assert.match(brief(errors).join(), /filters\[0\].*stat_prefix/);
  const { warnings } = load(chain(mysql("stat_prefix: a, access_log: /x"), HCM), options);
  assert.match(brief(warnings).join(), /access_log/);
  const last = load(chain(mysql("stat_prefix: a")), options);
  assert.match(
    last.errors.map(({ message }) => message).join(),
    /non-terminal filter named sniff must not be the last/,
  );
});

test("a network filter is no HTTP filter", () => {
  const filters = HCM.replace("http_filters: [", `http_filters: [ ${mysql("stat_prefix: a")},`);
  const { errors } = load(chain(filters), options);
  assert.match(errors.map(({ message }) => message).join(), /MySQLProxy is not an HTTP filter/);
});

test("a header in the rollout of a network filter is refused where it stands: connections have none", () => {
  const runtime = (settings: string): string =>
    `bootstrap_extensions: [ { name: r, typed_config: { "@type": type.googleapis.com/sluice.v1.WasmRuntime, ${settings} } } ]`;
  const own = chain(mysql("stat_prefix: db"), HCM);
  const fault = `{ name: fault, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } },`;
  const both = own.replace("http_filters: [", `http_filters: [ ${fault}`);
  const header = (more: string): string => `rollout: { header: x-canary${more} }`;
  for (const [text, settings, path, says] of [
    [
      own,
      `plugins: [ { name: sniff, ${header("")} } ]`,
      "plugins[0]",
      /^sniff is a network filter, .*: set percent instead$/,
    ],
    [own, `plugins: [ { name: sniff, ${header(", percent: 5")} } ]`, "plugins[0]", /: set percent instead$/],
    [own, `defaults: { ${header(", percent: 5")} }`, "defaults", /^sniff is a network filter/],
    [both, `defaults: { ${header("")} }`, "defaults", /: set percent as well, or give them a rollout of their own$/],
    [both, `defaults: { ${header(", percent: 5")} }`, "", undefined],
    [both, `defaults: { ${header("")} }, plugins: [ { name: sniff, rollout: { percent: 1 } } ]`, "", undefined],
    [both, `plugins: [ { name: fault, ${header("")} } ]`, "", undefined],
  ] as const) {
    const { errors } = load(`${text}${runtime(settings)}\n`, options);
    if (says === undefined) {
      assert.deepEqual(errors, [], settings);
      continue;
    }
    assert.equal(errors.length, 1, settings);
    assert.match(errors[0]!.path, new RegExp(`${path.replace("[", "\\[")}.*rollout\\.header$`));
    assert.match(errors[0]!.message, says);
  }
});
