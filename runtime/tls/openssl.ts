/** Calls into `node:tls` and `node:crypto` that may find something wrong, and how it is told. */
import type { X509Certificate } from "node:crypto";
import { ProxyError } from "../errors.ts";
import { pemCertificates } from "./certificate.ts";

/** `node:tls` takes 5 ms to load, which a configuration without TLS does not spend. */
export function tlsModule(): typeof import("node:tls") {
  return process.getBuiltinModule("node:tls");
}

/** Runs a step of OpenSSL; its errors become ProxyError `TLS_CONTEXT`, with the field they are about. */
export function attempt<T>(what: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw badTls(what, error instanceof Error ? readable(error) : String(error), error);
  }
}

export function badTls(what: string, text: string, cause?: unknown): ProxyError {
  return new ProxyError("TLS_CONTEXT", "config", `${what}: ${text}`, cause);
}

/** OpenSSL's reasons as people say them. */
const READABLE: readonly (readonly [RegExp, string])[] = [
  [/key values mismatch/i, "the private key does not belong to the certificate"],
  [/no start line/i, "it is not in PEM form"],
  [
    /bad decrypt|DECODER routines|interrupted or cancelled|bad password/i,
    "it is no private key in PEM form, or its password is wrong",
  ],
  [/no cipher match/i, "there is no cipher suite of this name"],
  [/Failed to set ECDH curve/i, "there is no curve of this name among ecdh_curves"],
  [/bad end line|asn1|wrong tag|bad base64/i, "it is damaged"],
];

function readable(error: Error): string {
  const known = READABLE.find(([pattern]) => pattern.test(error.message));
  return known === undefined ? error.message : `${known[1]} (${error.message})`;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The certificates of a PEM source that must hold some. */
export function certificatesOf(bytes: Uint8Array, what: string): X509Certificate[] {
  const found = attempt(what, () => pemCertificates(bytes));
  if (found.length === 0) throw badTls(what, "there is no certificate in PEM form in it");
  return found;
}
