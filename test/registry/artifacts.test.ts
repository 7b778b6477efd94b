/** Artifacts against a real registry, and skopeo as another reader and writer. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { LAYOUTS } from "../../runtime/registry/layout.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { MediaType, parseManifest } from "../../runtime/registry/manifest.ts";
import type { Manifest } from "../../runtime/registry/manifest.ts";
import { Repository } from "../../runtime/registry/repository.ts";
import { writeTar } from "../../runtime/registry/tar.ts";
import { run, sluice } from "./commands.ts";
import type { Outcome } from "./commands.ts";
import { PASSWORD, startRegistry, USER } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const MODULE = fileURLToPath(new URL("../../build/filters/evangelist.wasm", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-artifacts-"));
after(() => rmSync(scratch, { recursive: true }));
let files = 0;
const fresh = (suffix = ""): string => join(scratch, `file${files++}${suffix}`);

/** Runs a command that must succeed; what it printed. */
async function good(...args: string[]): Promise<string> {
  const { status, out, err } = await sluice(args);
  assert.equal(status, 0, `${args.join(" ")}\n${out}${err}`);
  return out;
}

/** Runs a command that must fail with status 1; its one line of error. */
async function bad(...args: string[]): Promise<string> {
  const { status, err } = await sluice(args);
  assert.equal(status, 1, args.join(" "));
  return err.trim();
}

const same = (file: string): void => assert.ok(readFileSync(file).equals(readFileSync(MODULE)), file);

