/** envoy.config.core.v3.RemoteDataSource: code that is fetched from a cluster, and the folder that keeps it. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

import { ProxyError } from "../../errors.ts";
import { CODE_CACHE_BYTES, CODE_RETRY_BASE_MS, NUM_RETRIES } from "../../limits.ts";
import { isReference, parseReference } from "../../registry/reference.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { CodeCacheConfig, RemoteCode } from "../snapshot.ts";
import { buildBackoff } from "./backoff.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath } from "./data-source.ts";

/** In place of a digest: whatever the tag stands for. */
const UNPINNED = "unpinned";

/** Where to fetch a module; undefined, with a problem reported, when that cannot be said. */
export function buildRemoteCode(context: BuildContext, vm: Message, remote: Message): RemoteCode | undefined {
  const http = remote.message("http_uri");
  if (http === undefined) return undefined;
  const uri = http.text("uri");
  const oci = isReference(uri);
  const given = remote.text("sha256").toLowerCase();
  const unpinned = oci && given === UNPINNED;
  // A tag that may move has no digest; something must stand for its code.
  const sha256 = unpinned ? createHash("sha256").update(uri).digest("hex") : given;
  const problems = context.problems.errors.length;
  if (sha256 !== "" && !/^[0-9a-f]{64}$/.test(sha256)) {
    const also = oci ? `, or write "${UNPINNED}" to go with the tag` : "";
    context.error(
      remote,
      "sha256",
      "digest",
      `a SHA-256 has 64 hexadecimal digits; \`sha256sum FILE\` prints it${also}`,
    );
  }
  if (oci) checkReference(context, http, uri);
  else if (uri !== "" && !/^https?:$/.test(URL.parse(uri)?.protocol ?? ""))
    context.error(http, "uri", "uri", `${JSON.stringify(uri)} is no http://, https:// or oci:// URI`);
  const cluster = http.text("cluster");
  // A registry is reached by its own name; Envoy's rules want some cluster to be named all the same.
  if (!oci && cluster !== "" && !context.clusters.has(cluster)) {
    const text = `unknown cluster '${cluster}'${didYouMean(cluster, context.clusters)}`;
    context.error(http, "cluster", "unknown-cluster", text);
  }
  const retry = remote.message("retry_policy");
  const backoff = buildBackoff(context, retry?.message("retry_back_off"), CODE_RETRY_BASE_MS, "retry-policy");
  if (context.problems.errors.length > problems) return undefined;
  return {
    kind: "remote",
    uri,
    cluster,
    timeoutMs: context.timerMillis(http, "timeout", 0),
    sha256,
    ...(oci ? { oci: { pinned: !unpinned } } : {}),
    retries: retry?.wrappedNumber("num_retries", NUM_RETRIES) ?? NUM_RETRIES,
    retryBaseIntervalMs: backoff.baseMs,
    retryMaxIntervalMs: backoff.maxMs,
    nackOnCacheMiss: vm.flag("nack_on_code_cache_miss"),
  };
}

function checkReference(context: BuildContext, http: Message, uri: string): void {
  try {
    parseReference(uri);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    context.error(http, "uri", "uri", error.message.slice(error.code.length + 2));
  }
}

/** sluice.v1.CodeCache of the bootstrap; without one the user's cache folder, as the XDG base directory specification has it. */
export function buildCodeCache(bootstrap: Message): CodeCacheConfig {
  const extensions = bootstrap.messages("bootstrap_extensions").map((one) => one.message("typed_config")?.any);
  const cache = extensions.find((any) => any?.type.name === "sluice.v1.WasmRuntime")?.message("code_cache");
  const home = process.env["XDG_CACHE_HOME"];
  const shared = home === undefined || home === "" ? join(homedir(), ".cache") : resolve(home);
  return {
    path:
      cache === undefined || cache.text("path") === "" ? join(shared, "sluice", "code") : configuredPath(cache, "path"),
    maxBytes: cache?.wrappedNumber("max_bytes", CODE_CACHE_BYTES) ?? CODE_CACHE_BYTES,
  };
}
