/**
 * What a filter author extends. Life of a module: `register` at its top level → RootContext: onVmStart →
 * onConfigure → createFilter for each stream (or connection), onTick, … → onDone → onDelete. Life of an HTTP filter:
 * request callbacks → response callbacks → onLog → onDone → onDelete. Life of a network filter: onNewConnection →
 * data both ways → closes → onDone → onLog → onDelete. The build exports only the callbacks that a module's classes
 * override, so a callback that is not written costs nothing: a host does not even call.
 */
import * as Action from "../../abi/action.ts";

/** Anything with a context id. */
export abstract class Context {
  contextId: u32 = 0;

  /** Root: false defers the end until `done()` (time.ts has ticks to wait with). Streams: the answer is ignored. */
  onDone(): bool {
    return true;
  }
  /** The stream is complete; headers and properties can still be read. */
  onLog(): void {}
  /** Last call. */
  onDelete(): void {}
}

/** One filter of one stream or connection; extend DecoderFilter, EncoderFilter, Filter or NetworkFilter, which say what it takes part in. */
export abstract class StreamContext extends Context {
  onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  onRequestBody(_size: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  onRequestTrailers(_trailers: u32): i32 {
    return Action.CONTINUE;
  }
  onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  onResponseBody(_size: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  onResponseTrailers(_trailers: u32): i32 {
    return Action.CONTINUE;
  }
  /** PAUSE holds the connection's bytes until `continueDownstream` (stream.ts). */
  onNewConnection(): i32 {
    return Action.CONTINUE;
  }
  /** `downstreamData` (body.ts) has `size` bytes. After PAUSE they stay, and the next call sees them with what followed. */
  onDownstreamData(_size: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  /** The same towards downstream: `upstreamData`. */
  onUpstreamData(_size: u32, _endOfStream: bool): i32 {
    return Action.CONTINUE;
  }
  /** `peer` is one of abi/peer.ts: who closed. */
  onDownstreamClose(_peer: i32): void {}
  /** Nothing more comes from upstream; UNKNOWN when only that is known. */
  onUpstreamClose(_peer: i32): void {}
  /** After `setTimer` (extensions.ts). */
  onTimer(): void {}
}

/** Sees requests only: onRequestHeaders, onRequestBody, onRequestTrailers. The build refuses response callbacks. */
export abstract class DecoderFilter extends StreamContext {}

/** Sees responses only: onResponseHeaders, onResponseBody, onResponseTrailers. The build refuses request callbacks. */
export abstract class EncoderFilter extends StreamContext {}

/** Sees both ways. */
export abstract class Filter extends StreamContext {}

/**
 * Sees the bytes of a connection, below HTTP: onNewConnection, onDownstreamData, onUpstreamData, onDownstreamClose,
 * onUpstreamClose. The build refuses HTTP callbacks.
 */
export abstract class NetworkFilter extends StreamContext {}

/** One plugin: a module with one configuration. */
export abstract class RootContext extends Context {
  /** False makes the module unusable. The VM's configuration is `vmConfiguration.bytes()` (body.ts). */
  onVmStart(_size: u32): bool {
    return true;
  }
  /** The plugin's configuration: for a filter with a schema the serialized message. False refuses it. */
  onConfigure(_configuration: ArrayBuffer): bool {
    return true;
  }
  /** The filter of a new stream, or of a connection in a network filter; null: it is of no interest. */
  createFilter(): StreamContext | null {
    return null;
  }
  onTick(): void {}
  onQueueReady(_token: u32): void {}
}
