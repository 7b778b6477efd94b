/**
 * The configuration that `sluice dev` runs: the author's, with the recorder in front of each chain of HTTP filters and of each
 * chain of network filters with a module in it, and an admin interface on a port of the system's choice where there is none.
 */
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

type Json = Record<string, unknown>;

/** The recorder's plugin name; its log lines carry it. */
export const RECORDER = "sluice.dev.recorder";
const RECORDER_MODULE = fileURLToPath(new URL("../../build/filters/recorder.wasm", import.meta.url));
const NETWORK = "envoy.extensions.filters.network.";
const MANAGER = `${NETWORK}http_connection_manager.v3.HttpConnectionManager`;
const NETWORK_WASM = `${NETWORK}wasm.v3.Wasm`;
const HTTP_WASM = "envoy.extensions.filters.http.wasm.v3.Wasm";

/** JSON text of the changed configuration. `text` is one that has been validated. */
export function devConfig(text: string): string {
  const bootstrap = parse(text, { merge: true }) as Json;
  bootstrap["admin"] ??= { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } };
  visit(bootstrap, (object) => {
    const filters = object["http_filters"] ?? object["httpFilters"];
    if (isOf(object, MANAGER) && Array.isArray(filters)) filters.unshift(recorder(HTTP_WASM, ""));
    const { filters: chain } = object;
    if (!Array.isArray(chain)) return;
    const types = chain.map((filter: Json | null) => filter?.["typed_config"] ?? filter?.["typedConfig"]);
    // Of HTTP the requests are told.
    if (types.some((config) => isOf(config, NETWORK_WASM)) && !types.some((config) => isOf(config, MANAGER)))
      chain.unshift(recorder(NETWORK_WASM, "connections"));
  });
  return JSON.stringify(bootstrap);
}

function isOf(value: unknown, message: string): boolean {
  const type = typeof value === "object" && value !== null ? (value as Json)["@type"] : undefined;
  return typeof type === "string" && type.endsWith(message);
}

function recorder(message: string, rootId: string): Json {
  return {
    name: RECORDER,
    typed_config: {
      "@type": `type.googleapis.com/${message}`,
      config: {
        name: RECORDER,
        root_id: rootId,
        failure_policy: "FAIL_OPEN",
        vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: RECORDER_MODULE } } },
      },
    },
  };
}

function visit(value: unknown, act: (object: Json) => void): void {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) act(value as Json);
  for (const inner of Object.values(value)) visit(inner, act);
}
