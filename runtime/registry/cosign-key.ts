/** Private keys as cosign and Sigstore's tools write them: PKCS #8 in a NaCl secret box under a key from scrypt, JSON in PEM. */
import { createPrivateKey, randomBytes, scryptSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { MAX_SCRYPT_BYTES } from "../limits.ts";
import { openBox, sealBox } from "./secretbox.ts";

const PEM =
  /-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END ENCRYPTED \1 PRIVATE KEY-----/;

const LABEL = "ENCRYPTED SIGSTORE PRIVATE KEY";
/** What cosign takes for a key's file: 64 MiB and a tenth of a second. It opens files with no others but half or twice that N. */
const SCRYPT = { N: 65_536, r: 8, p: 1 } as const;
/** Why an encrypted key does not open, and where its password comes from. */
export const WRONG_PASSWORD = "its password is wrong or missing (COSIGN_PASSWORD or SLUICE_KEY_PASSWORD)";
const SALT_BYTES = 32;
const NONCE_BYTES = 24;
/** Characters of a line in PEM (RFC 7468, 2). */
const PEM_LINE = /.{1,64}/g;

interface SealedKey {
  readonly kdf: {
    readonly name: string;
    readonly params: Readonly<Record<"N" | "r" | "p", number>>;
    readonly salt: string;
  };
  readonly cipher: { readonly name: string; readonly nonce: string };
  readonly ciphertext: string;
}

/** True for a file that {@link openCosignKey} is for. */
export function isCosignKey(pem: string): boolean {
  return /BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY/.test(pem);
}

/** A private key as `cosign generate-key-pair` writes it; the password may be empty, as it may with cosign. */
export function sealCosignKey(key: KeyObject, password: string): string {
  const [salt, nonce] = [randomBytes(SALT_BYTES), randomBytes(NONCE_BYTES)];
  const box = sealBox(key.export({ type: "pkcs8", format: "der" }), nonce, derive(password, salt, SCRYPT));
  const sealed: SealedKey = {
    kdf: { name: "scrypt", params: SCRYPT, salt: salt.toString("base64") },
    cipher: { name: "nacl/secretbox", nonce: nonce.toString("base64") },
    ciphertext: box.toString("base64"),
  };
  const body = Buffer.from(JSON.stringify(sealed)).toString("base64").match(PEM_LINE)!.join("\n");
  return `-----BEGIN ${LABEL}-----\n${body}\n-----END ${LABEL}-----\n`;
}

/** The key, or why it cannot be had. */
export function openCosignKey(pem: string, password: string): KeyObject | string {
  const sealed = readSealed(pem);
  if (typeof sealed === "string") return sealed;
  const { kdf, cipher, ciphertext } = sealed;
  const { N, r, p } = kdf.params;
  // OpenSSL's count of what it needs, which grows with a file's numbers.
  if (128 * N * r + 128 * r * p > MAX_SCRYPT_BYTES) return "deriving its key takes more memory than is allowed";
  let key: Buffer;
  try {
    key = derive(password, Buffer.from(kdf.salt, "base64"), kdf.params);
  } catch {
    // Numbers that scrypt does not take, an N that is no power of two among them.
    return "its parameters of scrypt are no good";
  }
  const opened = openBox(Buffer.from(ciphertext, "base64"), Buffer.from(cipher.nonce, "base64"), key);
  if (opened === undefined) return WRONG_PASSWORD;
  try {
    return createPrivateKey({ key: opened, format: "der", type: "pkcs8" });
  } catch {
    return "there is no PKCS #8 key in it";
  }
}

function derive(password: string, salt: Buffer, { N, r, p }: SealedKey["kdf"]["params"]): Buffer {
  return scryptSync(password, salt, 32, { N, r, p, maxmem: 2 * MAX_SCRYPT_BYTES });
}

function readSealed(pem: string): SealedKey | string {
  const body = PEM.exec(pem)?.[2];
  if (body === undefined) return "it is no whole PEM";
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(body, "base64").toString("utf8"));
  } catch {
    return "there is no JSON in it";
  }
  const { kdf, cipher, ciphertext } = (parsed ?? {}) as Partial<SealedKey>;
  if (kdf?.name !== "scrypt" || cipher?.name !== "nacl/secretbox")
    return "it is not sealed with scrypt and nacl/secretbox";
  const numbers = [kdf.params?.N, kdf.params?.r, kdf.params?.p];
  const texts = [kdf.salt, cipher.nonce, ciphertext];
  if (!numbers.every((one) => Number.isSafeInteger(one) && one > 0) || !texts.every((one) => typeof one === "string"))
    return "a part of it is missing";
  return { kdf, cipher, ciphertext: ciphertext! };
}
