/** What the README says of closed sets is what the code says. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { bootstrap, load, managerOf, snapshotOf } from "../config/fixture.ts";
import { Authority } from "../tls/certificates.ts";
import { COMMAND_NAMES } from "../../runtime/observe/format-commands.ts";
import { README, withTables } from "./tables.ts";

const readme = readFileSync(README, "utf8");
const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as Record<
  string,
  Record<string, string>
>;

test("tables are those of the code (else: node test/readme/tables.ts)", () => {
  assert.ok(withTables(readme) === readme);
});

test("every dependency has its reason, and no other package has one", () => {
  const rationale = readme.slice(readme.indexOf("Each dependency has its reason"));
  const cells = [...rationale.matchAll(/^\| (`[^|]+) \|/gm)].map((match) => match[1]!).join();
  const named = new Set([...cells.matchAll(/`([^`]+)`/g)].map((match) => match[1]!));
  for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
    for (const name of Object.keys(manifest[kind] ?? {}))
      assert.ok(named.delete(name), `${name} has no reason in the README`);
  }
  assert.deepEqual([...named], []);
});

test("every npm script that the README names exists", () => {
  const scripts = manifest["scripts"]!;
  for (const [, name] of readme.matchAll(/npm run ([a-z:]+)/g)) assert.ok(Object.hasOwn(scripts, name!), name!);
});

test("the bootstrap extension that the README shows is taken, and named plugins get what it says", () => {
  const snippet = readme.match(/```yaml\n(bootstrap_extensions:[^`]* defaults:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const filter = `{ name: evangelist, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } },`;
  const { plugins } = snapshotOf(bootstrap({ rest: snippet, filters: filter }));
  assert.deepEqual([plugins[0]!.isolation, plugins[0]!.maxInstances], ["stream", 100]);
});

test("the plugin's configuration on a route that the README shows is taken", () => {
  const snippet = readme.match(/```yaml\n(typed_per_filter_config:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
  const filters = `{ name: evangelist, typed_config: { "@type": ${wasm}, config: { vm_config: { code: { local: { inline_bytes: AGFzbQEAAAA= } } } } } },`;
  const inFlow = JSON.stringify(parse(snippet)).slice(1, -1);
  const [plugin] = snapshotOf(bootstrap({ filters, host: `${inFlow},` })).plugins;
  assert.deepEqual(
    plugin?.routeConfigurations?.map(({ bytes }) => Buffer.from(bytes).toString()),
    ["another text"],
  );
});

test("the module from the network that the README shows is taken", () => {
  const snippet = readme.match(/```yaml\n(code:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
  const vm = JSON.stringify(parse(snippet)).replace('"modules"', '"up"');
  const [plugin] = snapshotOf(
    bootstrap({ filters: `{ name: a, typed_config: { "@type": ${wasm}, config: { vm_config: ${vm} } } },` }),
  ).plugins;
  assert.ok(plugin?.code.kind === "remote" && plugin.code.retries === 3);
});

test("the table of format commands names each that there is, and no other", () => {
  const table = readme.match(/\| group \| commands \|\n([^]*?)\n\n/)![1]!;
  const shown = new Set<string>();
  for (const row of table.split("\n")) {
    const sides = row.startsWith("| TLS |") ? ["DOWNSTREAM_", "UPSTREAM_"] : [""];
    for (const [word] of row.replace(/^\| \w+ \|/, "").matchAll(/(?<![A-Z_])[A-Z][A-Z0-9_]{2,}(?![a-z])/g)) {
      if (word.endsWith("STREAM_")) continue;
      for (const side of word.startsWith("TLS_JA") ? [""] : sides) shown.add(side + word);
    }
  }
  const short = COMMAND_NAMES.map((name) => name.replace(/(_ADDRESS)(?:_WITHOUT)?_PORT$/, "$1"));
  assert.deepEqual([...shown].sort(), [...new Set(short)].sort());
});

test("the module from a registry that the README shows is taken", () => {
  const snippet = readme.match(/```yaml\n(vm_config:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
  const config = JSON.stringify(parse(snippet));
  const [plugin] = snapshotOf(
    bootstrap({ filters: `{ name: a, typed_config: { "@type": ${wasm}, config: ${config} } },` }),
  ).plugins;
  assert.ok(plugin?.code.kind === "remote" && plugin.code.oci?.pinned === false);
});

test("the listeners that the README shows are taken", () => {
  const snippet = readme.match(/```yaml\n(listeners:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const { listeners, clusters } = snapshotOf(JSON.stringify({ static_resources: parse(snippet) as unknown }));
  assert.deepEqual(
    listeners.map(({ useOriginalDst, bindToPort, connectionBalance }) => [
      useOriginalDst,
      bindToPort,
      connectionBalance,
    ]),
    [
      [true, true, "none"],
      [false, false, "exact"],
    ],
  );
  assert.equal(clusters[0]!.type, "ORIGINAL_DST");
});

test("the access log that the README shows is taken", () => {
  const snippet = readme.match(/```yaml\n(access_log:[^`]*)```/)?.[1];
  assert.ok(snippet);
  const inFlow = JSON.stringify((parse(snippet) as { access_log: unknown }).access_log);
  const manager = managerOf(snapshotOf(bootstrap({ manager: `access_log: ${inFlow},` })));
  assert.equal(manager.accessLogs.length, 1);
});

test("the cluster of load balancing that the README shows is taken, and the route that goes with it", () => {
  const [, snippet, match, hash] =
    readme.match(
      /### Load balancing\n[^]*?```yaml\n([^]*?)```[^]*?`(metadata_match:[^`]*)` and `(hash_policy:[^`]*)`/,
    ) ?? [];
  assert.ok(snippet);
  const { clusters } = parse(snippet) as { clusters: unknown[] };
  const routes = `{ match: { prefix: / }, route: { cluster: shop, ${match}, ${hash} } }`;
  const taken = snapshotOf(bootstrap({ routes, clusters: `- ${JSON.stringify(clusters[0])}` })).clusters[1]!;
  assert.deepEqual([taken.name, taken.lbPolicy, taken.subsets !== undefined], ["shop", "RING_HASH", true]);
});

test("the TLS contexts that the README shows are taken, with files that are there", () => {
  const snippet = readme.match(/### TLS\n[^]*?```yaml\n([^]*?)```/)?.[1];
  assert.ok(snippet);
  const folder = mkdtempSync(join(tmpdir(), "sluice-readme-"));
  try {
    const authority = new Authority(folder, "ca");
    authority.issue("cert");
    const text = snippet.replace("/etc/ssl/certs/ca-certificates.crt", "ca.pem").replace("key.pem", "cert.key");
    const shown = parse(text) as Record<"filter_chains" | "clusters", { transport_socket: unknown }[]>;
    const inFlow = (of: { transport_socket: unknown } | undefined): string =>
      `transport_socket: ${JSON.stringify(of?.transport_socket)},`;
    const parts = { chain: inFlow(shown.filter_chains[0]), cluster: inFlow(shown.clusters[0]) };
    const { errors, snapshot } = load(bootstrap(parts), {}, folder);
    assert.deepEqual(errors, []);
    assert.ok(snapshot?.listeners[0]?.filterChains[0]?.tls);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every file that the README names exists", () => {
  for (const [, path] of readme.matchAll(/\]\(((?:filters|runtime|samples)\/[^)#]*)\)/g)) {
    assert.doesNotThrow(() => readFileOrFolder(path!), path);
  }
  for (const [, path] of readme.matchAll(/`((?:runtime|filters|abi|test|samples)\/[\w./-]*)`/g)) {
    assert.doesNotThrow(() => readFileOrFolder(path!), path);
  }
});

test("every internal link has its heading", () => {
  const anchors = new Set(
    [...readme.matchAll(/^#+ (.+)$/gm)].map((match) =>
      match[1]!
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
  for (const [, anchor] of readme.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.has(anchor!), anchor!);
});

function readFileOrFolder(path: string): void {
  const url = new URL(`../../${path}`, import.meta.url);
  try {
    readFileSync(url);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EISDIR") throw error;
    readdirSync(url);
  }
}
