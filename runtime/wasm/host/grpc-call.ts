/** `proxy_grpc_call` (unary), cancel and close. Streams have their names here and answer UNIMPLEMENTED. */
import * as Status from "../../../abi/status.ts";
import { HeaderMap } from "../../codec/headers.ts";
import { grpcTarget } from "../values/grpc-target.ts";
import { fieldList } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { decodePairs } from "../values/pairs.ts";
import type { HostFunctions } from "./functions.ts";

export function grpcCallFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;

  /** Cancel and close are the same thing for a unary call. */
  function giveUp(token: number): number {
    return instance.effective.root?.cancelGrpc(token >>> 0) ?? Status.NOT_FOUND;
  }

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
      if (!memory.has(target >>> 0, targetSize >>> 0) || !memory.has(service >>> 0, serviceSize >>> 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      if (!memory.has(method >>> 0, methodSize >>> 0) || !memory.has(metadata >>> 0, metadataSize >>> 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      if (!memory.has(message >>> 0, messageSize >>> 0) || !memory.putU32(tokenAt >>> 0, 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      const root = instance.effective.root;
      const cluster = grpcTarget(memory.copy(target >>> 0, targetSize >>> 0));
      const fields = fieldList(decodePairs(memory.bytes, metadata >>> 0, metadataSize >>> 0) ?? []);
      if (root === null || cluster === undefined) return Status.PARSE_FAILURE;
      if (fields === undefined) return Status.PARSE_FAILURE;
      const token = root.grpcCall(cluster, {
        service: memory.utf8(service >>> 0, serviceSize >>> 0),
        method: memory.utf8(method >>> 0, methodSize >>> 0),
        metadata: new HeaderMap(fields),
        // The call keeps a copy of its own.
        message: memory.bytes.subarray(message >>> 0, (message >>> 0) + (messageSize >>> 0)),
        timeoutMs: Math.max(timeoutMs, 0),
      });
      if (token === 0) return Status.PARSE_FAILURE;
      memory.putU32(tokenAt >>> 0, token);
      return Status.OK;
    },

    proxy_grpc_cancel: giveUp,
    proxy_grpc_close: giveUp,
  };
}
