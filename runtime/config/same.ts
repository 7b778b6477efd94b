/**
 * Whether two parts of snapshots say the same. What stands in a file is no part of what is said: whoever uses the file
 * reads it anew when it changes, so that a certificate that was renewed makes no other configuration.
 */

import type { AnyTlsConfig } from "../tls/sds.ts";

/** Of plain data. */
export function sameConfig(first: unknown, second: unknown): boolean {
  const [a, b] = [withoutSecrets(first), withoutSecrets(second)];
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array || b instanceof Uint8Array)
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const file = fileOf(a);
  if (file !== "") return file === fileOf(b);
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return keys.every((key) => Object.hasOwn(right, key) && sameConfig(left[key], right[key]));
}

/** A TLS context as it is said: without what stands in files of secrets. Anything else as it is. */
function withoutSecrets(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("sds" in value)) return value;
  const context = value as AnyTlsConfig;
  const { uses, base } = context.sds;
  if (uses.length === 0) return value;
  const isOf = (kind: string, at = 0): boolean => uses.some((use) => use.kind === kind && use.at === at);
  const { certificates, validation, ticketKey, sds: _sds, ...rest } = context;
  return {
    ...rest,
    certificates: certificates.map((one, at) => (isOf("tls_certificate", at) ? null : one)),
    validation: isOf("validation_context") ? base : validation,
    ticketKey: isOf("session_ticket_keys") ? null : ticketKey,
    uses: uses.map(({ digest: _digest, ...use }) => use),
  };
}

/** The file of a SecretSource (tls-snapshot.ts); "" for anything else. */
function fileOf(value: object): string {
  return "bytes" in value && "file" in value && typeof value.file === "string" ? value.file : "";
}
