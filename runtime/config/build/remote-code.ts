/** envoy.config.core.v3.RemoteDataSource: code that is fetched from a cluster, and the folder that keeps it. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

import { CODE_CACHE_BYTES, CODE_RETRY_BASE_MS } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { CodeCacheConfig, RemoteCode } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath } from "./data-source.ts";

/** Where to fetch a module; undefined, with a problem reported, when that cannot be said. */
export function buildRemoteCode(context: BuildContext, vm: Message, remote: Message): RemoteCode | undefined {
  const http = remote.message("http_uri");
  if (http === undefined) return undefined;
  const sha256 = remote.text("sha256").toLowerCase();
  const problems = context.problems.errors.length;
  if (sha256 !== "" && !/^[0-9a-f]{64}$/.test(sha256))
    context.error(remote, "sha256", "digest", "a SHA-256 has 64 hexadecimal digits; `sha256sum FILE` prints it");
  const uri = http.text("uri");
  const url = URL.parse(uri);
  if (uri !== "" && (url === null || !/^https?:$/.test(url.protocol)))
    context.error(http, "uri", "uri", `${JSON.stringify(uri)} is no http:// or https:// URI`);
  const cluster = http.text("cluster");
  if (cluster !== "" && !context.clusters.has(cluster)) {
    const text = `unknown cluster '${cluster}'${didYouMean(cluster, context.clusters)}`;
    context.error(http, "cluster", "unknown-cluster", text);
  }
  const retry = remote.message("retry_policy");
  const backOff = retry?.message("retry_back_off");
  const base =
    backOff === undefined ? CODE_RETRY_BASE_MS : context.millis(backOff, "base_interval", CODE_RETRY_BASE_MS);
  const most = backOff === undefined ? base * 10 : context.millis(backOff, "max_interval", base * 10);
  if (backOff !== undefined && most < base)
    context.error(backOff, "max_interval", "retry-policy", "max_interval must not be less than base_interval");
  if (context.problems.errors.length > problems) return undefined;
  return {
    kind: "remote",
    uri,
    cluster,
    timeoutMs: context.millis(http, "timeout", 0),
    sha256,
    retries: retry?.wrappedNumber("num_retries", 1) ?? 1,
    retryBaseIntervalMs: base,
    retryMaxIntervalMs: most,
    nackOnCacheMiss: vm.flag("nack_on_code_cache_miss"),
  };
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
