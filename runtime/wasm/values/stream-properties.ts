/** Properties of a stream: request, response, connection, source, destination, upstream. */
import type { HeaderMap } from "../../codec/headers.ts";
import type { StreamView } from "../../http/filter.ts";
import type { SecureFacts } from "../../observe/stream-info.ts";
import { encodePairs } from "./pairs.ts";
import { booleanValue, integerValue, textValue, timeValue } from "./property-value.ts";
import type { PropertyValue } from "./property-value.ts";

/** What a call asks: fields, bodies, names. */
export type Question = readonly (HeaderMap | Uint8Array | string | null)[];

/** Hears of what a guest does beside its stream. */
export interface ActNotes {
  /** Metadata, or filter state. */
  wrote(name: string, value: Uint8Array): void;
  called(cluster: string, question: Question): void;
}

/** What properties are read from: an HTTP stream, or a connection, which has no headers. */
export interface StreamFacts extends Pick<
  StreamView,
  "info" | "requestHeaders" | "responseHeaders" | "responseTrailers" | "resolveRoute"
> {
  /** There are some only where two versions are compared. */
  readonly acts?: ActNotes;
}

/** `rest` holds the path's further segments. */
export type PropertyReader = (view: StreamFacts, rest: readonly string[]) => PropertyValue;

/** Readers by the first two segments. */
export const STREAM_PROPERTIES: Readonly<Record<string, Readonly<Record<string, PropertyReader>>>> = {
  request: {
    path: (view) => view.requestHeaders?.get(":path"),
    url_path: (view) => view.requestHeaders?.get(":path")?.split("?", 1)[0],
    query: (view) => queryOf(view.requestHeaders?.get(":path")),
    host: (view) => view.requestHeaders?.get(":authority"),
    scheme: (view) => view.requestHeaders?.get(":scheme"),
    method: (view) => view.requestHeaders?.get(":method"),
    headers: (view, rest) => headersValue(view.requestHeaders, rest),
    headers_bytes: (view) => integerValue(view.requestHeaders?.byteSize() ?? 0),
    referer: (view) => view.requestHeaders?.get("referer"),
    useragent: (view) => view.requestHeaders?.get("user-agent"),
    time: (view) => timeValue(view.info.startTimeMs),
    id: (view) => view.requestHeaders?.get("x-request-id"),
    protocol: (view) => view.info.protocol || undefined,
    duration: (view) => elapsed(view.info.completeMs),
    size: (view) => integerValue(Number(view.requestHeaders?.get("content-length") ?? view.info.bytesReceived)),
    total_size: (view) => integerValue(view.info.bytesReceived + (view.requestHeaders?.byteSize() ?? 0)),
  },
  response: {
    code: (view) => (view.info.responseCode === 0 ? undefined : integerValue(view.info.responseCode)),
    code_details: (view) =>
      view.info.responseCodeDetails === "" ? undefined : textValue(view.info.responseCodeDetails),
    flags: (view) => integerValue(view.info.flags >>> 0),
    grpc_status: grpcStatus,
    headers: (view, rest) => headersValue(view.responseHeaders, rest),
    headers_bytes: (view) => integerValue(view.responseHeaders?.byteSize() ?? 0),
    trailers: (view, rest) => headersValue(view.responseTrailers, rest),
    size: (view) => integerValue(view.info.bytesSent),
    total_size: totalResponseSize,
    backend_latency: ({ info }) =>
      info.upstreamLastByteMs < 0 || info.requestCompleteMs < 0
        ? undefined
        : timeValue(Math.max(0, info.upstreamLastByteMs - info.requestCompleteMs)),
  },
  connection: {
    id: (view) => integerValue(view.info.connection.id),
    mtls: (view) => booleanValue((view.info.connection.secure?.peer ?? null) !== null),
    requested_server_name: (view) => view.info.connection.serverName,
    ...secureProperties((view) => view.info.connection.secure),
    transport_failure_reason: (view) => view.info.downstreamTransportFailure || undefined,
    termination_details: (view) => view.info.connectionTerminationDetails || undefined,
  },
  source: {
    address: (view) => view.info.remoteAddress || view.info.connection.remoteAddress,
    port: (view) => portOf(view.info.remoteAddress || view.info.connection.remoteAddress),
  },
  destination: {
    address: (view) => view.info.connection.localAddress,
    port: (view) => portOf(view.info.connection.localAddress),
  },
  upstream: {
    address: (view) => view.info.upstreamHost || undefined,
    port: (view) => (view.info.upstreamHost === "" ? undefined : portOf(view.info.upstreamHost)),
    local_address: (view) => view.info.upstreamLocalAddress || undefined,
    ...secureProperties((view) => view.info.upstreamSecure),
    transport_failure_reason: (view) => view.info.upstreamTransportFailure || undefined,
    request_attempt_count: (view) =>
      view.info.upstreamAttempts === 0 ? undefined : integerValue(view.info.upstreamAttempts),
    num_endpoints: (view) =>
      view.info.cluster === null ? undefined : integerValue(view.info.cluster.endpoints.length),
  },
};

