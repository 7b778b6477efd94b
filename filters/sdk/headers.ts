/**
 * Header maps of the current stream. Names and values may be `string` or, without transcoding, `Text`
 * (also ArrayBuffer and Uint8Array). A missing field is null; a map that is not there now reads as empty.
 */
import * as Map from "../../abi/map.ts";
import * as Status from "../../abi/status.ts";
import * as env from "./env.ts";
import {
  beginCall,
  bytesOf,
  bytesSize,
  expectBuffer,
  expectNothing,
  releaseLanding,
  resultP,
  resultSizeP,
  takeBuffer,
  takeLatin1,
} from "./memory.ts";
import { Pairs } from "./pairs.ts";

export class HeaderMap {
  readonly kind: i32;

  constructor(kind: i32) {
    this.kind = kind;
  }

  /** The field's first value as the host joins it, one UTF-16 unit per byte; null when it is missing. */
  get<N>(name: N): string | null {
    return this.look<N>(name) ? takeLatin1() : null;
  }

  /** The same as bytes. */
  bytes<N>(name: N): ArrayBuffer | null {
    expectBuffer();
    if (this.look<N>(name)) return takeBuffer();
    expectNothing();
    return null;
  }

  has<N>(name: N): bool {
    const found = this.look<N>(name);
    releaseLanding();
    return found;
  }

  /** True when the field is there and has exactly this value; makes no garbage. */
  equals<N, V>(name: N, value: V): bool {
    if (!this.look<N>(name)) return false;
    const address = load<usize>(resultP);
    const size = load<usize>(resultSizeP);
    beginCall();
    const wanted = bytesOf<V>(value);
    const same = bytesSize == size && memory.compare(wanted, address, size) == 0;
    releaseLanding();
    return same;
  }

  /** Adds a field beside those of the same name. False when the map is read only or not there. */
  add<N, V>(name: N, value: V): bool {
    beginCall();
    const nameAt = bytesOf<N>(name);
    const nameSize = bytesSize;
    const valueAt = bytesOf<V>(value);
    return env.proxy_add_header_map_value(this.kind, nameAt, nameSize, valueAt, bytesSize) == Status.OK;
  }

  /** Makes this the only field of its name. False when the map is read only or not there. */
  replace<N, V>(name: N, value: V): bool {
    beginCall();
    const nameAt = bytesOf<N>(name);
    const nameSize = bytesSize;
    const valueAt = bytesOf<V>(value);
    return env.proxy_replace_header_map_value(this.kind, nameAt, nameSize, valueAt, bytesSize) == Status.OK;
  }

  /** Removes every field of that name; a missing one is no failure. */
  remove<N>(name: N): bool {
    beginCall();
    const nameAt = bytesOf<N>(name);
    return env.proxy_remove_header_map_value(this.kind, nameAt, bytesSize) == Status.OK;
  }

  /** All fields, in order. */
  pairs(): Pairs {
    expectBuffer();
    store<usize>(resultP, 0);
    const status = env.proxy_get_header_map_pairs(this.kind, resultP, resultSizeP);
    const bytes = takeBuffer();
    return status == Status.OK ? Pairs.decode(bytes) : new Pairs();
  }

  /** Replaces the whole map. */
  setPairs(pairs: Pairs): bool {
    const bytes = pairs.encode();
    return env.proxy_set_header_map_pairs(this.kind, changetype<usize>(bytes), bytes.byteLength) == Status.OK;
  }

  private look<N>(name: N): bool {
    beginCall();
    const nameAt = bytesOf<N>(name);
    store<usize>(resultP, 0);
    return env.proxy_get_header_map_value(this.kind, nameAt, bytesSize, resultP, resultSizeP) == Status.OK;
  }
}

export const requestHeaders = new HeaderMap(Map.HTTP_REQUEST_HEADERS);
export const requestTrailers = new HeaderMap(Map.HTTP_REQUEST_TRAILERS);
export const responseHeaders = new HeaderMap(Map.HTTP_RESPONSE_HEADERS);
export const responseTrailers = new HeaderMap(Map.HTTP_RESPONSE_TRAILERS);
/** Readable in a call's callback only. */
export const callHeaders = new HeaderMap(Map.HTTP_CALL_RESPONSE_HEADERS);
export const callTrailers = new HeaderMap(Map.HTTP_CALL_RESPONSE_TRAILERS);
export const grpcInitialMetadata = new HeaderMap(Map.GRPC_RECEIVE_INITIAL_METADATA);
export const grpcTrailingMetadata = new HeaderMap(Map.GRPC_RECEIVE_TRAILING_METADATA);
