/**
 * The configuration that `sluice dev` runs: the author's, with the recorder in front of each chain of HTTP filters, and an
 * admin interface on a port of the system's choice where there is none.
 */
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

type Json = Record<string, unknown>;

/** The recorder's plugin name; its log lines carry it. */
export const RECORDER = "sluice.dev.recorder";
const RECORDER_MODULE = fileURLToPath(new URL("../../build/filters/recorder.wasm", import.meta.url));
const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/** JSON text of the changed configuration. `text` is one that has been validated. */
export function devConfig(text: string): string {
  const bootstrap = parse(text, { merge: true }) as Json;
  bootstrap["admin"] ??= { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } };
  visit(bootstrap, (object) => {
    const type = object["@type"];
    const filters = object["http_filters"] ?? object["httpFilters"];
    if (typeof type === "string" && type.endsWith(MANAGER) && Array.isArray(filters)) filters.unshift(recorder());
  });
  return JSON.stringify(bootstrap);
}

function recorder(): Json {
  return {
    name: RECORDER,
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
      config: {
        name: RECORDER,
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
