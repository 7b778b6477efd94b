/**
 * Keyed signatures over an artifact's manifest, in cosign's two forms: the classic one (simple signing payloads in an image
 * with the tag `sha256-….sig`; cosign's SIGNATURE_SPEC) and the Sigstore bundle as a referrer (BUNDLE_SPEC, cosign 3).
 * ECDSA, Ed25519, and RSA with PKCS #1 padding. Signed with SHA-256, as cosign signs; verified with the curve's own hash
 * too, which cosign takes for larger curves since 2.6.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign as signBytes,
  verify as verifyBytes,
} from "node:crypto";
import type { KeyObject } from "node:crypto";
import { ProxyError } from "../errors.ts";
import { MAX_SHOWN_ANSWER } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { isCosignKey, openCosignKey, sealCosignKey, WRONG_PASSWORD } from "./cosign-key.ts";
import { MediaType } from "./manifest.ts";

/** A signature over a payload that names the manifest's digest. */
export interface Signature {
  readonly form: "classic" | "bundle";
  /** The bytes that were signed, or for a bundle the whole bundle. */
  readonly payload: Buffer;
  /** Raw signature; empty for a bundle, which holds its own. */
  readonly signature: Buffer;
  /** Why it was not fetched, and is good for nobody. */
  readonly unread?: string;
}

/** Annotation of a layer with its signature in base64 (SIGNATURE_SPEC). */
export const SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";
const STATEMENT = "https://in-toto.io/Statement/v1";
const IN_TOTO = "application/vnd.in-toto+json";
/** What a signature states: this is the one. Other predicates are attestations. */
export const PREDICATE = "https://sigstore.dev/cosign/sign/v1";
/** Hashes of curves that are larger than P-256 (Sigstore's registry of algorithms). */
const OWN_HASHES: Readonly<Record<string, string>> = { secp384r1: "sha384", secp521r1: "sha512" };

export interface KeyPair {
  readonly privatePem: string;
  readonly publicPem: string;
}

/** A fresh ECDSA P-256 key pair: as cosign seals it with a password, which may be empty, or without one PKCS #8; and SubjectPublicKeyInfo. All PEM. */
export function generateKeyPair(password: string | undefined): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    privatePem:
      password === undefined
        ? privateKey.export({ type: "pkcs8", format: "pem" })
        : sealCosignKey(privateKey, password),
    publicPem: publicKey.export({ type: "spki", format: "pem" }),
  };
}

/** True for a private key that needs a password, though it may be an empty one. */
export function isEncryptedKey(pem: string): boolean {
  return /BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(pem);
}

/** Reads a private key. Throws ProxyError SIGNATURE_KEY. */
export function readPrivateKey(pem: string, password: string | undefined, what: string): KeyObject {
  if (isCosignKey(pem)) {
    const opened = openCosignKey(pem, password ?? "");
    if (typeof opened === "string") throw keyError(what, opened);
    return checkKind(opened, what);
  }
  try {
    return checkKind(createPrivateKey({ key: pem, ...(password === undefined ? {} : { passphrase: password }) }), what);
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause;
    throw keyError(what, isEncryptedKey(pem) ? WRONG_PASSWORD : "it is no private key in PEM");
  }
}

/** Reads a public key. Throws ProxyError SIGNATURE_KEY. */
export function readPublicKey(pem: string, what: string): KeyObject {
  if (/PRIVATE KEY/.test(pem)) throw keyError(what, "it is a private key; the public one verifies");
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw keyError(what, "it is no public key in PEM");
  }
  return checkKind(key, what);
}

/** Lower-case hex of the key's SHA-256 (SubjectPublicKeyInfo): names it for people. */
export function keyFingerprint(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
}

/** The classic form: payload and signature for one layer of the signature's image. */
export function signClassic(key: KeyObject, repository: string, digest: string): Signature {
  const payload = Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": repository },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );
  return { form: "classic", payload, signature: rawSign(key, payload) };
}

/** The bundle: a DSSE envelope around an in-toto statement whose subject is the manifest. */
export function signBundle(key: KeyObject, digest: string): Signature {
  const statement = Buffer.from(
    JSON.stringify({
      _type: STATEMENT,
      subject: [{ digest: { sha256: digest.slice("sha256:".length) } }],
      predicateType: PREDICATE,
      predicate: {},
    }),
  );
  const bundle = {
    mediaType: MediaType.BUNDLE,
    verificationMaterial: {
      publicKey: { hint: Buffer.from(keyFingerprint(key), "hex").toString("base64") },
      tlogEntries: [],
      timestampVerificationData: { rfc3161Timestamps: [] },
    },
    dsseEnvelope: {
      payload: statement.toString("base64"),
      payloadType: IN_TOTO,
      signatures: [{ sig: rawSign(key, preAuthentication(IN_TOTO, statement)).toString("base64"), keyid: "" }],
    },
  };
  return { form: "bundle", payload: Buffer.from(JSON.stringify(bundle)), signature: Buffer.alloc(0) };
}

