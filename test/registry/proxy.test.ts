/** A proxy whose plugins come from a registry: at its start, while it runs, without the registry, and only when they are signed. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { configuration, versionModule } from "../hotload/versions.ts";
import { PASSWORD, startRegistry, USER } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-pulled-"));
after(() => rmSync(scratch, { recursive: true }));
let names = 0;
const fresh = (suffix = ""): string => join(scratch, `file${names++}${suffix}`);

function sluice(...args: string[]): Promise<{ readonly status: number; readonly output: string }> {
  return sluiceAs({}, ...args);
}

function sluiceAs(
  environment: Record<string, string>,
  ...args: string[]
): Promise<{ readonly status: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [SLUICE, ...args],
      { env: { ...process.env, DOCKER_CONFIG: scratch, ...environment } },
      (error, out, err) => resolve({ status: error === null ? 0 : Number(error.code ?? 1), output: out + err }),
    );
  });
}

async function good(...args: string[]): Promise<string> {
  const { status, output } = await sluice(...args);
  assert.equal(status, 0, output);
  return output;
}

/** The configuration of test/hotload/versions.ts with its code in a registry. */
function configured(uri: string, runtime: string, cache: string, sha256 = "unpinned", policy = ""): string {
  const remote = `code: { remote: { http_uri: { uri: "${uri}", cluster: none, timeout: 60s }, sha256: "${sha256}", retry_policy: { num_retries: 0 } } }`;
  return configuration("MODULE", { runtime: `code_cache: { path: "${cache}" }, ${runtime}` }).replace(
    'code: { local: { filename: "MODULE" } }',
    `${remote}${policy}`,
  );
}

const start = (config: string): Promise<ProxyProcess> => new ProxyProcess(config, ["--concurrency", "2"]).live();
const version = async (proxy: ProxyProcess): Promise<string> => String((await proxy.get("/")).headers["x-version"]);

/** Whoever waits for ever is ended by the test's time limit. */
async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await sleep(20);
}

