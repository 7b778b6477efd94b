/** The commands of format strings: each turns its argument into a function that reads one value off a stream. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { HeaderMap } from "../codec/headers.ts";
import { ProxyError, RESPONSE_FLAG_LONG_NAMES, ResponseFlag } from "../errors.ts";
import { grpcStatusOf, grpcStatusText } from "./grpc-status-text.ts";
import { maskIp } from "./ip-mask.ts";
import { queryParameter } from "./query.ts";
import { takesArgument, TLS_COMMANDS } from "./format-tls.ts";
import type { StreamInfo } from "./stream-info.ts";
import { compileTime, isoTime } from "./time-format.ts";
import { wireText } from "./wire-text.ts";

/** Byte strings, numbers and booleans as they are, JSON objects; undefined when absent. */
export type FormatValue = string | number | boolean | object | undefined;
export type Extract = (info: StreamInfo) => FormatValue;
/** Escapes a value that a peer or a guest chose. */
type Clean = (text: string) => string;
type Command = (argument: string | undefined, clean: Clean) => Extract;

/** Finds a command by name. Throws ProxyError `FORMAT_INVALID` for an unknown one or a bad argument. */
export function commandFor(name: string, argument: string | undefined, clean: Clean): Extract {
  const plain = PLAIN[name];
  if (plain !== undefined) {
    if (argument !== undefined) fail(`%${name}% takes no argument`);
    return plain;
  }
  const command = COMMANDS[name];
  if (command !== undefined) return command(argument, clean);
  const tls = TLS_COMMANDS.get(name);
  if (tls !== undefined) {
    if (argument !== undefined && !takesArgument(name)) fail(`%${name}% takes no argument`);
    return tls(argument, clean);
  }
  if (NOT_AVAILABLE.test(name)) return () => undefined;
  return fail(`unknown command %${name}%`);
}

function fail(message: string): never {
  throw new ProxyError("FORMAT_INVALID", "config", message);
}

const some = (text: string): string | undefined => (text === "" ? undefined : text);
const elapsed = (from: number, to: number): number | undefined =>
  from < 0 || to < 0 ? undefined : Math.max(0, Math.floor(to - from));

const FLAG_NAMES = Object.entries(ResponseFlag);
function flags(info: StreamInfo, long: boolean): string | undefined {
  if (info.flags === 0) return undefined;
  const found = FLAG_NAMES.filter(([, bit]) => info.hasFlag(bit));
  return found.map(([name, bit]) => (long ? RESPONSE_FLAG_LONG_NAMES[bit]! : name)).join(",");
}

function clusterName(info: StreamInfo): string | undefined {
  if (info.cluster === null) return undefined;
  const { name, statName } = info.cluster;
  return some(wireText(statName === name.replaceAll(":", "_") ? name : statName));
}

const remoteAddress = (info: StreamInfo): string => info.remoteAddress || info.connection.remoteAddress;
const UPSTREAM_PROTOCOLS = { HTTP1: "HTTP/1.1", HTTP2: "HTTP/2" } as const;