/** A signature over the bytes of a file, base64, as `cosign sign-blob` makes it: for modules that come in no registry. */
export function signFile(key: KeyObject, bytes: Buffer): string {
  return rawSign(key, bytes).toString("base64");
}

/** undefined when a file's signature (base64, or a bundle of `cosign sign-blob`) is good, else why not. */
export function fileRefusal(key: KeyObject, bytes: Buffer, text: string): string | undefined {
  const bundled = field(field(json(Buffer.from(text)), "messageSignature"), "signature");
  const signature = base64(bundled ?? text.trim());
  if (signature === undefined) return "the signature is no base64";
  return rawVerify(key, bytes, signature) ? undefined : "the signature is not this key's";
}

/** undefined when the signature is good for this manifest and key, else why not. Never throws. */
export function refusal(key: KeyObject, signed: Signature, digest: string): string | undefined {
  const { form, payload, signature, unread } = signed;
  if (unread !== undefined) return unread;
  return form === "classic" ? classicRefusal(key, payload, signature, digest) : bundleRefusal(key, payload, digest);
}

function classicRefusal(key: KeyObject, payload: Buffer, signature: Buffer, digest: string): string | undefined {
  if (!rawVerify(key, payload, signature)) return "the signature is not this key's";
  const parsed = json(payload);
  const critical = field(parsed, "critical");
  if (
    field(critical, "type") !== "cosign container image signature" &&
    field(critical, "type") !== "atomic container signature"
  )
    return "the signed payload is of an unknown type";
  if (field(field(critical, "image"), "docker-manifest-digest") !== digest) return "it signs another manifest";
  return undefined;
}

function bundleRefusal(key: KeyObject, bundle: Buffer, digest: string): string | undefined {
  const parsed = json(bundle);
  const type = field(parsed, "mediaType");
  if (typeof type !== "string" || !/^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.3)?\+json/.test(type))
    return "it is no Sigstore bundle of version 0.3";
  if (field(parsed, "messageSignature") !== undefined) return "it signs a file, not an artifact";
  const envelope = field(parsed, "dsseEnvelope");
  const payload = base64(field(envelope, "payload"));
  const payloadType = field(envelope, "payloadType");
  const signatures = field(envelope, "signatures");
  if (payload === undefined || payloadType !== IN_TOTO || !Array.isArray(signatures))
    return "its envelope is not whole";
  const signed = preAuthentication(payloadType, payload);
  const good = signatures.some((one: unknown) => {
    const sig = base64(field(one, "sig"));
    return sig !== undefined && rawVerify(key, signed, sig);
  });
  if (!good) return "the signature is not this key's";
  const statement = json(payload);
  const subjects = field(statement, "subject");
  if (field(statement, "_type") !== STATEMENT || !Array.isArray(subjects))
    return "the signed statement is of an unknown type";
  // The same keys sign what scanners found, bad news too: only this predicate says that the artifact is approved.
  const predicate = field(statement, "predicateType");
  if (predicate !== PREDICATE)
    return `it is no signature but an attestation (${shownText(String(predicate), MAX_SHOWN_ANSWER)})`;
  const named = subjects.some(
    (one: unknown) => field(field(one, "digest"), "sha256") === digest.slice("sha256:".length),
  );
  return named ? undefined : "it signs another manifest";
}

/** DSSE's pre-authentication encoding. */
function preAuthentication(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.length} `), body]);
}

/** True when one of a key's hashes fits. */
function rawVerify(key: KeyObject, bytes: Buffer, signature: Buffer): boolean {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  const own = OWN_HASHES[asymmetricKeyDetails?.namedCurve ?? ""];
  const hashes = asymmetricKeyType === "ed25519" ? [null] : ["sha256", ...(own === undefined ? [] : [own])];
  try {
    return hashes.some((hash) => verifyBytes(hash, bytes, key, signature));
  } catch {
    // A signature that cannot even be read is no good one.
    return false;
  }
}

function rawSign(key: KeyObject, bytes: Buffer): Buffer {
  return signBytes(key.asymmetricKeyType === "ed25519" ? null : "sha256", bytes, key);
}

function checkKind(key: KeyObject, what: string): KeyObject {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (
    key.asymmetricKeyType === "ed25519" ||
    (key.asymmetricKeyType === "ec" && ["prime256v1", "secp384r1", "secp521r1"].includes(curve ?? ""))
  )
    return key;
  if (key.asymmetricKeyType === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048) return key;
  throw keyError(
    what,
    "its kind of key is not taken: ECDSA (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits at least",
  );
}

function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    // No JSON is no signature: whoever asks looks for the fields of one.
    return undefined;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** Strict base64: what decodes to the same bytes in another spelling is not what was signed. */
function base64(value: unknown): Buffer | undefined {
  if (typeof value !== "string") return undefined;
  const bytes = Buffer.from(value, "base64");
  return bytes.length > 0 && bytes.toString("base64") === value ? bytes : undefined;
}

function keyError(what: string, why: string): ProxyError {
  return new ProxyError("SIGNATURE_KEY", "config", `${what}: ${why}`);
}