describe("plugins from a registry", () => {
  let registry: Registry;
  let reference = "";
  const keys = { good: join(scratch, "good"), other: join(scratch, "other") };
  const push = async (number: number, to = reference, ...more: string[]): Promise<string> => {
    const file = fresh(".wasm");
    writeFileSync(file, await versionModule(number));
    return /sha256:(\w+)/.exec(await good("push", file, to, ...more))![1]!;
  };

  before(async () => {
    registry = await startRegistry();
    reference = `${registry.host}/filters/versions:1`;
    for (const key of Object.values(keys)) await good("generate-key-pair", "--unencrypted", key);
    await push(1);
  });
  after(() => registry.stop());

  it("are fetched at the start, and again without the registry", async () => {
    const cache = fresh();
    const gone = await startRegistry();
    await push(1, `${gone.host}/a/versions:1`);
    const config = configured(`oci://${gone.host}/a/versions:1`, "registries: { pull_policy: ALWAYS }", cache);
    const first = await start(config);
    assert.equal(await version(first), "0001");
    first.process.kill("SIGTERM");
    await first.exited;
    await gone.stop();
    const second = await start(config);
    assert.equal(await version(second), "0001");
    assert.match(second.output, /going on with sha256:\w+, which it was last/);
  });

  it("are what the pin says: the module's hash or the manifest's", async () => {
    const to = `${registry.host}/pinned/versions:1`;
    const manifest = await push(1, to);
    const proxy = await start(configured(`oci://${to}`, "", fresh(), manifest));
    assert.equal(await version(proxy), "0001");
    const wrong = new ProxyProcess(
      configured(
        `oci://${to}`,
        "",
        fresh(),
        "0".repeat(64),
        ", allow_precompiled: false, nack_on_code_cache_miss: true",
      ),
    );
    assert.equal(await wrong.exited, 1);
    assert.match(wrong.output, /neither is 0{64}/);
  });

  it("bring the types of their configuration, which is checked by line and column before anything listens", async () => {
    const good = configured(`oci://${reference}`, "", fresh());
    const wrong = new ProxyProcess(good.replace("mark: mark", "mork: mark"));
    assert.equal(await wrong.exited, 1);
    assert.match(
      wrong.output,
      /bootstrap\.yaml:\d+:\d+: error: .*configuration\.mork: test\.versions\.v1\.Versions has no such field/,
    );
  });

  it("are replaced by command: by a reference, or by the configured tag as it is now", async () => {
    const to = `${registry.host}/moved/versions:1`;
    await push(1, to);
    const proxy = await start(configured(`oci://${to}`, "", fresh()));
    await push(2, `${registry.host}/moved/versions:2`);
    await good("load", "versions", `oci://${registry.host}/moved/versions:2`, "--admin", proxy.admin);
    assert.equal(await version(proxy), "0002");
    await push(3, to);
    await good("load", "versions", "--admin", proxy.admin);
    assert.equal(await version(proxy), "0003");
    const missing = await sluice("load", "versions", `oci://${registry.host}/moved/versions:9`, "--admin", proxy.admin);
    assert.equal(missing.status, 1);
    assert.match(missing.output, /ARTIFACT_MISSING/);
    assert.equal(await version(proxy), "0003");
  });

  it("follow their tag when it is polled, and stay when the registry is gone", async () => {
    const moving = await startRegistry();
    const to = `${moving.host}/polled/versions:1`;
    await push(1, to);
    const proxy = await start(configured(`oci://${to}`, "registries: { poll_interval: 1s }", fresh()));
    assert.equal(await version(proxy), "0001");
    await push(2, to);
    await until(async () => (await version(proxy)) === "0002");
    await moving.stop();
    await until(() => Promise.resolve(proxy.output.includes("ARTIFACT_UNREACHABLE")));
    assert.equal(await version(proxy), "0002");
  });

  it("must be signed where a rule says so: at the start and in hot load", async () => {
    const rule = `trust: [{ plugins: [versions], keys: [{ filename: "${keys.good}.pub" }] }]`;
    const to = `${registry.host}/signed/versions:1`;
    await push(1, to, "--sign", `${keys.good}.key`);
    const cache = fresh();
    const proxy = await start(configured(`oci://${to}`, rule, cache));
    assert.equal(await version(proxy), "0001");
    const load = (tag: string) =>
      sluice("load", "versions", `oci://${registry.host}/signed/versions:${tag}`, "--admin", proxy.admin);
    await push(2, `${registry.host}/signed/versions:2`);
    assert.match((await load("2")).output, /SIGNATURE_MISSING: plugin versions: .*it carries no signature/);
    await push(3, `${registry.host}/signed/versions:3`, "--sign", `${keys.other}.key`);
    assert.match((await load("3")).output, /SIGNATURE_MISSING: plugin versions: .*not this key's/);
    assert.equal(await version(proxy), "0001");
    await push(4, `${registry.host}/signed/versions:4`, "--sign", `${keys.good}.key`);
    assert.equal((await load("4")).status, 0);
    assert.equal(await version(proxy), "0004");
    const file = fresh(".wasm");
    writeFileSync(file, await versionModule(5));
    assert.match(
      (await sluice("load", "versions", file, "--admin", proxy.admin)).output,
      /only files and artifacts in registries carry signatures/,
    );
    // The signature is kept with the code: without the registry it is still asked for, and still there.
    const again = await start(configured(`oci://${to}`, rule, cache));
    assert.equal(await version(again), "0001");
  });

  it("come with the pull secrets that Kubernetes mounts: several, and read anew once they are swapped", async () => {
    const guarded = await startRegistry("basic");
    const to = `${guarded.host}/secret/versions:1`;
    const account = { SLUICE_REGISTRY_USERNAME: USER, SLUICE_REGISTRY_PASSWORD: PASSWORD };
    for (const number of [1, 2]) {
      const file = fresh(".wasm");
      writeFileSync(file, await versionModule(number));
      const pushed = await sluiceAs(account, "push", file, to.replace(/1$/, String(number)));
      assert.equal(pushed.status, 0, pushed.output);
    }
    const secret = (host: string, password: string): string => {
      const auth = Buffer.from(`${USER}:${password}`).toString("base64");
      return JSON.stringify({ auths: { [host]: { auth } } });
    };
    const mounted = fresh();
    const other = fresh();
    const swap = (folder: string, name: string, content: string): void => {
      mkdirSync(join(folder, name), { recursive: true });
      writeFileSync(join(folder, name, ".dockerconfigjson"), content);
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    for (const [folder, host] of [
      [other, "registry.example"],
      [mounted, guarded.host],
    ] as const) {
      swap(folder, "..1", secret(host, PASSWORD));
      symlinkSync("..data/.dockerconfigjson", join(folder, ".dockerconfigjson"));
    }
    const runtime = `registries: { docker_config: "${other}", docker_configs: ["${mounted}"] }`;
    const proxy = await start(configured(`oci://${to}`, runtime, fresh()));
    assert.equal(await version(proxy), "0001");
    const load = (): Promise<{ status: number; output: string }> =>
      sluice("load", "versions", `oci://${to.replace(/1$/, "2")}`, "--admin", proxy.admin);
    swap(mounted, "..2", secret(guarded.host, "old password"));
    const refused = await load();
    assert.match(refused.output, /^sluice: ARTIFACT_[A-Z]+: /);
    assert.ok(!refused.output.includes("old password"));
    assert.equal(await version(proxy), "0001");
    swap(mounted, "..3", secret(guarded.host, PASSWORD));
    assert.equal((await load()).status, 0);
    assert.equal(await version(proxy), "0002");
    await guarded.stop();
    const empty = new ProxyProcess(
      configured(`oci://${to}`, `registries: { docker_configs: ["${mkdtempSync(join(scratch, "empty-"))}"] }`, fresh()),
    );
    assert.equal(await empty.exited, 1);
    assert.match(
      empty.output,
      /docker_configs: ARTIFACT_CREDENTIALS: \S+: the folder holds neither \.dockerconfigjson nor config\.json/,
    );
  });

  it("that are not signed do not start, or start with a word about it", async () => {
    const to = `${registry.host}/unsigned/versions:1`;
    await push(1, to);
    const rule = (mode: string): string => `trust: [{ keys: [{ filename: "${keys.good}.pub" }], mode: ${mode} }]`;
    const refused = new ProxyProcess(configured(`oci://${to}`, rule("ENFORCE"), fresh()));
    assert.equal(await refused.exited, 1);
    assert.match(refused.output, /SIGNATURE_MISSING: plugin versions/);
    const warned = await start(configured(`oci://${to}`, rule("WARN"), fresh()));
    assert.equal(await version(warned), "0001");
    assert.match(warned.output, /it carries no signature; loaded all the same, since the rule only warns/);
  });

  it("in files are signed beside them", async () => {
    const file = fresh(".wasm");
    writeFileSync(file, await versionModule(1));
    const runtime = `trust: [{ keys: [{ filename: "${keys.good}.pub" }] }]`;
    const refused = new ProxyProcess(configuration(file, { runtime }));
    assert.equal(await refused.exited, 1);
    assert.match(refused.output, /SIGNATURE_MISSING: .*make one with: sluice sign/);
    await good("sign", file, "--key", `${keys.good}.key`);
    assert.match(await good("verify", file, "--key", `${keys.good}.pub`), /signed by/);
    const proxy = await start(configuration(file, { runtime }));
    assert.equal(await version(proxy), "0001");
    writeFileSync(file, await versionModule(2));
    assert.match((await sluice("verify", file, "--key", `${keys.good}.pub`)).output, /SIGNATURE_MISSING/);
  });

  it("in files that are watched come in when their signature comes, be it after them", async () => {
    const file = fresh(".wasm");
    writeFileSync(file, await versionModule(1));
    await good("sign", file, "--key", `${keys.good}.key`);
    const runtime = `trust: [{ keys: [{ filename: "${keys.good}.pub" }] }]`;
    const config = configuration(file, { runtime });
    const proxy = await new ProxyProcess(config, ["--concurrency", "1", "--watch"]).live();
    writeFileSync(file, await versionModule(2));
    await until(() => Promise.resolve(proxy.output.includes("SIGNATURE_MISSING")));
    assert.equal(await version(proxy), "0001");
    await good("sign", file, "--key", `${keys.good}.key`);
    await until(async () => (await version(proxy)) === "0002");
  });
});
