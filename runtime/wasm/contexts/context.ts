/**
 * What a guest call acts on. Every callback has one (`current`), and the guest may choose another of its VM
 * (`effective`) until the callback returns. This base answers "nothing here"; root and stream contexts override what they have.
 */
import * as MapType from "../../../abi/map.ts";
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import type { LocalReply, StreamView } from "../../http/filter.ts";
import type { StreamFacts } from "../values/stream-properties.ts";
import type { RootContext } from "./root-context.ts";

/** Actions a guest asked for that wait until the outermost guest call has returned; bits of Context.pending. */
export const Pending = {
  LOCAL_REPLY: 1,
  CLOSE: 2,
  /** Of a connection: its bytes from downstream. */
  CONTINUE_REQUEST: 4,
  /** Of a connection: its bytes towards downstream. */
  CONTINUE_RESPONSE: 8,
  DONE: 16,
} as const;

export abstract class Context {
  /** 0 until the guest was told of it (and for ever in the VM context). */
  id = 0;
  /** Bits of {@link Pending}. */
  pending = 0;

  /** The plugin's own context; null in the VM context, which acts while no plugin exists yet. */
  abstract readonly root: RootContext | null;

  /** The HTTP stream, or null in contexts that have none. */
  get stream(): StreamView | null {
    return null;
  }
  /** What is known of the HTTP stream or the connection, or null in contexts that have neither. */
  get facts(): StreamFacts | null {
    return this.stream;
  }
  /** The action that lets the side of this type (abi/stream.ts) go on; 0 when there is no such side. */
  continuation(_type: number): number {
    return 0;
  }
  /** True when closing this type (abi/stream.ts) ends what the context stands for. */
  closable(_type: number): boolean {
    return false;
  }
  /** True while only looking is allowed and what is absent is NOT_FOUND: the log phase. */
  get logging(): boolean {
    return false;
  }
  /** Map to read; null when it cannot be reached now. */
  map(type: number): HeaderMap | null {
    return type >= MapType.GRPC_RECEIVE_INITIAL_METADATA && this.root !== null ? this.root.callMap(type) : null;
  }
  /** Map to change; null when it cannot be reached or changed now. */
  mutableMap(_type: number): HeaderMap | null {
    return null;
  }
  /** The guest has changed a map it got from {@link mutableMap}; pseudo-headers may be missing now. */
  mapChanged(_type: number, _pseudoRemoved: boolean): void {}
  /** Bytes of a type (abi/buffer.ts) below HTTP_CALL_RESPONSE_BODY, as far as they can be reached now. */
  body(_type: number): BodyBuffer | null {
    return null;
  }
  /** False when there is no stream to answer. */
  localReply(_reply: LocalReply): boolean {
    return false;
  }
  /** Arms the stream's timer; false when there is no stream. */
  setTimer(_delayMs: number): boolean {
    return false;
  }
  /** The instance is dead: the guest is never called for this context again. */
  abstract orphan(): void;
  /** Performs what {@link pending} holds; no guest code is running. */
  abstract perform(): void;
}

/** The context of start functions (id 0): it owns nothing. */
export class VmContext extends Context {
  readonly root = null;
  orphan(): void {}
  perform(): void {
    this.pending = 0;
  }
}
