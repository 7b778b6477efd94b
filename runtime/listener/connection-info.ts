/** The facts of an accepted socket in the form that the connection keeps. */
import type { ListenerConfig } from "../config/snapshot.ts";
import type { ConnectionInfo, SecureFacts } from "../observe/stream-info.ts";
import { addressText, ipPort } from "../observe/address-text.ts";
import type { SocketFacts } from "./listener-filter.ts";

let nextConnectionId = 1;

/** Addresses of a unix socket are all its path. `secure`: what its TLS says; absent: it is plain, or has none yet. */
export function connectionInfo(
  facts: SocketFacts,
  config: ListenerConfig,
  filterChainName: string,
  secure?: SecureFacts,
): ConnectionInfo {
  const { pipe, directRemoteIp, remoteIp } = facts;
  const path = pipe ? addressText(config.address) : "";
  const directRemoteAddress = pipe ? path : ipPort(directRemoteIp, facts.directRemotePort);
  const directLocalAddress = pipe ? path : ipPort(facts.directLocalIp, facts.directLocalPort);
  const moved = remoteIp !== directRemoteIp || facts.remotePort !== facts.directRemotePort;
  return {
    id: nextConnectionId++,
    listenerName: config.name,
    direction: config.trafficDirection,
    filterChainName,
    directRemoteAddress,
    directRemoteIp,
    remoteAddress: moved ? ipPort(remoteIp, facts.remotePort) : directRemoteAddress,
    remoteIp,
    directLocalAddress,
    localAddress: facts.localRestored ? ipPort(facts.localIp, facts.localPort) : directLocalAddress,
    localAddressRestored: facts.localRestored,
    transportProtocol: facts.transportProtocol,
    applicationProtocols: facts.applicationProtocols,
    ja3: facts.ja3,
    ja4: facts.ja4,
    metadata: facts.metadata,
    ...(facts.proxyFields === null ? {} : { proxyFields: facts.proxyFields }),
    serverName: facts.serverName || (secure?.serverName.toLowerCase() ?? ""),
    tls: secure !== undefined,
    secure,
    startTimeMs: Date.now(),
  };
}
