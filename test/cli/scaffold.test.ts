/** `sluice inspect --scaffold`: whatever it prints, pasted into a bootstrap, is a configuration that is taken. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { newFilter } from "../../runtime/cli/new.ts";
import { readModuleFacts } from "../../runtime/cli/module-facts.ts";
import { scaffold } from "../../runtime/cli/scaffold.ts";
import { loadBootstrap } from "../../runtime/config/load.ts";
import { formatProblem } from "../../runtime/config/problem.ts";
import { Schema } from "../../runtime/config/schema/schema.ts";
import type { RawField, RawMessage } from "../../runtime/config/schema/schema.ts";
import { BUNDLED_FILTERS } from "../../runtime/extensions.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-scaffold-"));
after(() => rmSync(scratch, { recursive: true }));

const bundled = (name: string): string => fileURLToPath(new URL(`../../build/filters/${name}.wasm`, import.meta.url));
const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.filters.${name}`;

/** A bootstrap with the filter in it; `configuration` is indented as a person would. The cluster has the scaffold's name. */
function bootstrap(path: string, network: boolean, configuration: readonly string[]): string {
  const filter = (depth: number): string =>
    ["- name: mine", "  typed_config:", `    ${type(`${network ? "network" : "http"}.wasm.v3.Wasm`)}`, "    config:", "      name: mine",
      `      vm_config: { code: { local: { filename: ${JSON.stringify(path)} } } }`, ...configuration.map((line) => `      ${line}`)]
      .map((line) => `${" ".repeat(depth)}${line}\n`)
      .join(""); // prettier-ignore
  const last = network
    ? `            - { name: echo, typed_config: { ${type("network.echo.v3.Echo")} } }\n`
    : `            - name: hcm
              typed_config:
                ${type("network.http_connection_manager.v3.HttpConnectionManager")}
                stat_prefix: test
                route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }] }
                http_filters:
${filter(18)}                  - { name: router, typed_config: { ${type("http.router.v3.Router")} } }\n`;
  return `static_resources:
  clusters: [{ name: x, load_assignment: { cluster_name: x } }]
  listeners:
    - name: test
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
${network ? filter(12) : ""}${last}`;
}

function refusals(path: string, network: boolean): string[] {
  const { schema, manifest } = readModuleFacts(readFileSync(path));
  const lines = scaffold(schema!, String(manifest!["configuration"]));
  const text = bootstrap(path, network, lines);
  return loadBootstrap([{ name: "test", text, base: scratch }], { bundledFilters: BUNDLED_FILTERS }).errors.map(
    formatProblem,
  );
}

describe("a scaffold that is pasted into a bootstrap", () => {
  for (const name of ["evangelist", "fault", "local_ratelimit", "ratelimit", "mysql_proxy"]) {
    it(`is taken: ${name}`, () => {
      assert.deepEqual(refusals(bundled(name), name === "mysql_proxy"), []);
    });
  }

  for (const kind of ["http", "network"] as const) {
    it(`is taken: a new filter of kind ${kind}`, async () => {
      const folder = join(scratch, `scaffolded_${kind}`);
      newFilter(folder, kind);
      const { path } = await buildFilter(folder);
      assert.deepEqual(refusals(path, kind === "network"), []);
    });
  }
});

describe("its examples", () => {
  const field = (n: string, t: string, v?: object, more: Partial<RawField> = {}): RawField => ({
    n,
    i: 1,
    t,
    ...(v === undefined ? {} : { v: v as NonNullable<RawField["v"]> }),
    ...more,
  });
  const printed = (messages: Record<string, RawMessage>): string[] => {
    const schema = new Schema({ messages, enums: { "t.E": { NONE: 0, SOME: 1 } }, known: [] });
    return scaffold(schema, "t.M")
      .slice(2)
      .filter((line) => !/^ *# (?!\w+:)/.test(line));
  };
  /** The rules, and the line that is printed. */
  const cases: readonly (readonly [RawField, string])[] = [
    [field("a", "string", { string: { prefix: "/x", min_len: 5 } }), '  a: "/xxxx"'],
    [field("a", "string", { string: { in: ["b", "c"] } }), '  a: "b"'],
    [field("a", "string", { string: { pattern: "^\\d+s$" } }), '  a: "10s"'],
    [field("a", "string", { string: { email: true } }), '  a: "a@example.com"'],
    [field("a", "string", { string: { max_len: 5 } }), '  # a: ""'],
    [field("a", "uint32", { uint32: { gt: 5 } }), "  a: 6"],
    [field("a", "uint32", { uint32: { lte: 10 } }), "  # a: 0"],
    [field("a", "double", { double: { gt: 0, lt: 1 } }), "  a: 0.001"],
    [field("a", "bool", { bool: { const: true } }), "  a: true"],
    [field("a", "bytes", { bytes: { min_len: 2 } }), '  a: "eHg="'],
    [field("a", "string", { repeated: { min_items: 1, items: { string: { min_len: 2 } } } }, { l: 1 }), '  a: ["xx"]'],
  ];
  for (const [one, line] of cases) {
    it(`are taken by the rules: ${JSON.stringify(one.v)}`, () => {
      assert.deepEqual(printed({ "t.M": { f: [one] } }), [line]);
    });
  }

  it("choose one of those of which one must be set, and say something in a message that must be", () => {
    const lines = printed({
      "t.M": {
        f: [
          field("inner", ".t.I", { message: { required: true } }),
          field("p", "string", undefined, { o: "k" }),
          field("q", "string", undefined, { o: "k" }),
        ],
        r: ["k"],
      },
      "t.I": { f: [field("n", "uint32"), field("m", "uint32")] },
    });
    assert.deepEqual(lines, ["  inner:", "    n: 0", "    # m: 0", '  p: ""', '  # q: ""']);
  });
});
