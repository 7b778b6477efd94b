/** `proxy_http_call`: a buffered HTTP request to a cluster; the answer comes to the root context. */
import * as Status from "../../../abi/status.ts";
import { CALL_FUEL } from "../../limits.ts";
import { HeaderMap } from "../../codec/headers.ts";
import { fieldList } from "../values/header-text.ts";
import type { Instance } from "../instance/instance.ts";
import { readPairs } from "./fields.ts";
import type { HostFunctions } from "./functions.ts";

export function httpCallFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_http_call(
      upstream: number,
      upstreamSize: number,
      headers: number,
      headersSize: number,
      body: number,
      bodySize: number,
      trailers: number,
      trailersSize: number,
      timeoutMs: number,
      tokenAt: number,
    ): number {
      const call = "proxy_http_call";
      if (!memory.has(upstream >>> 0, upstreamSize >>> 0)) return instance.outside(call, "cluster");
      if (!memory.has(headers >>> 0, headersSize >>> 0)) return instance.outside(call, "headers");
      if (!memory.has(body >>> 0, bodySize >>> 0)) return instance.outside(call, "body");
      if (!memory.has(trailers >>> 0, trailersSize >>> 0)) return instance.outside(call, "trailers");
      // Written before anything starts, which also proves the address.
      if (!memory.putU32(tokenAt >>> 0, 0)) return instance.outside(call, "token_p");
      const root = instance.effective.root;
      const fields = fieldList(readPairs(instance, headers >>> 0, headersSize >>> 0) ?? []);
      const ends = fieldList(readPairs(instance, trailers >>> 0, trailersSize >>> 0) ?? []);
      if (root === null) return instance.refuse(Status.BAD_ARGUMENT, call, "no plugin exists yet");
      if (fields === undefined) return instance.refuse(Status.BAD_ARGUMENT, call, "headers: not legal fields");
      if (ends === undefined) return instance.refuse(Status.BAD_ARGUMENT, call, "trailers: not legal fields");
      if (timeoutMs < 0) return instance.refuse(Status.BAD_ARGUMENT, call, "timeout: more than 2147483647 ms");
      const map = new HeaderMap(fields);
      if (!map.has(":method") || !map.has(":path") || !map.has(":authority"))
        return instance.refuse(
          Status.BAD_ARGUMENT,
          call,
          "headers: malformed pairs, or without :method, :path and :authority",
        );
      instance.spend(CALL_FUEL);
      memory.payForKept(bodySize >>> 0);
      const token = root.calls.http(memory.utf8(upstream >>> 0, upstreamSize >>> 0), {
        headers: map,
        // The call keeps a copy of its own.
        body: memory.bytes.subarray(body >>> 0, (body >>> 0) + (bodySize >>> 0)),
        trailers: new HeaderMap(ends),
        timeoutMs,
      });
      if (token === 0)
        return instance.refuse(
          Status.BAD_ARGUMENT,
          call,
          "cluster: unknown, or too many calls are open, or too large ones",
        );
      memory.putU32(tokenAt >>> 0, token);
      return Status.OK;
    },
  };
}