/** Commands without an argument. */
const PLAIN: Readonly<Record<string, Extract>> = {
  DURATION: (info) => elapsed(info.startMs, info.completeMs),
  REQUEST_DURATION: (info) => elapsed(info.startMs, info.requestCompleteMs),
  RESPONSE_DURATION: (info) => elapsed(info.startMs, info.upstreamFirstByteMs),
  RESPONSE_TX_DURATION: (info) => elapsed(info.upstreamFirstByteMs, info.completeMs),
  BYTES_RECEIVED: (info) => info.bytesReceived,
  BYTES_SENT: (info) => info.bytesSent,
  REQUEST_HEADERS_BYTES: (info) => info.requestHeaders?.byteSize() ?? 0,
  RESPONSE_HEADERS_BYTES: (info) => info.responseHeaders?.byteSize() ?? 0,
  RESPONSE_TRAILERS_BYTES: (info) => info.responseTrailers?.byteSize() ?? 0,
  PROTOCOL: (info) => some(info.protocol),
  UPSTREAM_PROTOCOL: (info) =>
    info.cluster === null || info.upstreamHost === "" || info.protocol === ""
      ? undefined
      : UPSTREAM_PROTOCOLS[info.cluster.protocol],
  RESPONSE_CODE: (info) => info.responseCode,
  RESPONSE_FLAGS: (info) => flags(info, false),
  RESPONSE_FLAGS_LONG: (info) => flags(info, true),
  GRPC_STATUS_NUMBER: grpcStatusOf,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (info) => info.upstreamAttempts,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (info) => some(info.upstreamTransportFailure.replaceAll(" ", "_")),
  CONNECTION_TERMINATION_DETAILS: (info) => some(info.connectionTerminationDetails.replace(/\s/g, "_")),
  DOWNSTREAM_LOCAL_CLOSE_REASON: (info) => some(info.localCloseReason.replace(/\s/g, "_")),
  UPSTREAM_CLUSTER: clusterName,
  UPSTREAM_CLUSTER_RAW: (info) => (info.cluster === null ? undefined : some(wireText(info.cluster.name))),
  UPSTREAM_HOST: (info) => some(info.upstreamHost),
  UPSTREAM_HOST_NAME: (info) => some(info.upstreamHost),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: (info) => withoutPort(info.upstreamHost),
  ROUTE_NAME: (info) => (info.route === null ? undefined : some(wireText(info.route.name))),
  FILTER_CHAIN_NAME: (info) => some(wireText(info.connection.filterChainName)),
  CONNECTION_ID: (info) => info.connection.id,
  STREAM_ID: (info) => info.requestHeaders?.get("x-request-id"),
  UNIQUE_ID: () => randomUUID(),
  REQUESTED_SERVER_NAME: (info) => some(info.connection.serverName),
  ACCESS_LOG_TYPE: (info) => info.recordType,
  HOSTNAME: () => some(wireText(hostname())),
};

/** Commands that read the argument when the format is compiled. */
const COMMANDS: Readonly<Record<string, Command>> = {
  START_TIME: time((info) => info.startTimeMs, false),
  START_TIME_LOCAL: time((info) => info.startTimeMs, true),
  EMIT_TIME: time(() => Date.now(), false),
  EMIT_TIME_LOCAL: time(() => Date.now(), true),
  COMMON_DURATION: commonDuration,
  REQUEST_HEADER: header((info) => info.requestHeaders),
  REQ: header((info) => info.requestHeaders),
  RESPONSE_HEADER: header((info) => info.responseHeaders),
  RESP: header((info) => info.responseHeaders),
  RESPONSE_TRAILER: header((info) => info.responseTrailers),
  TRAILER: header((info) => info.responseTrailers),
  RESPONSE_CODE_DETAILS: (argument) => {
    if (argument !== undefined && argument !== "ALLOW_WHITESPACES") {
      fail(`%RESPONSE_CODE_DETAILS% takes ALLOW_WHITESPACES, not "${argument}"`);
    }
    return argument === undefined
      ? (info) => some(info.responseCodeDetails.replace(/\s/g, "_"))
      : (info) => some(info.responseCodeDetails);
  },
  GRPC_STATUS: (argument = "CAMEL_STRING") => {
    if (argument !== "CAMEL_STRING" && argument !== "SNAKE_STRING" && argument !== "NUMBER") {
      fail(`%GRPC_STATUS% takes CAMEL_STRING, SNAKE_STRING or NUMBER, not "${argument}"`);
    }
    if (argument === "NUMBER") return grpcStatusOf;
    return (info) => {
      const status = grpcStatusOf(info);
      return status === undefined ? undefined : grpcStatusText(status, argument === "SNAKE_STRING");
    };
  },
  ...address("UPSTREAM_LOCAL_ADDRESS", (info) => info.upstreamLocalAddress),
  ...address("UPSTREAM_REMOTE_ADDRESS", (info) => info.upstreamHost),
  ...address("DOWNSTREAM_REMOTE_ADDRESS", remoteAddress),
  ...address("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", (info) => info.connection.directRemoteAddress),
  ...address("DOWNSTREAM_LOCAL_ADDRESS", (info) => info.connection.localAddress),
  ...address("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", (info) => info.connection.directLocalAddress),
  PATH: path,
  QUERY_PARAM: (argument, clean) => {
    const name = wireText(required("QUERY_PARAM", argument));
    return (info) => cleaned(queryParameter(info.requestHeaders?.get(":path") ?? "", name), clean);
  },
  DYNAMIC_METADATA: (argument, clean) => metadata(required("DYNAMIC_METADATA", argument), dynamicMetadata, clean),
  CLUSTER_METADATA: (argument, clean) => metadata(required("CLUSTER_METADATA", argument), clusterMetadata, clean),
  METADATA: (argument, clean) => {
    const [, kind = "", rest = ""] = /^([A-Z_]+):(.*)$/.exec(required("METADATA", argument)) ?? [];
    const source = METADATA_SOURCES[kind];
    if (source === undefined) fail(`%METADATA% takes TYPE:NAMESPACE:KEY, not "${argument}"`);
    return metadata(rest, source, clean);
  },
  FILTER_STATE: filterState,
  ENVIRONMENT: (argument) => {
    const value = process.env[required("ENVIRONMENT", argument)];
    const text = value === undefined ? undefined : some(wireText(value));
    return () => text;
  },
};

