/** Control of a stream: continue, close, local response, route cache. All take effect once the guest has returned. */
import * as LogLevel from "../../../abi/log-level.ts";
import * as Status from "../../../abi/status.ts";
import * as StreamType from "../../../abi/stream.ts";
import { Pending } from "../contexts/context.ts";
import { fieldName, isFieldValue } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { decodePairs } from "../values/pairs.ts";
import type { HostFunctions } from "./functions.ts";

function continueStream(instance: Instance, type: number): number {
  if (type > StreamType.UPSTREAM) return Status.BAD_ARGUMENT;
  if (type === StreamType.UPSTREAM) return Status.UNIMPLEMENTED;
  const context = instance.effective;
  if (type === StreamType.DOWNSTREAM || context.stream === null) return Status.OK;
  instance.defer(context, type === StreamType.REQUEST ? Pending.CONTINUE_REQUEST : Pending.CONTINUE_RESPONSE);
  return Status.OK;
}

/** Legal fields of a guest's list; what is not is left out and logged, as the guest cannot be told. */
function extraFields(instance: Instance, pairs: readonly string[] | undefined): string[] {
  const fields: string[] = [];
  if (pairs === undefined) {
    instance.log(LogLevel.ERROR, "send_local_response: malformed headers are left out");
    return fields;
  }
  for (let n = 0; n < pairs.length; n += 2) {
    const name = fieldName(pairs[n]!);
    if (name === undefined || name.charCodeAt(0) === 0x3a || !isFieldValue(pairs[n + 1]!)) {
      instance.log(LogLevel.ERROR, `send_local_response: illegal header ${JSON.stringify(pairs[n])} is left out`);
    } else fields.push(name, pairs[n + 1]!);
  }
  return fields;
}

export function streamFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_continue_stream: (type: number): number => continueStream(instance, type >>> 0),
    proxy_continue_request: (): number => continueStream(instance, StreamType.REQUEST),
    proxy_continue_response: (): number => continueStream(instance, StreamType.RESPONSE),

    proxy_close_stream(type: number): number {
      if (type >>> 0 > StreamType.UPSTREAM) return Status.BAD_ARGUMENT;
      const context = instance.effective;
      if (context.stream !== null && type <= StreamType.RESPONSE) instance.defer(context, Pending.CLOSE);
      return Status.OK;
    },

    proxy_clear_route_cache(): number {
      instance.effective.stream?.clearRouteCache();
      return Status.OK;
    },

    proxy_send_local_response(
      code: number,
      details: number,
      detailsSize: number,
      body: number,
      bodySize: number,
      headers: number,
      headersSize: number,
      grpcStatus: number,
    ): number {
      if (!memory.has(details >>> 0, detailsSize >>> 0) || !memory.has(body >>> 0, bodySize >>> 0)) {
        return Status.INVALID_MEMORY_ACCESS;
      }
      if (!memory.has(headers >>> 0, headersSize >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      if (code < 200 || code > 999) return Status.BAD_ARGUMENT;
      const accepted = instance.effective.localReply({
        status: code,
        body: memory.copy(body >>> 0, bodySize >>> 0),
        headers: extraFields(instance, decodePairs(memory.bytes, headers >>> 0, headersSize >>> 0)),
        details: memory.utf8(details >>> 0, detailsSize >>> 0).replace(/\s/g, "_"),
        flag: -1,
        grpcStatus: grpcStatus >= 0 && grpcStatus <= 16 ? grpcStatus : -1,
      });
      // SDKs take any other status for a reason to abort, so a refusal is told to people only.
      if (!accepted)
        instance.log(LogLevel.ERROR, `send_local_response ${code}: no stream to answer, or it is already answered`);
      return Status.OK;
    },
  };
}
