/** The fields of envoy.config.listener.v3.Listener that are about its sockets. */
import type { Message } from "../document/message.ts";
import type { SocketOptionConfig, SocketSettings } from "../listener-snapshot.ts";
import type { BuildContext } from "./context.ts";

const STATES = ["PREBIND", "BOUND", "LISTENING"] as const;
const INT_MAX = 2_147_483_647;

/** How the sockets of a listener are made. */
export function buildSocketSettings(context: BuildContext, listener: Message): SocketSettings {
  const own = options(context, listener);
  const additional = listener.messages("additional_addresses").map((address) => {
    const override = address.message("socket_options");
    return override === undefined ? own : options(context, override);
  });
  return {
    transparent: flag(listener, "transparent"),
    freebind: flag(listener, "freebind"),
    tcpFastOpenQueueLength: listener.has("tcp_fast_open_queue_length")
      ? listener.wrappedNumber("tcp_fast_open_queue_length", 0)
      : undefined,
    options: [own, ...additional],
  };
}

function flag(listener: Message, field: string): boolean | undefined {
  return listener.has(field) ? listener.wrappedFlag(field, false) : undefined;
}

function options(context: BuildContext, owner: Message): SocketOptionConfig[] {
  return owner.messages("socket_options").map((option) => {
    for (const field of ["level", "name", "int_value"]) {
      if (Math.abs(option.number(field)) > INT_MAX)
        context.error(option, field, "socket-option", "must fit into a C int of 32 bits");
    }
    return {
      level: option.number("level"),
      name: option.number("name"),
      value: option.bytes("buf_value") ?? option.number("int_value"),
      state: STATES[option.number("state")] ?? "PREBIND",
    };
  });
}
