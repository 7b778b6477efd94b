/** A stream with everything known, for tests of formats, filters and routes. */
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { ClusterConfig, RouteConfigEntry } from "../../runtime/config/snapshot.ts";
import { plainConnection } from "../../runtime/observe/plain-connection.ts";
import { StreamInfo } from "../../runtime/observe/stream-info.ts";
import type { ConnectionInfo } from "../../runtime/observe/stream-info.ts";

/** Headers from `name: value` pairs. */
export function headersOf(fields: Record<string, string | readonly string[]>): HeaderMap {
  const headers = new HeaderMap();
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) headers.add(name, value);
  }
  return headers;
}

/** What is known of a plain connection from `peer` to `local`, both `ip:port`. */
export function connectionSample(peer: string, local: string, more: Partial<ConnectionInfo> = {}): ConnectionInfo {
  const given = { id: 7, listenerName: "main", direction: 1, filterChainName: "chain", startTimeMs: 1_700_000_000_000 };
  return plainConnection(peer, local, { ...given, ...more });
}

/** A stream of which only the beginning is known. */
export function freshStream(): StreamInfo {
  return new StreamInfo(
    connectionSample("[2001:db8::5]:4444", "10.1.2.3:10000", {
      listenerName: "ingress",
      serverName: "sni.example",
      startTimeMs: 1_460_751_420_000,
    }),
    Date.UTC(2016, 3, 15, 20, 17, 0, 310),
    1000,
  );
}

/** A finished POST /api/v1?x=1&y=%2F. */
export function finishedStream(): StreamInfo {
  const info = freshStream();
  info.requestCompleteMs = 1010.4;
  info.upstreamFirstByteMs = 1020.9;
  info.upstreamLastByteMs = 1030;
  info.responseFirstByteMs = 1021;
  info.completeMs = 1042.7;
  info.responseCode = 503;
  info.responseCodeDetails = "upstream_reset_before_response_started{connection termination}";
  info.setFlag(6);
  info.setFlag(9);
  info.bytesReceived = 11;
  info.bytesSent = 22;
  info.upstreamHost = "192.0.2.9:8080";
  info.upstreamLocalAddress = "10.1.2.3:5555";
  info.upstreamTransportFailure = "delayed connect error: 111";
  info.upstreamAttempts = 2;
  info.remoteAddress = "203.0.113.77:0";
  info.remoteIp = "203.0.113.77";
  info.cluster = {
    name: "outbound|80||svc",
    statName: "outbound|80||svc",
    protocol: "HTTP2",
    metadata: { "com.x": { tier: "gold", weights: [1, 2] } },
  } as unknown as ClusterConfig;
  info.route = { name: "main-route", metadata: { ns: { k: "from route" } } } as unknown as RouteConfigEntry;
  info.requestHeaders = headersOf({
    ":method": "POST",
    ":path": "/api/v1?x=1&y=%2F",
    ":authority": "www.example.com",
    ":scheme": "http",
    "x-request-id": "id-1",
    "user-agent": "curl/8",
    "x-forwarded-for": "203.0.113.77",
    "x-twice": ["a", "b"],
    "x-empty": "",
    "content-type": "application/grpc+proto",
  });
  info.responseHeaders = headersOf({ ":status": "503", "x-envoy-upstream-service-time": "10", server: "sluice" });
  info.responseTrailers = headersOf({ "grpc-status": "14", "x-t": "v" });
  info.dynamicMetadata = new Map<string, Record<string, unknown>>([
    ["com.filter", { user: "jo", level: 3, admin: true, nested: { list: [1, "two"] }, nothing: null }],
  ]);
  info.filterState = new Map([["wasm.key", Uint8Array.from([0x61, 0x62, 0x0a])]]);
  return info;
}
