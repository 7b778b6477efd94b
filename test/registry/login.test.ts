/** `sluice login` and `logout`: with Docker's file and with a credential helper, against a real registry; skopeo reads the same. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findCredentials, storeCredentials } from "../../runtime/registry/credentials.ts";
import { run, sluice } from "./commands.ts";
import type { Outcome } from "./commands.ts";
import { PASSWORD, startRegistry, USER } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const MODULE = fileURLToPath(new URL("../../build/filters/evangelist.wasm", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-login-"));
/** Keeps each registry's JSON in a file of its own, as the helpers with a keychain do in there. */
const HELPER = `#!/bin/sh
read -r first
case $1 in
  store) name=$(echo "$first" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/') ;;
  *) name=$first ;;
esac
file="${scratch}/kept-$(echo "$name" | tr '/:' '__')"
case $1 in
  store) echo "$first" > "$file" ;;
  get) [ -f "$file" ] || { echo "credentials not found in native keychain"; exit 1; }; cat "$file" ;;
  erase) rm "$file" ;;
esac
`;

let registry: Registry;
let homes = 0;
before(async () => {
  registry = await startRegistry("basic");
  writeFileSync(join(scratch, "docker-credential-files"), HELPER, { mode: 0o755 });
  writeFileSync(join(scratch, "docker-credential-locked"), "#!/bin/sh\necho 'the keychain is locked'; exit 1\n", {
    mode: 0o755,
  });
});
after(async () => {
  await registry.stop();
  rmSync(scratch, { recursive: true });
});

/** A home with this file of Docker's. */
function home(config: unknown): { readonly env: NodeJS.ProcessEnv; readonly file: string } {
  const folder = join(scratch, `home${homes++}`);
  mkdirSync(folder);
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify(config));
  return { env: { DOCKER_CONFIG: folder, PATH: `${scratch}:${process.env["PATH"]}` }, file };
}

const read = (file: string): unknown => JSON.parse(readFileSync(file, "utf8"));
const login = (env: NodeJS.ProcessEnv): Promise<Outcome> =>
  sluice(["login", registry.host, "-u", USER, "--password-stdin"], env, `${PASSWORD}\n`);
const logout = (env: NodeJS.ProcessEnv): Promise<Outcome> => sluice(["logout", registry.host], env);

describe("login with a credential helper", () => {
  for (const setting of ["credsStore", "credHelpers"] as const) {
    it(`named by ${setting} keeps the password there, and no old one in the file; logout takes it from there`, async () => {
      const helper = setting === "credsStore" ? { credsStore: "files" } : { credHelpers: { [registry.host]: "files" } };
      const old = { auth: Buffer.from("old:secret").toString("base64") };
      const others = { "other.example": old };
      const { env, file } = home({
        ...helper,
        auths: { ...others, [registry.host]: old, [`https://${registry.host}`]: old },
      });
      const answer = await login(env);
      assert.equal(answer.status, 0, answer.err);
      assert.match(answer.out, /kept by docker-credential-files/);
      assert.deepEqual(read(file), { ...helper, auths: { ...others, [registry.host]: {} } });
      const kept = join(scratch, `kept-${registry.host.replace(":", "_")}`);
      assert.deepEqual(read(kept), { ServerURL: registry.host, Username: USER, Secret: PASSWORD });

      const reference = `${registry.host}/helped/gate:1`;
      const pushed = await sluice(["push", MODULE, reference], env);
      assert.equal(pushed.status, 0, pushed.err);
      // Debian's skopeo knows helpers by registry alone.
      if (setting === "credHelpers") {
        const skopeo = ["inspect", "--tls-verify=false", "--raw", "--authfile", file, `docker://${reference}`];
        const seen = await run("skopeo", skopeo, env);
        assert.equal(seen.status, 0, seen.err);
      }

      const left = await logout(env);
      assert.equal(left.status, 0, left.err);
      assert.match(left.out, /logged out of .* \(docker-credential-files\)/);
      assert.equal(existsSync(kept), false);
      assert.deepEqual(read(file), { ...helper, auths: others });
      assert.equal((await sluice(["pull", reference, "-o", join(scratch, "x.wasm")], env)).status, 1);
      const again = await logout(env);
      assert.deepEqual([again.status, again.out], [0, `not logged in to ${registry.host}\n`]);
    });
  }

  it("says what the helper says, or that there is none, and keeps the password nowhere else", async () => {
    for (const [name, why] of [
      ["locked", /ARTIFACT_CREDENTIALS: docker-credential-locked: store: the keychain is locked/],
      [
        "not-there",
        /ARTIFACT_CREDENTIALS: docker-credential-not-there: there is no such program on the PATH \(store\)/,
      ],
      ["../evil", /ARTIFACT_CREDENTIALS: credential helper: "\.\.\/evil" is no name of a program/],
    ] as const) {
      const { env, file } = home({ credsStore: name });
      // Once the registry has taken them: the helper is asked for nothing before.
      const { status, err } = await login(env);
      assert.equal(status, 1);
      assert.match(err, why);
      assert.deepEqual(read(file), { credsStore: name });
    }
  });
});

describe("login without a helper", () => {
  it("keeps the password in the file, and logout takes it out", async () => {
    const { env, file } = home({ HttpHeaders: { "User-Agent": "kept" } });
    assert.match((await login(env)).out, /kept by .*config\.json/);
    const left = await logout(env);
    assert.match(left.out, /logged out of .*config\.json/);
    assert.deepEqual(read(file), { HttpHeaders: { "User-Agent": "kept" }, auths: {} });
  });

  it("says where it cannot write", async () => {
    const { env, file } = home({});
    const { status, err } = await login({ ...env, DOCKER_CONFIG: join(file, "below") });
    assert.equal(status, 1);
    assert.match(err, /ARTIFACT_CREDENTIALS: .*config\.json: it cannot be written/);
  });

  it("keeps what is Docker Hub's under the name that Docker looks for", async () => {
    const { env, file } = home({});
    await storeCredentials("docker.io", { username: "a", password: "b" }, file);
    assert.deepEqual(Object.keys((read(file) as { auths: object }).auths), ["https://index.docker.io/v1/"]);
    assert.deepEqual(await findCredentials("docker.io", env), { username: "a", password: "b" });
  });
});
