import type { ConnectionInfo } from "./stream-info.ts";

/** What is known of a connection of plain bytes from `peer` to `local`, both `ip:port`; `more` tells the rest. */
export function plainConnection(
  peer: string,
  local: string,
  more: Pick<ConnectionInfo, "id" | "listenerName"> & Partial<ConnectionInfo>,
): ConnectionInfo {
  const ip = peer.slice(0, peer.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
  return {
    direction: 0,
    filterChainName: "",
    directRemoteAddress: peer,
    directRemoteIp: ip,
    remoteAddress: peer,
    remoteIp: ip,
    directLocalAddress: local,
    localAddress: local,
    localAddressRestored: false,
    transportProtocol: "raw_buffer",
    applicationProtocols: [],
    ja3: "",
    ja4: "",
    metadata: null,
    serverName: "",
    tls: false,
    startTimeMs: Date.now(),
    ...more,
  };
}
