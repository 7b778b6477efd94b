/** Requests for another protocol (RFC 9110 section 7.8) that a connection manager, or a route, lets through. */
import type { Message } from "../document/message.ts";
import type { ForwardAction, UpgradeConfig } from "../snapshot.ts";
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
    else if (types.has(type))
      context.error(upgrade, "upgrade_type", "upgrade", `${upgrade.text("upgrade_type")} is configured twice`);
    types.add(type);
    if (upgrade.has("connect_config") && type !== "connect")
      context.error(
        upgrade,
        "connect_config",
        "upgrade",
        `Non-CONNECT upgrade type ${upgrade.text("upgrade_type")} has ConnectConfig`,
      );
    return { type, enabled: upgrade.wrappedFlag("enabled", true) };
  });
}

/** `connect_config` of a route that lets CONNECT through; nothing without one. */
export function buildConnect(action: Message): Pick<ForwardAction, "connect"> {
  const config = action
    .messages("upgrade_configs")
    .find((upgrade) => upgrade.text("upgrade_type").toLowerCase() === "connect" && upgrade.wrappedFlag("enabled", true))
    ?.message("connect_config");
  return config === undefined ? {} : { connect: { allowPost: config.flag("allow_post") } };
}
