/** The command line, signals and watched files change plugins of a running proxy. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { sluice } from "../cli/command.ts";
import { Proxy, startProxy, until, versionModule } from "./versions.ts";

async function moduleFile(number: number, letter: "-" | "c" = "-"): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), "sluice-module-")), "versions.wasm");
  writeFileSync(path, await versionModule(number, letter));
  return path;
}

describe("sluice load, status, promote, rollback, reload", () => {
  test("load returns once every worker serves, or with the exact reason", async () => {
    const proxy = await startProxy();
    const admin = ["--admin", proxy.admin];
    const good = await sluice("load", ...admin, "versions", await moduleFile(2));
    assert.match(
      good.stdout,
      /^versions: version 2 \(0\.0\.0, sha256 [0-9a-f]{12}\) serves all streams on every worker; built in [\d.]+ ms, swapped in [\d.]+ ms\n$/,
    );
    assert.deepEqual([good.status, good.stderr], [0, ""]);
    for (let n = 0; n < 10; n++) assert.equal(await proxy.version(), "0002");

    const bad = await sluice("load", ...admin, "versions", await moduleFile(3, "c"));
    const reason = "GUEST_CONFIGURE: plugin versions: proxy_on_configure refused the configuration";
    assert.deepEqual([bad.status, bad.stdout, bad.stderr], [1, "", `sluice: ${reason}\n`]);
    assert.match(
      (await sluice("load", ...admin, "nothing", await moduleFile(3))).stderr,
      /PLUGIN_UNKNOWN: no plugin has the name "nothing"; there is versions/,
    );
    assert.match((await sluice("load", ...admin, "versions", "/none.wasm")).stderr, /MODULE_UNREADABLE: ENOENT/);
    assert.match((await sluice("load", ...admin, "--percent", "x", "versions", "f")).stderr, /no number from 0 to 100/);
    const gone = await sluice("load", "--admin", "127.0.0.1:1", "versions", await moduleFile(3));
    assert.match(
      gone.stderr,
      /ADMIN_UNREACHABLE: no answer from the admin interface at 127\.0\.0\.1:1 \(--admin names another\): .*ECONNREFUSED/,
    );

    const tried = await sluice(
      "load",
      ...admin,
      "--percent",
      "5",
      "--header",
      "x-try=1",
      "versions",
      await moduleFile(3),
    );
    assert.match(tried.stdout, /^versions: version 4 .* is on trial; next: sluice status/);
    const status = await sluice("status", ...admin);
    assert.match(
      status.stdout,
      /^versions\n {2}version 4 {2}candidate {2}0\.0\.0 {2}[0-9a-f]{12} {2}\d+ (?:s|min) {2,}0 streams {2,}2 instances {2,}posted/,
    );
    assert.match(status.stdout, /\n {2}version 2 {2}live /);
    assert.match(
      status.stdout,
      /\n {2}version 4 has 5 % of the streams, and with the header x-try: 0 streams, 0 failures, /,
    );
    const json = JSON.parse((await sluice("status", "--json", ...admin)).stdout) as { plugins: { name: string }[] };
    assert.equal(json.plugins[0]!.name, "versions");

    assert.match((await sluice("promote", ...admin, "versions")).stdout, /version 4 .* serves all streams/);
    assert.equal(await proxy.version(), "0003");
    assert.match((await sluice("rollback", ...admin, "versions")).stdout, /version 2 .* serves all streams/);
    assert.match((await sluice("rollback", ...admin, "versions", "1")).stdout, /version 1 .* serves all streams/);
    assert.equal(await proxy.version(), "0001");
    assert.match(
      (await sluice("rollback", ...admin, "versions", "9")).stderr,
      /PLUGIN_VERSION: .* no version 9; kept: 1, 2, 4/,
    );
    assert.equal((await sluice("reload", ...admin)).stdout, "nothing has changed\n");
    const path = join(proxy.folder, "bootstrap.yaml");
    const text = readFileSync(path, "utf8");
    writeFileSync(
      path,
      text.replace("clusters: []", "clusters: [{ name: one, type: STATIC }]").replace(": ok", ": yes"),
    );
    assert.equal(
      (await sluice("reload", ...admin)).stdout,
      "the new configuration is in force\nclusters added: one\nlisteners modified: ingress\n",
    );
    writeFileSync(path, text.replace("mark: mark", "mark: other"));
    assert.equal(
      (await sluice("reload", ...admin)).stdout,
      "the new configuration is in force\nclusters removed: one\nlisteners modified: ingress\nplugins modified: versions\n",
    );
  });
});

test("the token comes from the environment, and no page shows it, wherever it was configured", async () => {
  const runtime = `{ "@type": type.googleapis.com/sluice.v1.WasmRuntime, hot_load: { token: { inline_string: sesame } } }`;
  const text = `bootstrap_extensions: [{ name: wasm, typed_config: ${runtime} }]`;
  const proxy = await startProxy({ everywhere: true, args: ["--concurrency", "1", "--config-yaml", text] });
  const admin = proxy.admin.replace("0.0.0.0", "127.0.0.1");
  for (const path of ["/config_dump", "/server_info"])
    assert.ok(!(await proxy.get(path, admin)).body.includes("sesame"), path);
  const args = ["load", "--admin", admin, "versions", await moduleFile(2)];
  assert.match((await sluice(...args)).stderr, /Plugins are changed over the loopback, or with the token/);
  process.env["SLUICE_ADMIN_TOKEN"] = "sesame";
  const { status, stderr } = await sluice(...args);
  delete process.env["SLUICE_ADMIN_TOKEN"];
  assert.deepEqual([status, stderr], [0, ""]);
});

describe("SIGHUP and --watch", () => {
  test("SIGHUP reads the configuration anew", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    const path = join(proxy.folder, "bootstrap.yaml");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace("mark: mark", "mark: hup"));
    proxy.process.kill("SIGHUP");
    await until(
      () => proxy.get("/"),
      ({ headers }) => headers["x-mark"] === "hup",
    );
    writeFileSync(path, text.replace("mark: mark", "mark: x"));
    proxy.process.kill("SIGHUP");
    await proxy.printed("nothing was changed: CONFIG_INVALID: ");
    assert.equal((await proxy.get("/")).headers["x-mark"], "hup");
  });

  test("changed files are taken up: written, renamed, half written, and the configuration", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1", "--watch"] });
    const serves = (version: string): Promise<string> =>
      until(
        () => proxy.version(),
        (found) => found === version,
      );
    writeFileSync(proxy.module, await versionModule(2));
    await serves("0002");
    writeFileSync(`${proxy.module}.new`, await versionModule(3));
    renameSync(`${proxy.module}.new`, proxy.module);
    await serves("0003");
    const next = await versionModule(4);
    writeFileSync(proxy.module, next.subarray(0, 9000));
    await proxy.printed(`nothing was changed: MODULE_CORRUPTED: ${proxy.module}: `);
    assert.equal(await proxy.version(), "0003");
    writeFileSync(proxy.module, next);
    await serves("0004");
    const path = join(proxy.folder, "bootstrap.yaml");
    writeFileSync(path, readFileSync(path, "utf8").replace("mark: mark", "mark: seen"));
    await until(
      () => proxy.get("/"),
      ({ headers }) => headers["x-mark"] === "seen",
    );
    assert.equal(await proxy.version(), "0004");
  });

  test("a volume that Kubernetes swaps behind symbolic links is taken up", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-volume-"));
    const data = async (name: string, number: number): Promise<void> => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "versions.wasm"), await versionModule(number));
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    await data("..2026_1", 1);
    symlinkSync("..data/versions.wasm", join(folder, "versions.wasm"));
    const proxy = await new Proxy(join(folder, "versions.wasm"), { args: ["--concurrency", "1", "--watch"] }).live();
    assert.equal(await proxy.version(), "0001");
    await data("..2026_2", 2);
    await until(
      () => proxy.version(),
      (version) => version === "0002",
    );
  });
});
