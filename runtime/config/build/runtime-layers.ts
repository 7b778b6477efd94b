/** envoy.config.bootstrap.v3.LayeredRuntime: the static layers, flattened. */
import type { Message } from "../document/message.ts";
import type { RuntimeValue } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

const DENOMINATORS: Readonly<Record<string, number>> = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };

/** Keys with dots to values; later layers win. */
export function buildRuntime(context: BuildContext, bootstrap: Message): Readonly<Record<string, RuntimeValue>> {
  const values = new Map<string, RuntimeValue>();
  let adminLayers = 0;
  for (const layer of bootstrap.message("layered_runtime")?.messages("layers") ?? []) {
    const kind = layer.which("layer_specifier");
    if (kind === "static_layer") flatten(values, "", layer.message(kind)?.json);
    else if (kind === "admin_layer") adminLayers += 1;
    else if (kind !== undefined) context.unsupported(layer, kind, `runtime layers of the kind ${kind}`);
    if (adminLayers > 1 && kind === "admin_layer")
      context.error(layer, kind, "runtime", "there may be only one admin layer");
  }
  return Object.fromEntries(values);
}

function flatten(values: Map<string, RuntimeValue>, key: string, value: unknown): void {
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") values.set(key, value);
  if (typeof value !== "object" || value === null) return;
  const { numerator, denominator = "HUNDRED" } = value as { numerator?: unknown; denominator?: unknown };
  if (typeof numerator === "number" && typeof denominator === "string") {
    values.set(key, { numerator, denominator: DENOMINATORS[denominator] ?? 100 });
    return;
  }
  for (const [name, member] of Object.entries(value)) flatten(values, key === "" ? name : `${key}.${name}`, member);
}