describe("an open registry", () => {
  let registry: Registry;
  before(async () => {
    registry = await startRegistry();
  });
  after(() => registry.stop());

  for (const layout of LAYOUTS) {
    it(`takes and gives the layout ${layout}`, async () => {
      const reference = `${registry.host}/layouts/${layout}:1.0`;
      const pushed = await good("push", MODULE, reference, "--layout", layout);
      const file = fresh(".wasm");
      await good("pull", reference, "-o", file);
      same(file);
      const facts = JSON.parse(await good("inspect", reference, "--json")) as Record<string, unknown>;
      assert.equal(facts["layout"], layout);
      assert.equal(facts["name"], "evangelist");
      assert.ok(pushed.includes(String(facts["digest"])));
      assert.equal(await good("push", MODULE, reference, "--layout", layout), pushed);
    });
  }

  it("is read by digest, and refuses another one", async () => {
    const reference = `${registry.host}/pinned/gate:1`;
    const digest = /@(sha256:\w+)/.exec(await good("push", MODULE, reference))![1]!;
    const file = fresh(".wasm");
    await good("pull", `${registry.host}/pinned/gate@${digest}`, "-o", file);
    same(file);
    assert.match(
      await bad("pull", `${registry.host}/pinned/gate@sha256:${"0".repeat(64)}`, "-o", fresh()),
      /ARTIFACT_MISSING: .*no such repository, tag or digest/,
    );
  });

  it("lists tags, and a layout for other readers beside the first", async () => {
    await good("push", MODULE, `${registry.host}/tags/gate:1.2.0`, "--also", "cncf", "--also", "kubewarden");
    const tags = (await good("tags", `${registry.host}/tags/gate`)).trim().split("\n").sort();
    assert.deepEqual(tags, ["1.2.0", "1.2.0-cncf", "1.2.0-kubewarden"]);
  });

  it("shows annotations to others, the module's own and given ones", async () => {
    const reference = `${registry.host}/annotated/gate:1`;
    await good("push", MODULE, reference, "--annotation", "com.example.team=edge");
    const raw = await run("skopeo", ["inspect", "--tls-verify=false", "--raw", `docker://${reference}`]);
    assert.equal(raw.status, 0, raw.err);
    const { annotations } = JSON.parse(raw.out) as { annotations: Record<string, string> };
    assert.equal(annotations["org.opencontainers.image.title"], "evangelist");
    assert.equal(annotations["com.example.team"], "edge");
  });

  it("gives what skopeo has taken and brought back, and what skopeo has put there", async () => {
    const reference = `${registry.host}/skopeo/gate:1`;
    await good("push", MODULE, reference);
    const folder = fresh();
    const taken = await run("skopeo", ["copy", "--src-tls-verify=false", `docker://${reference}`, `oci:${folder}:1`]);
    assert.equal(taken.status, 0, taken.err);
    const file = fresh(".wasm");
    await good("pull", folder, "-o", file);
    same(file);
    const put = await run("skopeo", [
      "copy",
      "--dest-tls-verify=false",
      `oci:${folder}:1`,
      `docker://${registry.host}/skopeo/back:1`,
    ]);
    assert.equal(put.status, 0, put.err);
    const again = fresh(".wasm");
    await good("pull", `${registry.host}/skopeo/back:1`, "-o", again);
    same(again);
    const docker = await run("skopeo", [
      "copy",
      "--format",
      "v2s2",
      "--dest-tls-verify=false",
      `oci:${folder}:1`,
      `docker://${registry.host}/skopeo/docker:1`,
    ]);
    assert.equal(docker.status, 0, docker.err);
    const third = fresh(".wasm");
    await good("pull", `${registry.host}/skopeo/docker:1`, "-o", third);
    same(third);
  });

  it("is not needed: layouts travel as folders and archives, which skopeo reads", async () => {
    const archive = fresh(".tar");
    await good("push", MODULE, archive);
    const file = fresh(".wasm");
    await good("pull", archive, "-o", file);
    same(file);
    const read = await run("skopeo", ["inspect", "--raw", `oci-archive:${archive}`]);
    assert.equal(read.status, 0, read.err);
    const folder = fresh();
    await good("push", MODULE, `layout:${folder}`);
    await good("pull", folder, "-o", fresh());
    // A folder keeps what it has under other tags, and one artifact under each.
    const tags = async (): Promise<(string | undefined)[]> => {
      const index = await readFile(join(folder, "index.json"), "utf8");
      const { manifests } = JSON.parse(index) as { manifests: { annotations: Record<string, string> }[] };
      return manifests.map(({ annotations }) => annotations["org.opencontainers.image.ref.name"]);
    };
    const [own] = await tags();
    await good("push", MODULE, `layout:${folder}`, "--annotation", "org.opencontainers.image.version=other");
    await good("push", MODULE, `layout:${folder}`, "--layout", "cncf");
    assert.deepEqual(await tags(), ["other", own]);
  });

  it("copies an artifact and its signatures", async () => {
    const key = join(scratch, "copied");
    await good("generate-key-pair", "--unencrypted", key);
    const reference = `${registry.host}/from/gate:1`;
    await good("push", MODULE, reference, "--sign", `${key}.key`);
    await good("sign", reference, "--key", `${key}.key`, "--form", "classic");
    assert.match(await good("copy", reference, `${registry.host}/to/gate:2`), /with 2 signatures/);
    const verified = await good("verify", `${registry.host}/to/gate:2`, "--key", `${key}.pub`);
    assert.match(verified, /\(bundle\)/);
    assert.match(verified, /\(classic\)/);
  });

  it("copies an index whole: other machines' artifacts, signatures of the index, referrers as they are", async () => {
    const key = join(scratch, "indexed");
    await good("generate-key-pair", "--unencrypted", key);
    const from = `${registry.host}/index/gate`;
    const digests: string[] = [];
    for (const layout of ["cncf", "istio"] as const)
      digests.push(/@(sha256:\w+)/.exec(await good("push", MODULE, `${from}:${layout}`, "--layout", layout))![1]!);
    const repository = new Repository(registry.host, "index/gate", { credentials: null });
    const entries = await Promise.all(digests.map(async (digest) => (await repository.manifest(digest))!));
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.INDEX,
        manifests: entries.map(({ digest, bytes }, at) => ({
          mediaType: MediaType.MANIFEST,
          digest,
          size: bytes.length,
          platform: at === 0 ? { os: "wasip1", architecture: "wasm" } : { os: "linux", architecture: "amd64" },
        })),
        annotations: { "com.example": "kept" },
      }),
    );
    await repository.putManifest("1", index, MediaType.INDEX);
    const [first] = entries;
    const referrer = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.MANIFEST,
        artifactType: "application/vnd.example",
        config: (first!.manifest as Manifest).config,
        layers: [],
        subject: { mediaType: MediaType.MANIFEST, digest: first!.digest, size: first!.bytes.length },
        unknown: "kept",
      }),
    );
    const parsed = parseManifest(referrer, "referrer") as Manifest;
    const referrerDigest = await repository.putReferrer(parsed, referrer);
    await repository.close();
    await good("sign", `${from}@${digestOf(index)}`, "--key", `${key}.key`);
    const to = `${registry.host}/index/copied`;
    assert.match(
      await good("copy", `${from}:1`, `${to}:2`),
      new RegExp(`copied:2@${digestOf(index)}, with 2 signatures or`),
    );
    const copied = new Repository(registry.host, "index/copied", { credentials: null });
    for (const digest of [digestOf(index), ...digests, referrerDigest])
      assert.equal((await copied.manifest(digest))?.digest, digest);
    await copied.close();
    assert.match(await good("verify", `${to}:2`, "--key", `${key}.pub`), /\(bundle\)/);
    assert.match(
      await bad("copy", `${from}:1`, `${to}@${digests[0]}`),
      new RegExp(`ARTIFACT_REFERENCE: .*the digest of what is copied is ${digestOf(index)}`),
    );
  });

  it("holds classic signatures that OpenSSL verifies as skopeo fetched them, and refuses with another key", async () => {
    const [key, other] = [join(scratch, "mine"), join(scratch, "other")];
    await good("generate-key-pair", "--unencrypted", key);
    await good("generate-key-pair", "--unencrypted", other);
    const reference = `${registry.host}/signed/gate:1`;
    await good("push", MODULE, reference);
    await good("sign", reference, "--key", `${key}.key`, "--form", "classic");
    // As cosign does it: the tag of the manifest's digest, the layer's payload, the signature in its annotation.
    const { digest } = JSON.parse(await good("inspect", reference, "--json")) as { digest: string };
    const taken = fresh();
    const tag = `${registry.host}/signed/gate:${digest.replace(":", "-")}.sig`;
    const copied = await run("skopeo", ["copy", "--src-tls-verify=false", `docker://${tag}`, `dir:${taken}`]);
    assert.equal(copied.status, 0, copied.err);
    const manifest = JSON.parse(readFileSync(join(taken, "manifest.json"), "utf8")) as Manifest;
    const [layer] = manifest.layers;
    const payload = join(taken, layer!.digest.slice("sha256:".length));
    assert.ok(readFileSync(payload, "utf8").includes(digest));
    const signature = fresh(".sig");
    writeFileSync(signature, Buffer.from(layer!.annotations!["dev.cosignproject.cosign/signature"]!, "base64"));
    const verdict = (pub: string): Promise<Outcome> =>
      run("openssl", ["dgst", "-sha256", "-verify", pub, "-signature", signature, payload]);
    assert.equal((await verdict(`${key}.pub`)).status, 0);
    assert.notEqual((await verdict(`${other}.pub`)).status, 0);
    assert.match(await bad("verify", reference, "--key", `${other}.pub`), /SIGNATURE_MISSING: .*not this key's/);
    assert.match(await bad("pull", reference, "--key", `${other}.pub`, "-o", fresh()), /SIGNATURE_MISSING/);
    await good("pull", reference, "--key", `${other}.pub`, "--key", `${key}.pub`, "-o", fresh());
  });

  it("says what an image holds that is no filter", async () => {
    const text = fresh(".txt");
    writeFileSync(text, "hello");
    assert.match(
      await bad("push", text, `${registry.host}/text/gate:1`),
      /ARTIFACT_CONTENT: .*holds no WebAssembly module/,
    );
    const tar = fresh(".x");
    writeFileSync(
      tar,
      writeTar([
        { name: "a.wasm", bytes: readFileSync(MODULE) },
        { name: "b.wasm", bytes: readFileSync(MODULE) },
      ]),
    );
    assert.match(
      await bad("push", tar, `${registry.host}/text/gate:1`),
      /more than one \.wasm file, and no plugin\.wasm/,
    );
    assert.match(await bad("pull", `${registry.host}/no/such:1`, "-o", fresh()), /ARTIFACT_MISSING/);
    assert.match(await bad("pull", "gate:1", "-o", fresh()), /ARTIFACT_REFERENCE/);
  });
});

