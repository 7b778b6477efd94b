/** PluginConfig and VmConfig: what becomes of their fields, what is refused, and plugins' configurations on routes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import type { FilterOverride, PluginConfig } from "../../runtime/config/snapshot.ts";
import { bootstrap, brief, load, managerOf } from "./fixture.ts";
import { moduleWith } from "./descriptors.ts";

const WASM = `"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm`;
const CODE = "code: { local: { filename: guest.wasm } }";
const TEXT = '"@type": x/google.protobuf.StringValue, value';
const folder = mkdtempSync(join(tmpdir(), "sluice-plugin-"));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "guest.wasm"), moduleWith(new Uint8Array(0)));

function filter(config: string, vm = ""): string {
  return `{ name: g, typed_config: { ${WASM}, config: { name: n, ${config} vm_config: { ${CODE}, ${vm} } } } },`;
}

interface Loaded {
  readonly plugin: PluginConfig | undefined;
  readonly errors: string[];
  readonly warnings: string[];
}

function loaded(config: string, vm = "", rest = ""): Loaded {
  const { snapshot, errors, warnings } = load(bootstrap({ filters: filter(config, vm), rest }), {}, folder);
  const short = (list: typeof errors): string[] =>
    list.map(({ path, rule, message }) => `${path.split("config.").at(-1)} ${rule}: ${message}`);
  return { plugin: snapshot?.plugins[0], errors: short(errors), warnings: short(warnings) };
}

describe("fields of a plugin", () => {
  for (const [title, config, vm, expected] of [
    ["names", "root_id: r,", "vm_id: v", { name: "n", rootId: "r", vmId: "v" }],
    [
      "nothing said",
      "",
      "",
      {
        failurePolicy: "FAIL_CLOSED",
        reloadIntervalMs: 1000,
        allowOnHeadersStopIteration: false,
        allowedCapabilities: undefined,
        environment: {},
      },
    ],
    ["fail_open", "fail_open: true,", "", { failurePolicy: "FAIL_OPEN" }],
    [
      "reload",
      "failure_policy: FAIL_RELOAD, reload_config: { backoff: { base_interval: 0.5s } },",
      "",
      { failurePolicy: "FAIL_RELOAD", reloadIntervalMs: 500 },
    ],
    [
      "unspecified beside fail_open",
      "failure_policy: UNSPECIFIED, fail_open: true,",
      "",
      { failurePolicy: "FAIL_OPEN" },
    ],
    ["stop iteration", "allow_on_headers_stop_iteration: true,", "", { allowOnHeadersStopIteration: true }],
    [
      "an empty capability list restricts nothing",
      "capability_restriction_config: { allowed_capabilities: {} },",
      "",
      { allowedCapabilities: undefined },
    ],
    [
      "capabilities",
      "capability_restriction_config: { allowed_capabilities: { proxy_log: {}, fd_write: {}, proxy_on_configure: {} } },",
      "",
      { allowedCapabilities: ["proxy_log", "fd_write", "proxy_on_configure"] },
    ],
    [
      "environment",
      "",
      "environment_variables: { host_env_keys: [ SLUICE_TEST_SET, SLUICE_TEST_UNSET ], key_values: { A: b=c } }",
      { environment: { SLUICE_TEST_SET: "here", A: "b=c" } },
    ],
    ["runtime v8", "", "runtime: envoy.wasm.runtime.v8", {}],
    ["runtime of another engine", "", "runtime: envoy.wasm.runtime.wasmtime", {}],
  ] as const) {
    // prettier-ignore
    test(title, () => {
      process.env["SLUICE_TEST_SET"] = "here";
      const { plugin, errors, warnings } = loaded(config, vm);
      assert.deepEqual([errors, warnings], [[], []]);
      const seen = Object.keys(expected).map((key) => [key, plugin?.[key as keyof PluginConfig]]);
      assert.deepEqual(Object.fromEntries(seen), expected);
    });
  }

  for (const [title, config, vm, problem] of [
    [
      "fail_open beside a policy",
      "fail_open: true, failure_policy: FAIL_CLOSED,",
      "",
      /^fail_open plugin: only one of/,
    ],
    ["native code", "", "runtime: envoy.wasm.runtime.null", /^runtime runtime: .* build it as a module$/],
    [
      "a runtime of no name",
      "",
      "runtime: envoy.wasm.runtime.v9",
      /^runtime runtime: .*did you mean "envoy\.wasm\.runtime\.v8"/,
    ],
    [
      "a variable twice",
      "",
      "environment_variables: { host_env_keys: [ A ], key_values: { A: b } }",
      /key_values environment: A stands in host_env_keys too/,
    ],
    [
      "a variable that is none",
      "",
      "environment_variables: { key_values: { 'A=B': c } }",
      /key_values environment: "A=B" is not the name/,
    ],
    [
      "a value with NUL",
      "",
      'environment_variables: { key_values: { A: "b\\0c" } }',
      /key_values environment: the value of A has a NUL/,
    ],
    [
      "a reload interval of zero",
      "reload_config: { backoff: { base_interval: 0s } },",
      "",
      /base_interval duration\.g/,
    ],
  ] as const) {
    // prettier-ignore
    test(`refused: ${title}`, () => {
      const { plugin, errors } = loaded(config, vm);
      assert.equal(plugin, undefined);
      assert.match(errors.join("\n"), problem);
    });
  }

  for (const [title, config, vm, problem] of [
    [
      "a capability of no name",
      "capability_restriction_config: { allowed_capabilities: { proxy_lag: {} } },",
      "",
      /allowed_capabilities unknown-capability: .*"proxy_lag"; did you mean "proxy_log"/,
    ],
    ["precompiled code", "", "allow_precompiled: true", /allow_precompiled ignored: .*precompiled code is never used/],
  ] as const) {
    // prettier-ignore
    test(`warned of: ${title}`, () => {
      const { errors, warnings } = loaded(config, vm);
      assert.deepEqual(errors, []);
      assert.match(warnings.join("\n"), problem);
    });
  }
});

describe("plugins that serve no streams", () => {
  const plugin = (name: string): string => `config: { name: ${name}, vm_config: { ${CODE} } }`;
  const logger = `access_log: [ { name: l, typed_config: { "@type": x/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog, ${plugin("logger")} } } ],`;
  const service = (name: string, more: string): string =>
    `{ name: ${name}, typed_config: { "@type": x/envoy.extensions.wasm.v3.WasmService, ${plugin(name)}, ${more} } }`;

  test("have one instance, whatever isolation the others have", () => {
    const settings = `{ name: r, typed_config: { "@type": x/sluice.v1.WasmRuntime, defaults: { isolation: STREAM } } }`;
    for (const extension of [`, ${settings}`, ""]) {
      const rest = `bootstrap_extensions: [ ${service("each", "")}, ${service("one", "singleton: true")} ${extension} ]`;
      const { snapshot, errors } = load(bootstrap({ filters: filter(""), manager: logger, rest }), {}, folder);
      assert.deepEqual(brief(errors), []);
      assert.deepEqual(
        snapshot?.plugins.map(({ name, service: kind, isolation }) => [name, kind, isolation]),
        [
          ["n", undefined, extension === "" ? undefined : "stream"],
          ["logger", "worker", "worker"],
          ["each", "worker", "worker"],
          ["one", "process", "worker"],
        ],
      );
      assert.deepEqual(managerOf(snapshot).accessLogs, [{ filter: undefined, plugin: 1 }]);
    }
  });
});

describe("code from the network", () => {
  const SHA = "ab".repeat(32);
  const HTTP = "http_uri: { uri: http://modules.test/a.wasm, cluster: up, timeout: 2s }";

  function remote(fields: string, vm = "", rest = "") {
    const filters = `{ name: g, typed_config: { ${WASM}, config: { vm_config: { ${vm} code: { remote: { ${fields} } } } } } },`;
    const { snapshot, errors, warnings } = load(bootstrap({ filters, rest }), {}, folder);
    const short = (list: typeof errors): string =>
      list.map(({ path, rule, message }) => `${path.split("remote.").at(-1)} ${rule}: ${message}`).join("\n");
    return { snapshot, errors: short(errors), warnings: short(warnings) };
  }

  for (const [title, fields, vm, expected] of [
    [
      "what is not said",
      "",
      "",
      { retries: 1, retryBaseIntervalMs: 1000, retryMaxIntervalMs: 10_000, nackOnCacheMiss: false },
    ],
    [
      "retries",
      "retry_policy: { num_retries: 5, retry_back_off: { base_interval: 0.2s } }",
      "",
      { retries: 5, retryBaseIntervalMs: 200, retryMaxIntervalMs: 2000 },
    ],
    [
      "no retries, a bound of their distance",
      "retry_policy: { num_retries: 0, retry_back_off: { base_interval: 1s, max_interval: 3s } }",
      "",
      { retries: 0, retryMaxIntervalMs: 3000 },
    ],
    [
      "nack",
      "",
      "nack_on_code_cache_miss: true,",
      { nackOnCacheMiss: true, timeoutMs: 2000, uri: "http://modules.test/a.wasm", cluster: "up" },
    ],
    ["a digest in capitals", "", "", { sha256: SHA }],
  ] as const) {
    // prettier-ignore
    test(title, () => {
      const sha = title.includes("capitals") ? SHA.toUpperCase() : SHA;
      const { snapshot, errors, warnings } = remote(`${HTTP}, sha256: ${sha}, ${fields}`, vm);
      assert.deepEqual([errors, warnings], ["", ""]);
      const code = snapshot?.plugins[0]?.code;
      assert.ok(code?.kind === "remote");
      assert.deepEqual({ ...code, ...expected }, code);
    });
  }

  for (const [title, fields, problem] of [
    ["no digest", HTTP, /sha256 string\.min_len/],
    ["half a digest", `${HTTP}, sha256: abcd`, /^sha256 digest: a SHA-256 has 64/],
    [
      "no HTTP",
      `http_uri: { uri: "file:///a.wasm", cluster: up, timeout: 1s }, sha256: ${SHA}`,
      /^http_uri\.uri uri: "file:\/\/\/a\.wasm" is no http/,
    ],
    ["no URI", `http_uri: { uri: "a b", cluster: up, timeout: 1s }, sha256: ${SHA}`, /^http_uri\.uri uri/],
    [
      "a cluster that is not there",
      `http_uri: { uri: "http://a/", cluster: upp, timeout: 1s }, sha256: ${SHA}`,
      /^http_uri\.cluster unknown-cluster: unknown cluster 'upp'; did you mean "up"/,
    ],
    ["no timeout", `http_uri: { uri: "http://a/", cluster: up }, sha256: ${SHA}`, /timeout/],
    [
      "a back-off that shrinks",
      `${HTTP}, sha256: ${SHA}, retry_policy: { retry_back_off: { base_interval: 2s, max_interval: 1s } }`,
      /retry-policy/,
    ],
  ] as const) {
    // prettier-ignore
    test(`refused: ${title}`, () => {
      const { snapshot, errors } = remote(fields);
      assert.equal(snapshot, undefined);
      assert.match(errors, problem);
    });
  }

  test("a configuration of the module's own type waits for the module", () => {
    const code = `code: { remote: { ${HTTP}, sha256: ${SHA} } }`;
    const config = `name: g, configuration: { "@type": x/their.own.Type, a: 1 }, vm_config: { ${code} }`;
    const filters = `{ name: g, typed_config: { ${WASM}, config: { ${config} } } },`;
    const { errors, warnings, snapshot } = load(bootstrap({ filters }), {}, folder);
    assert.deepEqual(errors, []);
    assert.deepEqual(
      warnings.map(({ message }) => message),
      ["their.own.Type comes with the module: it is checked once that has been fetched"],
    );
    assert.deepEqual(snapshot?.typesWanted, ["g"]);
  });

  test("warned of: what attempts do not look at", () => {
    const { warnings } = remote(`${HTTP}, sha256: ${SHA}, retry_policy: { retry_on: 5xx }`);
    assert.match(warnings, /retry_on ignored: .* whatever the reason/);
  });

  test("the cache's place: the user's own, or the configured one", () => {
    const own = remote(`${HTTP}, sha256: ${SHA}`).snapshot?.codeCache;
    assert.match(own?.path ?? "", /\/sluice\/code$/);
    assert.equal(own?.maxBytes, 512 * 1024 * 1024);
    const rest = `bootstrap_extensions: [ { name: r, typed_config: { "@type": x/sluice.v1.WasmRuntime, code_cache: { path: kept, max_bytes: 1000 } } } ]`;
    assert.deepEqual(remote(`${HTTP}, sha256: ${SHA}`, "", rest).snapshot?.codeCache, {
      path: join(folder, "kept"),
      maxBytes: 1000,
    });
  });
});

describe("configuration on a route", () => {
  const wasm = (config: string): string => `{ ${WASM}, config: { ${config} } }`;
  const told = (text: string): string => wasm(`configuration: { ${TEXT}: ${text} }`);

  function routed(overrides: readonly string[], rest = "", own = `configuration: { ${TEXT}: own },`) {
    const routes = overrides.map((override, n) => `{ match: { path: /${n} }, route: { cluster: up }, typed_per_filter_config: { g: ${override} } }`);
    const { snapshot, errors } = load(bootstrap({ filters: filter(own, "vm_id: v, environment_variables: { key_values: { A: b, C: d } }"), routes: routes.join(", "), rest }), {}, folder);
    return { snapshot, errors };
  } // prettier-ignore

  function overridesOf(overrides: readonly string[]): { plugin: PluginConfig; found: (FilterOverride | undefined)[] } {
    const { snapshot, errors } = routed(overrides);
    assert.deepEqual(brief(errors), []);
    const host = managerOf(snapshot!).routeConfig.virtualHosts[0];
    return { plugin: snapshot!.plugins[0]!, found: host!.routes.map(({ perFilter }) => perFilter["g"]) };
  }

  test("each distinct one is listed once for the plugin, whatever form it has", () => {
    const bare = `{ ${TEXT}: one }`;
    const { plugin, found } = overridesOf([told("one"), told("two"), bare, wasm(""), told("one")]);
    const [one, two, , none] = found.map((each) => each?.id);
    assert.equal(new Set([0, one, two, none]).size, 4);
    assert.deepEqual(found.map((each) => each?.id), [one, two, one, none, one]); // prettier-ignore
    assert.deepEqual(
      plugin.routeConfigurations?.map(({ id, bytes }) => [id, Buffer.from(bytes).toString()]),
      [
        [one, "one"],
        [two, "two"],
        [none, ""],
      ],
    );
    // With another one before them, in a later load, they are who they were.
    const later = overridesOf([told("new"), told("one"), told("two")]).found;
    assert.deepEqual(later.slice(1).map((each) => each?.id), [one, two]); // prettier-ignore
  });

  test("FilterConfig switches off, with or without one", () => {
    const off = (more: string): string => `{ "@type": x/envoy.config.route.v3.FilterConfig, disabled: true, ${more} }`;
    const { found } = overridesOf([off(""), off(`config: ${told("one")}`)]);
    assert.deepEqual(
      found.map((one) => [one?.disabled, one?.id === 0]),
      [
        [true, true],
        [true, false],
      ],
    );
  });

  test("other fields may stand there if they are the filter's", () => {
    const vm = `vm_config: { environment_variables: { key_values: { C: d, A: b } }, vm_id: v, ${CODE} }`;
    const { found } = overridesOf([wasm(`name: n, ${vm}, configuration: { ${TEXT}: one }`)]);
    assert.equal(Buffer.from(found[0]?.bytes ?? []).toString(), "one");
  });

  for (const [field, value] of [
    ["root_id", "other"],
    ["name", "m"],
    ["fail_open", "true"],
    ["failure_policy", "FAIL_OPEN"],
    ["vm_config", `{ vm_id: w, ${CODE}, environment_variables: { key_values: { A: b, C: d } } }`],
  ] as const) {
    test(`refused: another ${field}`, () => {
      const { errors } = routed([wasm(`${field}: ${value}`)]);
      assert.match(errors.map(({ path, rule, message }) => `${path} ${rule}: ${message}`).join("\n"), new RegExp(`\\.${field} per-filter: a route changes the configuration only`)); // prettier-ignore
    });
  }

  test("refused: too many different ones", () => {
    const many = Array.from({ length: 1001 }, (_, n) => told(`t${n}`));
    const { errors } = routed(many);
    assert.match(errors.map(({ message }) => message).join(), /"g" has more than 1000 different configurations/);
  });

  test("a VM for each, if the plugin's settings say so", () => {
    const rest = `bootstrap_extensions: [ { name: r, typed_config: { "@type": x/sluice.v1.WasmRuntime, plugins: [ { name: n, own_route_vms: true } ] } } ]`;
    assert.equal(routed([told("one")], rest).snapshot?.plugins[0]?.ownRouteVms, true);
  });
});
