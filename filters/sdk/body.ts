/**
 * Bodies of the current stream, bytes of the current connection, and the other buffers of the ABI. In a data callback
 * they are what has arrived (with what was kept while the filter paused); edits are what goes on.
 */
import * as Buffer from "../../abi/buffer.ts";
import * as Status from "../../abi/status.ts";
import * as env from "./env.ts";
import {
  beginCall,
  bytesSize,
  expectBuffer,
  expectNothing,
  releaseLanding,
  resultP,
  resultSizeP,
  scalarP,
  takeBuffer,
  utf8Of,
} from "./memory.ts";

const ALL: usize = 0xffffffff;

export class Body {
  readonly kind: i32;

  constructor(kind: i32) {
    this.kind = kind;
  }

  /** Bytes that are there now. */
  get length(): u32 {
    return env.proxy_get_buffer_status(this.kind, scalarP, scalarP + 4) == Status.OK ? load<u32>(scalarP) : 0;
  }

  /** A part of the body, by default all of it; null when there is no such buffer now. */
  bytes(start: u32 = 0, max: u32 = 0xffffffff): ArrayBuffer | null {
    store<usize>(resultP, 0);
    expectBuffer();
    if (env.proxy_get_buffer_bytes(this.kind, start, max, resultP, resultSizeP) == Status.OK) return takeBuffer();
    expectNothing();
    return null;
  }

  /** Copies a part into `target`, at most what that holds, and answers how many bytes that were. Makes no garbage. */
  copyTo(target: StaticArray<u8>, start: u32 = 0): u32 {
    store<usize>(resultP, 0);
    const status = env.proxy_get_buffer_bytes(this.kind, start, <usize>target.length, resultP, resultSizeP);
    if (status != Status.OK || load<usize>(resultP) == 0) return 0;
    const size = min<usize>(load<usize>(resultSizeP), <usize>target.length);
    memory.copy(changetype<usize>(target), load<usize>(resultP), size);
    releaseLanding();
    return <u32>size;
  }

  /** The same as UTF-8 text. */
  text(start: u32 = 0, max: u32 = 0xffffffff): string | null {
    const bytes = this.bytes(start, max);
    return bytes === null ? null : String.UTF8.decode(bytes);
  }

  /** Puts these bytes in the place of the whole body. Strings go as UTF-8. */
  set<V>(value: V): bool {
    return this.replace<V>(0, <u32>ALL, value);
  }

  append<V>(value: V): bool {
    return this.replace<V>(<u32>ALL, 0, value);
  }

  prepend<V>(value: V): bool {
    return this.replace<V>(0, 0, value);
  }

  /** Puts these bytes in the place of `length` bytes from `start`. False when the buffer is read only or not there. */
  replace<V>(start: u32, length: u32, value: V): bool {
    beginCall();
    const address = utf8Of<V>(value);
    return env.proxy_set_buffer_bytes(this.kind, start, length, address, bytesSize) == Status.OK;
  }
}

export const requestBody = new Body(Buffer.HTTP_REQUEST_BODY);
export const responseBody = new Body(Buffer.HTTP_RESPONSE_BODY);
/** Bytes of a connection, in a network filter: from downstream, and towards downstream. */
export const downstreamData = new Body(Buffer.DOWNSTREAM_DATA);
export const upstreamData = new Body(Buffer.UPSTREAM_DATA);
/** Readable in a call's callback only. */
export const callBody = new Body(Buffer.HTTP_CALL_RESPONSE_BODY);
export const grpcMessage = new Body(Buffer.GRPC_RECEIVE_BUFFER);
export const pluginConfiguration = new Body(Buffer.PLUGIN_CONFIGURATION);
export const vmConfiguration = new Body(Buffer.VM_CONFIGURATION);