describe("a registry with passwords", () => {
  let registry: Registry;
  before(async () => {
    registry = await startRegistry("basic");
  });
  after(() => registry.stop());

  it("refuses strangers with the way in", async () => {
    assert.match(await bad("push", MODULE, `${registry.host}/gate:1`), new RegExp(`sluice login ${registry.host}`));
  });

  it("takes a login that is kept as Docker keeps it, readable by the user alone", async () => {
    const home = { DOCKER_CONFIG: fresh() };
    const wrong = await sluice(["login", registry.host, "-u", USER, "--password-stdin"], home, "wrong\n");
    assert.equal(wrong.status, 1);
    assert.match(wrong.err, /401/);
    const login = await sluice(["login", registry.host, "-u", USER, "--password-stdin"], home, `${PASSWORD}\n`);
    assert.equal(login.status, 0, login.err);
    const config = join(home.DOCKER_CONFIG, "config.json");
    assert.equal(statSync(config).mode & 0o077, 0);
    const pushed = await sluice(["push", MODULE, `${registry.host}/team/gate:1`], home);
    assert.equal(pushed.status, 0, pushed.err);
    const skopeo = await run("skopeo", [
      "inspect",
      "--tls-verify=false",
      "--raw",
      "--authfile",
      config,
      `docker://${registry.host}/team/gate:1`,
    ]);
    assert.equal(skopeo.status, 0, skopeo.err);
  });

  it("takes credentials from the environment, and from a helper", async () => {
    const byEnvironment = await sluice(["push", MODULE, `${registry.host}/env/gate:1`], {
      SLUICE_REGISTRY_USERNAME: USER,
      SLUICE_REGISTRY_PASSWORD: PASSWORD,
    });
    assert.equal(byEnvironment.status, 0, byEnvironment.err);
    const folder = fresh();
    mkdirSync(folder);
    writeFileSync(join(folder, "config.json"), JSON.stringify({ credHelpers: { [registry.host]: "tests" } }));
    writeFileSync(
      join(folder, "docker-credential-tests"),
      `#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = "${registry.host}" ] && echo '${JSON.stringify({ Username: USER, Secret: PASSWORD })}'\n`,
      { mode: 0o755 },
    );
    const byHelper = await sluice(["pull", `${registry.host}/env/gate:1`, "-o", fresh()], {
      DOCKER_CONFIG: folder,
      PATH: `${folder}:${process.env["PATH"]}`,
    });
    assert.equal(byHelper.status, 0, byHelper.err);
  });
});