/** What TLS of one side says: texts, absent where there is none. Of alternative names it is the first, as in Envoy. */
function secureProperties(
  of: (view: StreamFacts) => SecureFacts | null | undefined,
): Readonly<Record<string, PropertyReader>> {
  const text =
    (read: (facts: SecureFacts) => string | undefined): PropertyReader =>
    (view) => {
      const facts = of(view);
      const value = facts === null || facts === undefined ? undefined : read(facts);
      return value === undefined || value === "" ? undefined : textValue(value);
    };
  return {
    tls_version: text(({ version }) => version),
    subject_local_certificate: text(({ local }) => local?.subject),
    subject_peer_certificate: text(({ peer }) => peer?.subject),
    dns_san_local_certificate: text(({ local }) => local?.namesOf("DNS")[0]),
    dns_san_peer_certificate: text(({ peer }) => peer?.namesOf("DNS")[0]),
    uri_san_local_certificate: text(({ local }) => local?.namesOf("URI")[0]),
    uri_san_peer_certificate: text(({ peer }) => peer?.namesOf("URI")[0]),
    sha256_peer_certificate_digest: text(({ peer }) => peer?.sha256),
    peer_certificate: text(({ peer }) => (peer === null ? undefined : encodeURIComponent(peer.pem))),
  };
}

function headersValue(map: HeaderMap | null, rest: readonly string[]): PropertyValue {
  if (map === null || rest.length > 1) return undefined;
  return rest.length === 0 ? encodePairs(map.list) : map.joined(rest[0]!.toLowerCase());
}

function queryOf(path: string | undefined): PropertyValue {
  if (path === undefined) return undefined;
  const at = path.indexOf("?");
  if (at < 0) return "";
  const end = path.indexOf("#", at);
  return path.slice(at + 1, end < 0 ? undefined : end);
}

function portOf(address: string): PropertyValue {
  const port = /:(\d{1,5})$/.exec(address)?.[1];
  return port === undefined ? undefined : integerValue(Number(port));
}

function elapsed(milliseconds: number): PropertyValue {
  return milliseconds < 0 ? undefined : timeValue(milliseconds);
}

function grpcStatus(view: StreamFacts): PropertyValue {
  const text = view.responseTrailers?.get("grpc-status") ?? view.responseHeaders?.get("grpc-status");
  return text === undefined || !/^\d{1,9}$/.test(text) ? undefined : integerValue(Number(text));
}

function totalResponseSize(view: StreamFacts): PropertyValue {
  return integerValue(
    view.info.bytesSent + (view.responseHeaders?.byteSize() ?? 0) + (view.responseTrailers?.byteSize() ?? 0),
  );
}
