/** `sluice generate-key-pair` writes what cosign writes, and signs with it; asked for at a terminal, or without one. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { SLUICE } from "../cli/command.ts";
import { run, sluice } from "./commands.ts";
import { generateKeyPair, readPrivateKey } from "../../runtime/registry/signature.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-keys-"));
after(() => rmSync(scratch, { recursive: true }));
const at = (name: string): string => join(scratch, name);
/** Whatever the machine has set. */
const NO_PASSWORD = { COSIGN_PASSWORD: undefined, SLUICE_KEY_PASSWORD: undefined };

function pemBody(pem: string): readonly [label: string, body: string] {
  const found = /^-----BEGIN ([A-Z ]+)-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END \1-----\n$/.exec(pem);
  assert.ok(found, pem);
  return [found[1]!, found[2]!];
}

describe("a key pair with a password", () => {
  it("is in the form of cosign, field by field", () => {
    const [label, body] = pemBody(generateKeyPair("open sesame").privatePem);
    assert.equal(label, "ENCRYPTED SIGSTORE PRIVATE KEY");
    const sealed = JSON.parse(Buffer.from(body, "base64").toString()) as {
      readonly kdf: Record<string, unknown>;
      readonly cipher: Record<string, unknown>;
      readonly ciphertext: string;
    };
    assert.deepEqual(Object.keys(sealed), ["kdf", "cipher", "ciphertext"]);
    const { kdf, cipher, ciphertext } = sealed;
    const { salt, ...derived } = kdf;
    assert.deepEqual(derived, { name: "scrypt", params: { N: 65_536, r: 8, p: 1 } });
    assert.deepEqual(Object.keys(cipher), ["name", "nonce"]);
    assert.equal(cipher["name"], "nacl/secretbox");
    const lengths = [salt, cipher["nonce"]].map((text) => Buffer.from(String(text), "base64").length);
    assert.deepEqual(lengths, [32, 24]);
    // A P-256 key in PKCS #8 has 138 bytes, and a box 16 more.
    assert.equal(Buffer.from(ciphertext, "base64").length, 138 + 16);
  });

  it("opens with that password alone, an empty one too", () => {
    for (const password of ["open sesame", ""]) {
      const { privatePem, publicPem } = generateKeyPair(password);
      const key = readPrivateKey(privatePem, password, "k");
      assert.equal(createPublicKey(key).export({ type: "spki", format: "pem" }), publicPem);
      assert.throws(() => readPrivateKey(privatePem, "another", "k"), /its password is wrong or missing/);
    }
  });

  it("is made and used at the command line with COSIGN_PASSWORD, SLUICE_KEY_PASSWORD before it", async () => {
    const made = await sluice(["generate-key-pair", at("team")], { ...NO_PASSWORD, COSIGN_PASSWORD: "one" });
    assert.equal(made.status, 0, made.err);
    assert.equal(statSync(at("team.key")).mode & 0o077, 0);
    assert.equal(pemBody(readFileSync(at("team.key"), "utf8"))[0], "ENCRYPTED SIGSTORE PRIVATE KEY");
    writeFileSync(at("file"), "signed");
    const sign = (env: NodeJS.ProcessEnv) =>
      sluice(["sign", at("file"), "--key", at("team.key")], { ...NO_PASSWORD, ...env });
    for (const env of [{}, { COSIGN_PASSWORD: "two" }, { COSIGN_PASSWORD: "one", SLUICE_KEY_PASSWORD: "two" }]) {
      const { status, err } = await sign(env);
      assert.equal(status, 1);
      assert.match(err, /team\.key: its password is wrong or missing \(COSIGN_PASSWORD or SLUICE_KEY_PASSWORD\)/);
    }
    assert.equal((await sign({ COSIGN_PASSWORD: "two", SLUICE_KEY_PASSWORD: "one" })).status, 0);
    // OpenSSL takes the other half, and what was signed.
    writeFileSync(at("raw"), Buffer.from(readFileSync(at("file.sig"), "utf8"), "base64"));
    const verdict = ["dgst", "-sha256", "-verify", at("team.pub"), "-signature", at("raw"), at("file")];
    assert.match((await run("openssl", verdict)).out, /Verified OK/);
    const again = await sluice(["generate-key-pair", at("team")], { COSIGN_PASSWORD: "one" });
    assert.match(again.err, /KEY_EXISTS: .*team\.key is there already/);
  });
});

describe("a key pair without COSIGN_PASSWORD", () => {
  it("is not made where there is nobody to ask, and not by mistake without a password", async () => {
    const { status, err } = await sluice(["generate-key-pair", at("none")], NO_PASSWORD);
    assert.equal(status, 1);
    assert.match(err, /KEY_PASSWORD: no terminal to ask at: set COSIGN_PASSWORD, or give --unencrypted/);
    assert.equal(existsSync(at("none.key")), false);
  });

  it("is PKCS #8 when that is wanted, and says where it cannot be written", async () => {
    assert.equal((await sluice(["generate-key-pair", "--unencrypted", at("plain")], NO_PASSWORD)).status, 0);
    assert.equal(pemBody(readFileSync(at("plain.key"), "utf8"))[0], "PRIVATE KEY");
    assert.equal((await run("openssl", ["pkey", "-in", at("plain.key"), "-noout"])).status, 0);
    const nowhere = await sluice(["generate-key-pair", "--unencrypted", at("nowhere/team")], NO_PASSWORD);
    assert.match(nowhere.err, /KEY_UNWRITABLE: ENOENT/);
  });

  it("takes a password from the terminal, twice the same, and does not show it", async () => {
    const typed = async (command: string, answers: readonly string[]): Promise<string> => {
      const child = spawn("script", ["-qec", `'${process.execPath}' '${SLUICE}' ${command}`, "/dev/null"], {
        env: { ...process.env, ...NO_PASSWORD },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let shown = "";
      let asked = 0;
      child.stdin.on("error", () => {});
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        shown += text;
        const questions = shown.match(/(?:private key|once more|\.key): /g)?.length ?? 0;
        for (; asked < questions; asked++) child.stdin.write(answers[asked]!);
      });
      await once(child, "close");
      return shown;
    };
    const shown = await typed(`generate-key-pair '${at("asked")}'`, ["sesame\r", "sesame\r"]);
    assert.match(shown, /password for the private key: .*the same once more: .*asked\.key \(keep it to yourself\)/s);
    assert.doesNotMatch(shown, /sesame/);
    readPrivateKey(readFileSync(at("asked.key"), "utf8"), "sesame", "k");
    writeFileSync(at("other"), "signed");
    assert.match(await typed(`sign '${at("other")}' --key '${at("asked.key")}'`, ["sesame\r"]), /other\.sig/);
    const twice = await typed(`generate-key-pair '${at("twice")}'`, ["one\r", "two\r"]);
    assert.match(twice, /KEY_PASSWORD: the two are not the same/);
    // Ctrl+C.
    assert.match(await typed(`generate-key-pair '${at("twice")}'`, ["\u0003"]), /KEY_PASSWORD: no answer/);
    assert.equal(existsSync(at("twice.key")), false);
  });
});
