/** A request to load a module, and what the configuration adds to it. */
import type { Evidence } from "../artifact/trust-policy.ts";
import type { HotLoadConfig, RollbackBounds, RolloutConfig } from "../config/hot-load-snapshot.ts";
import type { PluginConfig, RemoteCode } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { Routing } from "../wasm/routing.ts";

/** Which plugins a module is for: those of a name, those whose configuration names this file or this reference, or those that wait for this code. */
export type Target =
  | { readonly name: string }
  | { readonly path: string }
  | { readonly reference: string }
  | { readonly missing: RemoteCode };

/** True for a plugin whose configuration names this file or reference. */
export function isConfiguredWith(
  target: Extract<Target, { readonly path: string } | { readonly reference: string }>,
  { code }: PluginConfig,
): boolean {
  return "path" in target
    ? code.kind === "file" && code.path === target.path
    : code.kind === "remote" && code.uri === target.reference;
}

export interface LoadRequest {
  readonly bytes: Uint8Array;
  /** For people: a file, or who sent it. */
  readonly source: string;
  /** What speaks for a module from a registry. */
  readonly evidence?: Evidence | undefined;
  /** "configured": as the configuration's rollout says. */
  readonly how: Routing | "configured" | "at once";
  /** Default: yes. */
  readonly rehearse: boolean;
  /** False: too many failures do not take it back. */
  readonly watched: boolean;
}

/** What happens to a version once it is built. */
export interface Plan {
  /** undefined: it serves all streams. */
  readonly routing: Routing | undefined;
  /** undefined: nothing takes it back by itself. */
  readonly bounds: RollbackBounds | undefined;
  readonly rehearse: boolean;
}

/** For these plugins, which are replaced together. Throws ProxyError PLUGIN_PARAMETER for a header where nobody sees one. */
export function planOf(
  { rollouts, bounds }: HotLoadConfig,
  plugins: readonly PluginConfig[],
  request: LoadRequest,
): Plan {
  const { how } = request;
  const { name } = plugins[0]!;
  if (typeof how === "object" && how.kind === "share" && how.header !== undefined && plugins.every(isNetwork))
    throw new ProxyError(
      "PLUGIN_PARAMETER",
      "config",
      `header: ${name} is a network filter, and connections have no headers; give percent alone`,
    );
  const rollout = Object.hasOwn(rollouts, name) ? rollouts[name] : rollouts[""];
  const configured = rollout === undefined ? undefined : routingOf(rollout);
  const routing = typeof how === "object" ? how : how === "configured" ? configured : undefined;
  return { routing, bounds: request.watched ? bounds : undefined, rehearse: request.rehearse };
}

function isNetwork({ network }: PluginConfig): boolean {
  return network === true;
}

function routingOf({ shadow, percent, header, headerValue, headerPercent, sticky }: RolloutConfig): Routing {
  if (shadow) return { kind: "shadow", percent };
  const value = headerValue === "" ? undefined : headerValue;
  const choice = header === "" ? undefined : { name: header, value, percent: headerPercent };
  return { kind: "share", percent, header: choice, sticky };
}
