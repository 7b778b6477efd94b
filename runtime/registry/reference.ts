/** Names of artifacts in registries: `[oci://]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`. */
import { ProxyError } from "../errors.ts";
import { MAX_REFERENCE_NAME } from "../limits.ts";

export interface Reference {
  /** `host` or `host:port`. */
  readonly registry: string;
  readonly repository: string;
  /** `latest` when neither tag nor digest is named; undefined beside a digest. */
  readonly tag: string | undefined;
  /** `sha256:` and 64 hex digits. */
  readonly digest: string | undefined;
}

/** Grammar of the OCI distribution specification, "Pulling manifests". */
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const REGISTRY = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/** True for what is written as a reference and not as a path or another URL. */
export function isReference(text: string): boolean {
  return text.startsWith("oci://");
}

/** Reads a reference; `oci://` in front may be left out. Throws ProxyError ARTIFACT_REFERENCE that says what is wrong. */
export function parseReference(text: string): Reference {
  const bare = text.startsWith("oci://") ? text.slice("oci://".length) : text;
  const slash = bare.indexOf("/");
  const registry = slash < 0 ? "" : bare.slice(0, slash);
  if (registry === "" || !REGISTRY.test(registry) || !/[.:]|^localhost$/.test(registry)) {
    throw wrong(text, "it must begin with the registry's host, such as registry.example.com/filters/gate:1.0");
  }
  let rest = bare.slice(slash + 1);
  const at = rest.indexOf("@");
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  if (at >= 0) rest = rest.slice(0, at);
  if (digest !== undefined && !DIGEST.test(digest)) throw wrong(text, "the digest must be sha256: and 64 hex digits");
  const colon = rest.indexOf(":");
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const repository = colon < 0 ? rest : rest.slice(0, colon);
  if (tag !== undefined && !TAG.test(tag)) throw wrong(text, `"${tag}" is no tag`);
  if (!REPOSITORY.test(repository) || registry.length + repository.length > MAX_REFERENCE_NAME)
    throw wrong(text, `"${repository}" is no repository name: small letters, digits, and . _ - / between them`);
  return { registry, repository, tag: tag ?? (digest === undefined ? "latest" : undefined), digest };
}

/** For people, and for parsing again. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

function wrong(text: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_REFERENCE", "config", `"${text}" names no artifact: ${why}`);
}
