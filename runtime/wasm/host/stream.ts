/** Control of a stream or connection: continue, close, local response, route cache. All take effect once the guest has returned. */
import * as LogLevel from "../../../abi/log-level.ts";
import * as Status from "../../../abi/status.ts";
import * as StreamType from "../../../abi/stream.ts";
import { Pending } from "../contexts/context.ts";
import { fieldName, isFieldValue } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { readPairs } from "./fields.ts";
import type { HostFunctions } from "./functions.ts";

const UNKNOWN = "stream: unknown type";

function continueStream(instance: Instance, type: number): number {
  const call = "proxy_continue_stream";
  if (type > StreamType.UPSTREAM) return instance.refuse(Status.BAD_ARGUMENT, call, UNKNOWN);
  const context = instance.effective;
  const action = context.continuation(type);
  if (action !== 0) instance.defer(context, action);
  else if (type === StreamType.UPSTREAM)
    return instance.refuse(
      Status.UNIMPLEMENTED,
      call,
      "stream: this context has no connection, and holds nothing upstream",
    );
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
      if (type >>> 0 > StreamType.UPSTREAM) return instance.refuse(Status.BAD_ARGUMENT, "proxy_close_stream", UNKNOWN);
      const context = instance.effective;
      if (context.closable(type)) instance.defer(context, Pending.CLOSE);
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
      const call = "proxy_send_local_response";
      if (!memory.has(details >>> 0, detailsSize >>> 0)) return instance.outside(call, "details");
      if (!memory.has(body >>> 0, bodySize >>> 0)) return instance.outside(call, "body");
      if (!memory.has(headers >>> 0, headersSize >>> 0)) return instance.outside(call, "headers");
      if (code < 200 || code > 999)
        return instance.refuse(Status.BAD_ARGUMENT, call, "code: not a status of 200 to 999");
      const accepted = instance.effective.localReply({
        status: code,
        body: memory.copy(body >>> 0, bodySize >>> 0),
        headers: extraFields(instance, readPairs(instance, headers >>> 0, headersSize >>> 0)),
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