/** What format strings may ask for, and get. */
export const COMMAND_NAMES: readonly string[] = [
  ...Object.keys(PLAIN),
  ...Object.keys(COMMANDS),
  ...TLS_COMMANDS.keys(),
];

/** Envoy's commands about things that this host does not know (yet): they render as absent. */
const NOT_AVAILABLE = new RegExp(
  "^(?:REQUEST_TX_DURATION|ROUNDTRIP_DURATION|DOWNSTREAM_HANDSHAKE_DURATION|UPSTREAM_CONNECTION_POOL_READY_DURATION|" +
    "(?:UPSTREAM|DOWNSTREAM)_(?:WIRE|HEADER|DECOMPRESSED_HEADER)_BYTES_(?:SENT|RECEIVED)|" +
    "BYTES_RETRANSMITTED|PACKETS_RETRANSMITTED|LOCAL_REPLY_BODY|" +
    "DOWNSTREAM_DETECTED_CLOSE_TYPE|" +
    "VIRTUAL_CLUSTER_NAME|(?:UPSTREAM|DOWNSTREAM)_(?:LOCAL|REMOTE)_ADDRESS_ENDPOINT_ID|UPSTREAM_CONNECTION_ID|" +
    "UPSTREAM_METADATA|UPSTREAM_FILTER_STATE|REQ_WITHOUT_QUERY|TRACE_ID|CUSTOM_FLAGS|" +
    "COALESCE|CEL|TYPED_CEL)$",
);

function required(name: string, argument: string | undefined): string {
  if (argument === undefined || argument === "") fail(`%${name}% needs an argument`);
  return argument;
}

function cleaned(value: string | undefined, clean: Clean): string | undefined {
  return value === undefined ? undefined : clean(value);
}

function time(read: (info: StreamInfo) => number, local: boolean): Command {
  return (argument) => {
    if (argument === undefined || argument === "") {
      if (!local) return (info) => isoTime(read(info));
      argument = "%Y-%m-%dT%H:%M:%S.%3f%z";
    }
    const print = compileTime(argument, local);
    return (info) => wireText(print(read(info)));
  };
}

const POINTS: Readonly<Record<string, ((info: StreamInfo) => number) | undefined>> = {
  DS_RX_BEG: (info) => info.startMs,
  DS_RX_END: (info) => info.requestCompleteMs,
  US_CX_BEG: () => -1,
  US_CX_END: () => -1,
  US_HS_END: () => -1,
  US_TX_BEG: () => -1,
  US_TX_END: () => -1,
  US_RX_BEG: (info) => info.upstreamFirstByteMs,
  US_RX_BODY_BEG: () => -1,
  US_RX_END: (info) => info.upstreamLastByteMs,
  DS_TX_BEG: (info) => info.responseFirstByteMs,
  DS_TX_END: (info) => info.completeMs,
};
const UNITS: Readonly<Record<string, number | undefined>> = { ms: 1, us: 1e3, ns: 1e6 };

function commonDuration(argument: string | undefined): Extract {
  const [start = "", end = "", unit = "", ...more] = required("COMMON_DURATION", argument).split(":");
  const from = POINTS[start];
  const to = POINTS[end];
  const scale = UNITS[unit];
  if (from === undefined || to === undefined || scale === undefined || more.length > 0) {
    fail(`%COMMON_DURATION% takes START:END:ms, us or ns, not "${argument}"`);
  }
  return (info) => {
    const [a, b] = [from(info), to(info)];
    return a < 0 || b < 0 || b < a ? undefined : Math.floor((b - a) * scale);
  };
}

