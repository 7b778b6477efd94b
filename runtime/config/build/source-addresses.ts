/** envoy.config.core.v3.BindConfig of a cluster: the local addresses of its connections. */
import { ipFamily } from "../../observe/ip-family.ts";
import type { SourceAddresses } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** Nothing when the system is to choose. Ports are the system's: a fixed one would serve one connection at a time. */
export function buildSources(
  context: BuildContext,
  bind: Message | undefined,
): { readonly sources?: SourceAddresses | undefined } {
  const first = bind?.message("source_address");
  if (bind === undefined) return {};
  const extra = bind.messages("extra_source_addresses").map((one) => one.message("address"));
  const others = [...extra, ...bind.messages("additional_source_addresses")];
  if (first === undefined) {
    if (others.length > 0)
      context.error(bind, "source_address", "ip-address", "other source addresses need source_address beside them");
    return {};
  }
  const addresses: string[] = [];
  for (const socket of [first, ...others]) {
    if (socket === undefined) continue;
    const address = socket.text("address");
    if (ipFamily(address) === 0) context.error(socket, "address", "ip-address", `malformed IP address: ${address}`);
    if (socket.number("port_value") !== 0)
      context.unsupported(socket, "port_value", "ports of source addresses; with 0 the system chooses one");
    addresses.push(address);
  }
  const [source, ...more] = addresses;
  return source === undefined ? {} : { sources: [source, ...more] };
}
