/** envoy.config.core.v3.Address. */
import type { Message } from "../document/message.ts";
import type { Address } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { ipFamily } from "../../observe/ip-family.ts";

const UDP = 1;

/** An address; `literal` asks for an IP address instead of a name. Undefined when it is not there or not usable. */
export function buildAddress(
  context: BuildContext,
  owner: Message,
  options: { field: string; literal: boolean },
): Address | undefined {
  const address = owner.message(options.field);
  const socket = address?.message("socket_address");
  const pipe = address?.message("pipe");
  if (pipe !== undefined) return { kind: "pipe", path: pipe.text("path"), mode: pipe.number("mode") };
  if (address?.has("envoy_internal_address") === true)
    context.unsupported(address, "envoy_internal_address", "internal addresses");
  if (socket === undefined) return undefined;
  const host = socket.text("address");
  if (socket.number("protocol") === UDP) context.unsupported(socket, "protocol", "UDP");
  if (socket.has("named_port")) context.unsupported(socket, "named_port", "named ports; give port_value");
  if (options.literal && host !== "" && ipFamily(host) === 0) {
    context.error(
      socket,
      "address",
      "ip-address",
      `malformed IP address: ${host}; a name needs a cluster of the type STRICT_DNS or LOGICAL_DNS`,
    );
  }
  return { kind: "ip", host, port: socket.number("port_value"), ipv4Compat: socket.flag("ipv4_compat") };
}

/** `prefix/length` of a list of CidrRange. An unset `prefix_len` is 0, which is everything. */
export function buildCidrs(context: BuildContext, owner: Message, field: string): string[] {
  return owner.messages(field).map((range) => buildCidr(context, range));
}

/** One CidrRange as `address/bits`. */
export function buildCidr(context: BuildContext, range: Message): string {
  const prefix = range.text("address_prefix");
  const length = range.wrappedNumber("prefix_len", 0);
  const family = ipFamily(prefix);
  if (family === 0 && prefix !== "")
    context.error(range, "address_prefix", "ip-address", `malformed IP address: ${prefix}`);
  if (family === 4 && length > 32)
    context.error(range, "prefix_len", "ip-address", "an IPv4 prefix has at most 32 bits");
  return `${prefix}/${length}`;
}