function header(read: (info: StreamInfo) => HeaderMap | null): Command {
  return (argument, clean) => {
    const [first = "", second, ...more] = required("REQUEST_HEADER", argument).toLowerCase().split("?");
    if (first === "" || more.length > 0) fail(`a header command takes one name and one alternative, not "${argument}"`);
    return (info) => {
      const headers = read(info);
      if (headers === null) return undefined;
      let value = headers.get(first);
      if (value === undefined && second !== undefined) value = headers.get(second);
      return value === undefined ? undefined : clean(value);
    };
  };
}

function splitPort(text: string): [host: string, port: string] | undefined {
  const [, bracketed, bare, port = ""] = /^(?:\[(.*)\]|([^:]*)):([0-9]+)$/.exec(text) ?? [];
  const host = bracketed ?? bare;
  return host === undefined ? undefined : [host, port];
}

function withoutPort(text: string): string | undefined {
  return some(splitPort(text)?.[0] ?? text);
}

/** An address with its `_WITHOUT_PORT` (argument: bits of the network to print) and `_PORT` forms. */
function address(name: string, read: (info: StreamInfo) => string): Record<string, Command> {
  return {
    [name]: (argument) => {
      if (argument !== undefined) fail(`%${name}% takes no argument`);
      return (info) => some(read(info));
    },
    [`${name}_WITHOUT_PORT`]: (argument) => {
      if (argument === undefined) return (info) => withoutPort(read(info));
      const bits = Number(argument);
      if (!/^[0-9]+$/.test(argument) || bits > 128)
        fail(`%${name}_WITHOUT_PORT% takes a mask length, not "${argument}"`);
      return (info) => maskIp(withoutPort(read(info)) ?? "", Math.min(bits, 32), bits);
    },
    [`${name}_PORT`]: (argument) => {
      if (argument !== undefined) fail(`%${name}_PORT% takes no argument`);
      return (info) => {
        const parts = splitPort(read(info));
        return parts === undefined ? undefined : Number(parts[1]);
      };
    },
  };
}

function path(argument: string | undefined, clean: Clean): Extract {
  const [query = "WQ", which = "ORIG_OR_PATH", ...more] = (argument ?? "WQ").split(":");
  const known = which === "ORIG" || which === "PATH" || which === "ORIG_OR_PATH";
  if ((query !== "WQ" && query !== "NQ") || !known || more.length > 0) {
    fail(`%PATH% takes WQ or NQ, then ORIG, PATH or ORIG_OR_PATH, not "${argument}"`);
  }
  return (info) => {
    let value = which === "PATH" ? undefined : info.requestHeaders?.get("x-envoy-original-path");
    if (value === undefined && which !== "ORIG") value = info.requestHeaders?.get(":path");
    if (value !== undefined && query === "NQ") value = value.split("?", 1)[0];
    return cleaned(value, clean);
  };
}

type Metadata = (info: StreamInfo, namespace: string) => unknown;
const dynamicMetadata: Metadata = (info, namespace) => info.dynamicMetadata?.get(namespace);
const clusterMetadata: Metadata = (info, namespace) => info.cluster?.metadata[namespace];
const METADATA_SOURCES: Readonly<Record<string, Metadata | undefined>> = {
  DYNAMIC: dynamicMetadata,
  CLUSTER: clusterMetadata,
  ROUTE: (info, namespace) => info.route?.metadata[namespace],
  UPSTREAM_HOST: () => undefined,
  LISTENER: () => undefined,
  LISTENER_FILTER_CHAIN: () => undefined,
  VIRTUAL_HOST: () => undefined,
};

function metadata(argument: string, source: Metadata, clean: Clean): Extract {
  const [namespace = "", ...keys] = argument.split(":");
  return (info) => {
    let value = source(info, namespace);
    for (const key of keys) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
      value = (value as Record<string, unknown>)[key];
    }
    if (value === null) return undefined;
    return typeof value === "string" ? clean(wireText(value)) : value;
  };
}

function filterState(argument: string | undefined, clean: Clean): Extract {
  const [, key = "", mode = "TYPED"] =
    /^(.*?)(?::(PLAIN|TYPED|FIELD:.*))?$/.exec(required("FILTER_STATE", argument)) ?? [];
  if (key === "") fail("%FILTER_STATE% needs a key");
  return (info) => {
    const bytes = info.stateOf(key);
    if (bytes === undefined || mode.startsWith("FIELD")) return undefined;
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // What guests set is bytes without a message type: TYPED is the JSON form of a BytesValue.
    return mode === "PLAIN" ? clean(buffer.toString("latin1")) : JSON.stringify(buffer.toString("base64"));
  };
}
