/** Content addresses: `sha256:` and the hash in lower-case hex. */
import { createHash } from "node:crypto";
import { ProxyError } from "../errors.ts";

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Throws ProxyError ARTIFACT_DIGEST when the bytes are not those that were named. */
export function checkDigest(bytes: Uint8Array, digest: string, what: string): void {
  const found = digestOf(bytes);
  if (found === digest) return;
  throw new ProxyError(
    "ARTIFACT_DIGEST",
    "config",
    `${what}: its digest is ${found}, not ${digest}: it was damaged or replaced on the way`,
  );
}
