/**
 * What a filter author extends. Life of a module: `register` at its top level → RootContext: onVmStart →
 * onConfigure → createFilter for each stream, onTick, … → onDone → onDelete. Life of a filter: request
 * callbacks → response callbacks → onLog → onDone → onDelete. The build exports only the callbacks that a
 * module's classes override, so a callback that is not written costs nothing: a host does not even call.
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

/** One filter of one stream; extend DecoderFilter, EncoderFilter or Filter, which say what it takes part in. */
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
  /** After `setTimer` (extensions.ts). */
  onTimer(): void {}
}

/** Sees requests only: onRequestHeaders, onRequestBody, onRequestTrailers. The build refuses response callbacks. */
export abstract class DecoderFilter extends StreamContext {}

/** Sees responses only: onResponseHeaders, onResponseBody, onResponseTrailers. The build refuses request callbacks. */
export abstract class EncoderFilter extends StreamContext {}

/** Sees both ways. */
export abstract class Filter extends StreamContext {}

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
  /** The filter of a new stream; null: this stream is of no interest. */
  createFilter(): StreamContext | null {
    return null;
  }
  onTick(): void {}
  onQueueReady(_token: u32): void {}
}
