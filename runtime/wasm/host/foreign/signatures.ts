/** `sign` and `verify_signature`: Envoy's messages, keys in DER or PEM. */
import { createPrivateKey, createPublicKey, sign as signWith, verify as verifyWith } from "node:crypto";
import type { KeyObject } from "node:crypto";
import * as Status from "../../../../abi/status.ts";
import { SIGNATURE_FUEL } from "../../../limits.ts";
import { GuestExit } from "../../instance/failure.ts";
import { bytesOf, protoFields } from "../../values/proto-fields.ts";
import type { ForeignFunction, ForeignResult } from "./function.ts";

const HASHES: ReadonlySet<string> = new Set(["sha1", "sha224", "sha256", "sha384", "sha512"]);

/** A length-delimited field of a message. */
function field(number: number, bytes: Uint8Array): Buffer {
  const length: number[] = [];
  let left = bytes.length;
  while (left > 0x7f) {
    length.push((left & 0x7f) | 0x80);
    left >>>= 7;
  }
  return Buffer.concat([Buffer.of((number << 3) | 2, ...length, left), bytes]);
}

/** `bool result = 1`, and the other fields. */
function answer(ok: boolean, ...fields: readonly Buffer[]): Buffer {
  return Buffer.concat([...(ok ? [Buffer.of(8, 1)] : []), ...fields]);
}

function failed(number: number, text: string): Buffer {
  return answer(false, field(number, Buffer.from(text)));
}

function bad(why: string): ForeignResult {
  return { status: Status.BAD_ARGUMENT, why: `argument: ${why}` };
}

/** Runs what may fail for reasons that lie in the guest's keys and texts; the reason goes into field `number`. */
function attempt(number: number, run: () => Buffer): Buffer {
  try {
    return run();
  } catch (error) {
    if (error instanceof GuestExit) throw error;
    return failed(number, error instanceof Error ? error.message : String(error));
  }
}

/** How many times larger a key is than the usual ones: with RSA work grows with its square or third power. */
function growth(key: KeyObject): number {
  return Math.max((key.asymmetricKeyDetails?.modulusLength ?? 0) / USUAL_RSA_BITS, 1);
}
const USUAL_RSA_BITS = 2048;

export const verifySignature: ForeignFunction = {
  meaning:
    "message {1 hash function, 2 public key in DER, 3 signature, 4 text, 5 public key in PEM; one key} → {1 result, 2 error}",
  call(instance, argument) {
    const fields = protoFields(argument);
    if (fields === undefined) return bad("not a message");
    const hash = bytesOf(fields, 1).toString().toLowerCase();
    const [der, pem] = [bytesOf(fields, 2), bytesOf(fields, 5)];
    if ((der.length === 0) === (pem.length === 0))
      return bad("exactly one of public_key and public_key_pem must be set");
    instance.spend(SIGNATURE_FUEL + argument.length);
    if (!HASHES.has(hash)) return failed(2, `${hash} is not supported.`);
    return attempt(2, () => {
      const key: KeyObject =
        pem.length > 0 ? createPublicKey(pem) : createPublicKey({ key: der, format: "der", type: "spki" });
      instance.spend(SIGNATURE_FUEL * growth(key) ** 2 - SIGNATURE_FUEL);
      const ok = verifyWith(hash, bytesOf(fields, 4), key, bytesOf(fields, 3));
      return ok ? answer(true) : failed(2, "Failed to verify digest.");
    });
  },
};

export const sign: ForeignFunction = {
  meaning:
    "message {1 hash function, 2 private key in DER, 3 text, 4 private key in PEM; one key} → {1 result, 2 signature, 3 error}",
  call(instance, argument) {
    const fields = protoFields(argument);
    if (fields === undefined) return bad("not a message");
    const hash = bytesOf(fields, 1).toString().toLowerCase();
    const [der, pem] = [bytesOf(fields, 2), bytesOf(fields, 4)];
    if ((der.length === 0) === (pem.length === 0))
      return bad("exactly one of private_key and private_key_pem must be set");
    instance.spend(SIGNATURE_FUEL + argument.length);
    if (!HASHES.has(hash)) return failed(3, `${hash} is not supported.`);
    return attempt(3, () => {
      const key: KeyObject =
        pem.length > 0 ? createPrivateKey(pem) : createPrivateKey({ key: der, format: "der", type: "pkcs8" });
      instance.spend(SIGNATURE_FUEL * growth(key) ** 3 - SIGNATURE_FUEL);
      return answer(true, field(2, signWith(hash, bytesOf(fields, 3), key)));
    });
  },
};
