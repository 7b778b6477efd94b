/** Keys, credentials and ways to registries that change while the proxy runs: taken over by a reload, or refused as a whole. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Answer } from "../cli/proxy-process.ts";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { configuration, send, until, versionModule } from "../hotload/versions.ts";
import { sluice } from "./commands.ts";
import { PASSWORD, startRegistry, USER } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-rotation-"));
let names = 0;
const fresh = (suffix = ""): string => join(scratch, `file${names++}${suffix}`);
const keys = { old: join(scratch, "old"), new: join(scratch, "new") };
let registry: Registry;

before(async () => {
  registry = await startRegistry();
  for (const key of Object.values(keys)) await good("generate-key-pair", "--unencrypted", key);
});
after(async () => {
  await registry.stop();
  rmSync(scratch, { recursive: true });
});

async function good(...args: string[]): Promise<void> {
  const { status, out, err } = await sluice(args);
  assert.equal(status, 0, `${args.join(" ")}\n${out}${err}`);
}

async function moduleFile(number: number): Promise<string> {
  const file = fresh(".wasm");
  writeFileSync(file, await versionModule(number));
  return file;
}

/** Stores a version, signed by these. */
async function push(number: number, reference: string, ...signers: string[]): Promise<void> {
  await good("push", await moduleFile(number), reference);
  for (const key of signers) await good("sign", reference, "--key", `${key}.key`);
}

/** A proxy whose module lies in a registry, or in a file. */
class Rotating extends ProxyProcess {
  readonly #module: string;
  readonly #cache: string;

  constructor(module: string, runtime: string, cache = fresh()) {
    super(textOf(module, runtime, cache), ["--concurrency", "1"]);
    this.#module = module;
    this.#cache = cache;
  }