describe("a registry with tokens", () => {
  let registry: Registry;
  before(async () => {
    registry = await startRegistry("token");
  });
  after(() => registry.stop());
  const env = { SLUICE_REGISTRY_USERNAME: USER, SLUICE_REGISTRY_PASSWORD: PASSWORD };

  it("gives tokens for what is done, no more", async () => {
    const pushed = await sluice(["push", MODULE, `${registry.host}/team/gate:1`], env);
    assert.equal(pushed.status, 0, pushed.err);
    registry.tokensAsked.length = 0;
    const pulled = await sluice(["pull", `${registry.host}/team/gate:1`, "-o", fresh()]);
    assert.equal(pulled.status, 0, pulled.err);
    assert.deepEqual(registry.tokensAsked, [{ scope: "repository:team/gate:pull", user: "" }]);
  });

  it("says that a stranger may not push, and that a password is wrong", async () => {
    const stranger = await sluice(["push", MODULE, `${registry.host}/team/gate:2`]);
    assert.equal(stranger.status, 1);
    assert.match(stranger.err, /ARTIFACT_REGISTRY/);
    const wrong = await sluice(["push", MODULE, `${registry.host}/team/gate:2`], {
      ...env,
      SLUICE_REGISTRY_PASSWORD: "wrong",
    });
    assert.equal(wrong.status, 1);
    assert.match(wrong.err, /user name or password are wrong/);
  });
});
