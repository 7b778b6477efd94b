/** Requests for another protocol (RFC 9110 section 7.8) that a connection manager, or a route, lets through. */
import type { Message } from "../document/message.ts";
import type { UpgradeConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

/** `upgrade_configs` of HttpConnectionManager, or of RouteAction. */
export function buildUpgrades(context: BuildContext, owner: Message): readonly UpgradeConfig[] {
  const types = new Set<string>();
  return owner.messages("upgrade_configs").map((upgrade) => {
    const type = upgrade.text("upgrade_type").toLowerCase();
    if (type === "")
      context.error(upgrade, "upgrade_type", "upgrade", "upgrade_type must name a protocol, as websocket");
    // What a message with a body asks for is dropped by the parser, as in Envoy.
    else if (type === "h2c") context.error(upgrade, "upgrade_type", "upgrade", "h2c is no upgrade that goes upstream");
    else if (type === "connect") context.unsupported(upgrade, "upgrade_type", "CONNECT");
    else if (types.has(type))
      context.error(upgrade, "upgrade_type", "upgrade", `${upgrade.text("upgrade_type")} is configured twice`);
    types.add(type);
    return { type, enabled: upgrade.wrappedFlag("enabled", true) };
  });
}
