/**
 * envoy.filters.listener.original_dst: where a redirected connection wanted to go becomes its local address.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/original_dst_filter
 */
import type { Socket } from "node:net";
import { Verdict } from "./listener-filter.ts";
import type { ListenerFilter, SocketFacts } from "./listener-filter.ts";
import { descriptorOf, originalDestination } from "./native-sockets.ts";

export const originalDst: ListenerFilter = {
  maxReadBytes: 0,

  onAccept(facts: SocketFacts, socket: Socket): Verdict {
    if (facts.pipe) return Verdict.CONTINUE;
    // A dual-stack socket shows IPv4 peers as IPv6, and is asked as what the connection is.
    const found = originalDestination(descriptorOf(socket), facts.directLocalIp.includes(":") ? 6 : 4);
    if (found !== undefined) facts.restoreDestination(found);
    return Verdict.CONTINUE;
  },

  onData: () => Verdict.CONTINUE,
};

/** The same on a transparent listener (TPROXY): where nothing was redirected, the local address is where downstream wanted to go. */
export const transparentDst: ListenerFilter = {
  maxReadBytes: 0,

  onAccept(facts: SocketFacts, socket: Socket): Verdict {
    originalDst.onAccept(facts, socket);
    if (!facts.pipe) facts.localRestored = true;
    return Verdict.CONTINUE;
  },

  onData: () => Verdict.CONTINUE,
};
