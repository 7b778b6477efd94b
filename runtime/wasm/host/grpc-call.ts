/** gRPC calls and streams of guests: `proxy_grpc_call`, `proxy_grpc_stream`, send, cancel, close. */
import * as Status from "../../../abi/status.ts";
import { CALL_FUEL, GRPC_STREAM_MESSAGE_BYTES } from "../../limits.ts";
import { HeaderMap } from "../../codec/headers.ts";
import { grpcTarget } from "../values/grpc-target.ts";
import { fieldList } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { readPairs } from "./fields.ts";
import type { HostFunctions } from "./functions.ts";

/** Whom a call goes to and with what metadata. */
interface Target {
  readonly cluster: string;
  readonly service: string;
  readonly method: string;
  readonly metadata: HeaderMap;
}

/** `at` holds address and size of target, service, method and metadata, in turn. A number is a status. */
function readTarget(instance: Instance, call: string, at: readonly number[]): Target | number {
  const { memory } = instance;
  for (let n = 0; n < at.length; n += 2) {
    if (!memory.has(at[n]! >>> 0, at[n + 1]! >>> 0)) {
      return instance.outside(call, PARTS[n / 2]!);
    }
  }
  const [target, targetSize, service, serviceSize, method, methodSize, metadata, metadataSize] = at.map((n) => n >>> 0);
  const cluster = grpcTarget(memory.copy(target!, targetSize!));
  if (cluster === undefined) return instance.refuse(Status.PARSE_FAILURE, call, "target: names no cluster");
  const pairs = readPairs(instance, metadata!, metadataSize!);
  const fields = pairs === undefined ? undefined : fieldList(pairs);
  if (fields === undefined) return instance.refuse(Status.PARSE_FAILURE, call, "metadata: malformed pairs or fields");
  return {
    cluster,
    service: memory.utf8(service!, serviceSize!),
    method: memory.utf8(method!, methodSize!),
    metadata: new HeaderMap(fields),
  };
}

const PARTS = ["target", "service", "method", "metadata"] as const;
const UNKNOWN = "target: unknown cluster, or too many calls are open, or too large ones";

const TOO_LONG = `message: more than ${GRPC_STREAM_MESSAGE_BYTES} bytes`;

export function grpcCallFunctions(instance: Instance): HostFunctions {
  return { ...opening(instance), ...openStreams(instance) };
}

function opening(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_grpc_call(
      target: number,
      targetSize: number,
      service: number,
      serviceSize: number,
      method: number,
      methodSize: number,
      metadata: number,
      metadataSize: number,
      message: number,
      messageSize: number,
      timeoutMs: number,
      tokenAt: number,
    ): number {
      const name = "proxy_grpc_call";
      const to = [target, targetSize, service, serviceSize, method, methodSize, metadata, metadataSize];
      const read = readTarget(instance, name, to);
      if (typeof read === "number") return read;
      if (!memory.has(message >>> 0, messageSize >>> 0)) return instance.outside(name, "message");
      if (!memory.putU32(tokenAt >>> 0, 0)) return instance.outside(name, "token_p");
      const root = instance.effective.root;
      instance.spend(CALL_FUEL);
      memory.payForKept(messageSize >>> 0);
      const token =
        root === null
          ? 0
          : root.calls.grpc(read.cluster, {
              ...read,
              // The call keeps a copy of its own.
              message: memory.bytes.subarray(message >>> 0, (message >>> 0) + (messageSize >>> 0)),
              timeoutMs: Math.max(timeoutMs, 0),
            });
      if (token === 0) return instance.refuse(Status.PARSE_FAILURE, name, UNKNOWN);
      memory.putU32(tokenAt >>> 0, token);
      return Status.OK;
    },

    proxy_grpc_stream(
      target: number,
      targetSize: number,
      service: number,
      serviceSize: number,
      method: number,
      methodSize: number,
      metadata: number,
      metadataSize: number,
      tokenAt: number,
    ): number {
      const name = "proxy_grpc_stream";
      const to = [target, targetSize, service, serviceSize, method, methodSize, metadata, metadataSize];
      const read = readTarget(instance, name, to);
      if (typeof read === "number") return read;
      if (!memory.putU32(tokenAt >>> 0, 0)) return instance.outside(name, "token_p");
      instance.spend(CALL_FUEL);
      const token = instance.effective.root?.calls.grpcStream(read.cluster, read) ?? 0;
      if (token === 0) return instance.refuse(Status.PARSE_FAILURE, name, UNKNOWN);
      memory.putU32(tokenAt >>> 0, token);
      return Status.OK;
    },
  };
}

function openStreams(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_grpc_send(token: number, message: number, messageSize: number, endStream: number): number {
      const name = "proxy_grpc_send";
      if (!memory.has(message >>> 0, messageSize >>> 0)) return instance.outside(name, "message");
      if (messageSize >>> 0 > GRPC_STREAM_MESSAGE_BYTES) return instance.refuse(Status.BAD_ARGUMENT, name, TOO_LONG);
      memory.payForKept(messageSize >>> 0);
      const bytes = memory.bytes.subarray(message >>> 0, (message >>> 0) + (messageSize >>> 0));
      const status = instance.effective.root?.calls.send(token >>> 0, bytes, endStream !== 0) ?? Status.NOT_FOUND;
      return status === Status.OK
        ? status
        : instance.refuse(status, name, "token: no open stream of this plugin, or too much waits to be sent on it");
    },

    proxy_grpc_cancel(token: number): number {
      const status = instance.effective.root?.calls.cancel(token >>> 0) ?? Status.NOT_FOUND;
      return status === Status.OK
        ? status
        : instance.refuse(status, "proxy_grpc_cancel", "token: nothing is open under it");
    },

    proxy_grpc_close(token: number): number {
      const status = instance.effective.root?.calls.close(token >>> 0) ?? Status.NOT_FOUND;
      return status === Status.OK
        ? status
        : instance.refuse(status, "proxy_grpc_close", "token: nothing is open under it");
    },
  };
}
