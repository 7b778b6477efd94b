/**
 * HTTP calls. AssemblyScript has no closures: the answer comes to a method of an object, with the context that
 * made the call in effect again. The answer of a call whose stream is gone is dropped.
 */
import * as Status from "../../abi/status.ts";
import { currentContext, enterStream } from "./current.ts";
import * as env from "./env.ts";
import { IdTable } from "./id-table.ts";
import { beginCall, bytesSize, scalarP, utf8Of } from "./memory.ts";
import { Pairs } from "./pairs.ts";

/** Gets the answer of an HTTP call; read it through `callHeaders`, `callBody`, `callTrailers`. */
export interface HttpCallback {
  /** `headers` 0: the call failed. */
  onHttpResponse(token: u32, headers: u32, bodySize: u32, trailers: u32): void;
}

class PendingCall {
  readonly contextId: u32;
  readonly callback: HttpCallback;
  constructor(contextId: u32, callback: HttpCallback) {
    this.contextId = contextId;
    this.callback = callback;
  }
}

const pendingCalls = new IdTable<PendingCall>();

/**
 * Sends a request to a cluster (`headers` need :method, :path, :authority). Returns its token, 0 when it could
 * not be started.
 */
export function httpCall<B>(
  upstream: string,
  headers: Pairs,
  body: B,
  timeoutMs: u32,
  callback: HttpCallback,
  trailers: Pairs | null = null,
): u32 {
  const headerBytes = headers.encode();
  const trailerBytes = trailers === null ? new ArrayBuffer(0) : trailers.encode();
  beginCall();
  const upstreamAt = utf8Of<string>(upstream);
  const upstreamSize = bytesSize;
  const bodyAt = utf8Of<B>(body);
  const status = env.proxy_http_call(
    upstreamAt,
    upstreamSize,
    changetype<usize>(headerBytes),
    headerBytes.byteLength,
    bodyAt,
    bytesSize,
    changetype<usize>(trailerBytes),
    trailerBytes.byteLength,
    timeoutMs,
    scalarP,
  );
  if (status != Status.OK) return 0;
  const token = load<u32>(scalarP);
  pendingCalls.set(token, new PendingCall(currentContext(), callback));
  return token;
}

/** From exports.ts: hands an answer to its callback. */
export function dispatchHttpResponse(token: u32, headers: u32, bodySize: u32, trailers: u32): void {
  const pending = pendingCalls.get(token);
  if (pending === null) return;
  pendingCalls.delete(token);
  if (!enterStream(pending.contextId)) return;
  pending.callback.onHttpResponse(token, headers, bodySize, trailers);
}
