/** Streams without an engine: what the filters of some plugins cost in-process. */
import * as LogLevel from "../../abi/log-level.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import type { HttpFilter } from "../../runtime/http/filter.ts";
import { BytesStage } from "../wasm/bytes-stage.ts";
import type { BytesStageOptions } from "../wasm/bytes-stage.ts";

export const REQUEST = [
  ":authority",
  "localhost:10000",
  ":path",
  "/api/items?id=1",
  ":method",
  "GET",
  ":scheme",
  "http",
  "user-agent",
  "curl/8.5.0",
  "accept",
  "*/*",
  "x-forwarded-proto",
  "http",
  "x-request-id",
  "b1f0f0a0-5c1e-4f6b-9a0e-1f2e3d4c5b6a",
];
const RESPONSE = [
  ":status",
  "200",
  "content-type",
  "application/json",
  "content-length",
  "512",
  "x-request-id",
  "b1f0f0a0-5c1e-4f6b-9a0e-1f2e3d4c5b6a",
];

/** A started plugin that logs as in production. */
export function quietStage(
  bytes: Uint8Array,
  config: Partial<PluginConfig> = {},
  options: BytesStageOptions = {},
): BytesStage {
  const stage = BytesStage.started(bytes, config, options);
  stage.log.level = LogLevel.WARN;
  return stage;
}

/** Throws when a guest has failed: it must not look quick. */
export function checkUnharmed(stage: BytesStage, what: string): void {
  const traps = stage.stats.values.get("wasm.puppet.traps") ?? 0;
  if (traps > 0) throw new Error(`${what}: the guest failed: ${stage.log.lines.at(-1)}`);
}

/** One stream through the plugins' filters, in order and back: create, request and response headers, destroy. */
export function streamThrough(stages: readonly BytesStage[]): () => void {
  const view = stages[0]!.stream({ request: REQUEST.slice() });
  const request = new HeaderMap();
  const response = new HeaderMap();
  view.requestHeaders = request;
  view.responseHeaders = response;
  const filters: HttpFilter[] = [];
  return () => {
    request.list = REQUEST.slice();
    response.list = RESPONSE.slice();
    for (const [n, { factory }] of stages.entries()) filters[n] = factory.create(view);
    for (let n = 0; n < stages.length; n++) filters[n]!.onRequestHeaders(request, true);
    for (let n = stages.length - 1; n >= 0; n--) filters[n]!.onResponseHeaders(response, true);
    for (let n = 0; n < stages.length; n++) filters[n]!.onDestroy();
  };
}

/** What {@link streamThrough} does beside filters. */
export function headersAlone(): void {
  REQUEST.slice();
  RESPONSE.slice();
}