  /** Reloads with these settings. */
  reload(runtime: string, change = (text: string): string => text): Promise<Answer> {
    writeFileSync(join(this.folder, "bootstrap.yaml"), change(textOf(this.#module, runtime, this.#cache)));
    return this.post("/reload");
  }

  load(artifact: string): Promise<Answer> {
    return this.post(`/wasm/load?plugin=versions&artifact=oci://${artifact}`);
  }

  async version(): Promise<string> {
    return String((await this.get("/")).headers["x-version"]);
  }
}

function textOf(module: string, runtime: string, cache: string): string {
  const text = configuration(module, { runtime: `code_cache: { path: "${cache}" }, ${runtime}` });
  if (!module.startsWith("oci://")) return text;
  const code = `remote: { http_uri: { uri: "${module}", cluster: none, timeout: 10s }, sha256: unpinned, retry_policy: { num_retries: 0 } }`;
  return text.replace(`local: { filename: "${module}" }`, code);
}

/** The plugin stands in the chain once more. */
function twice(text: string): string {
  const [filter = ""] = /- \{ name: versions, .*\n/.exec(text) ?? [];
  assert.notEqual(filter, "");
  return text.replace(filter, `${filter}                  ${filter.replace("name: versions", "name: again")}`);
}

const trust = (key: string, mode = "ENFORCE"): string =>
  `trust: [{ plugins: [versions], keys: [{ filename: "${key}.pub" }], mode: ${mode} }]`;

describe("another key", () => {
  it("is taken once what serves is signed with it, and the old one is nobody's any more", async () => {
    const to = `${registry.host}/rotated/versions`;
    await push(1, `${to}:1`, keys.old);
    const proxy = await new Rotating(`oci://${to}:1`, trust(keys.old)).live();
    const refused = await proxy.reload(trust(keys.new));
    assert.equal(refused.status, 422);
    assert.match(
      refused.body,
      /^SIGNATURE_MISSING: plugin versions, version 1: .*not signed by .*new\.pub: .*not this key's/,
    );
    // Nothing has changed: the old key still opens.
    await push(2, `${to}:2`, keys.old);
    assert.equal((await proxy.load(`${to}:2`)).status, 200);
    assert.equal((await proxy.post("/wasm/rollback?plugin=versions")).status, 200);
    assert.equal(await proxy.version(), "0001");

    // What serves is signed anew in its registry, and nothing else has to be done.
    await good("sign", `${to}:1`, "--key", `${keys.new}.key`);
    const taken = await proxy.reload(trust(keys.new));
    assert.equal(taken.status, 200, taken.body);
    assert.deepEqual((JSON.parse(taken.body) as { changes: string[] }).changes, ["settings modified: trust"]);
    await push(3, `${to}:3`, keys.old);
    assert.match((await proxy.load(`${to}:3`)).body, /^SIGNATURE_MISSING: plugin versions: .*not this key's/);
    await push(4, `${to}:4`, keys.new);
    assert.equal((await proxy.load(`${to}:4`)).status, 200);
    assert.equal(await proxy.version(), "0004");

    // A way back leads only to what the new key has signed.
    const back = (version: number): Promise<Answer> => proxy.post(`/wasm/rollback?plugin=versions&version=${version}`);
    assert.match((await back(2)).body, /^SIGNATURE_MISSING: plugin versions, version 2: /);
    assert.equal(await proxy.version(), "0004");
    assert.equal((await back(1)).status, 200);
    assert.equal(await proxy.version(), "0001");
    assert.match((await proxy.reload(trust(keys.new))).body, /"state":"unchanged"/);
  });

  it("is asked of what is on trial, too", async () => {
    const to = `${registry.host}/tried/versions`;
    await push(1, `${to}:1`, keys.old, keys.new);
    await push(2, `${to}:2`, keys.old);
    const proxy = await new Rotating(`oci://${to}:1`, trust(keys.old)).live();
    const tried = await proxy.post(`/wasm/load?plugin=versions&percent=50&artifact=oci://${to}:2`);
    assert.equal(tried.status, 200, tried.body);
    assert.match((await proxy.reload(trust(keys.new))).body, /^SIGNATURE_MISSING: plugin versions, version 2: /);
    await proxy.post("/wasm/rollback?plugin=versions");
    assert.equal((await proxy.reload(trust(keys.new))).status, 200);
  });

  it("is asked of what is tried anew in one place more", async () => {
    const to = `${registry.host}/moved/versions`;
    await push(1, `${to}:1`, keys.old, keys.new);
    await push(2, `${to}:2`, keys.old);
    const proxy = await new Rotating(`oci://${to}:1`, trust(keys.old)).live();
    const tried = await proxy.post(`/wasm/load?plugin=versions&percent=50&artifact=oci://${to}:2`);
    assert.equal(tried.status, 200, tried.body);
    const taken = await proxy.reload(trust(keys.new), twice);
    assert.equal(taken.status, 200, taken.body);
    await proxy.printed("is on trial no more since the reload: SIGNATURE_MISSING: plugin versions, version 2: ");
    for (let n = 0; n < 20; n++) assert.equal(await proxy.version(), "0001, 0001");
  });
});

describe("the first rule", () => {
  it("is asked of files that serve already: signed beside, and still what they were", async () => {
    const file = await moduleFile(1);
    const proxy = await new Rotating(file, "").live();
    assert.match((await proxy.reload(trust(keys.new))).body, /^SIGNATURE_MISSING: .*make one with: sluice sign/);
    await good("sign", file, "--key", `${keys.new}.key`);
    writeFileSync(file, await versionModule(2));
    assert.match((await proxy.reload(trust(keys.new))).body, /^SIGNATURE_MISSING: .*is another module by now/);
    writeFileSync(file, await versionModule(1));
    const taken = await proxy.reload(trust(keys.new));
    assert.equal(taken.status, 200, taken.body);
    assert.equal(await proxy.version(), "0001");
    // One that was posted has nothing that speaks for it.
    await proxy.reload("");
    const { status } = await send(proxy.admin, "/wasm/load?plugin=versions", await versionModule(3));
    assert.equal(status, 200);
    assert.match(
      (await proxy.reload(trust(keys.new))).body,
      /^SIGNATURE_MISSING: plugin versions, version 2: .*only files and artifacts in registries carry signatures/,
    );
    const warned = await proxy.reload(trust(keys.new, "WARN"));
    assert.equal(warned.status, 200, warned.body);
    await proxy.printed("all the same, since the rule only warns");
    assert.equal(await proxy.version(), "0003");
  });
});

describe("registries", () => {
  it("are reached with other credentials, and looked at from now on", async () => {
    const guarded = await startRegistry("basic");
    const to = `${guarded.host}/guarded/versions`;
    const account = { SLUICE_REGISTRY_USERNAME: USER, SLUICE_REGISTRY_PASSWORD: PASSWORD };
    const store = async (number: number, tag: number): Promise<void> => {
      const pushed = await sluice(["push", await moduleFile(number), `${to}:${tag}`], account);
      assert.equal(pushed.status, 0, pushed.err);
    };
    const secret = (password: string): string => {
      const folder = fresh();
      mkdirSync(folder);
      const auth = Buffer.from(`${USER}:${password}`).toString("base64");
      writeFileSync(join(folder, "config.json"), JSON.stringify({ auths: { [guarded.host]: { auth } } }));
      return folder;
    };
    await store(1, 1);
    await store(2, 2);
    const registries = (password: string, more = ""): string =>
      `registries: { docker_config: "${secret(password)}"${more} }`;
    const proxy = await new Rotating(`oci://${to}:1`, registries(PASSWORD)).live();
    const wrong = await proxy.reload(registries("no longer"));
    assert.equal(wrong.status, 200, wrong.body);
    assert.deepEqual((JSON.parse(wrong.body) as { changes: string[] }).changes, ["settings modified: registries"]);
    assert.match((await proxy.load(`${to}:2`)).body, /^ARTIFACT_[A-Z]+: .*401|password are wrong/s);
    assert.equal((await proxy.reload(registries(PASSWORD))).status, 200);
    assert.equal((await proxy.load(`${to}:2`)).status, 200);
    assert.equal(await proxy.version(), "0002");
    assert.equal((await proxy.reload(registries(PASSWORD, ", poll_interval: 1s"))).status, 200);
    await store(3, 1);
    await until(
      () => proxy.version(),
      (version) => version === "0003",
    );
    await guarded.stop();
  });
});
