/** The gRPC wire format of calls and streams: length-prefixed messages, status and its text, timeouts. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import { ResetReason } from "../errors.ts";
import { grpcStatusOfHttp } from "../observe/grpc-status-text.ts";

const PREFIX_BYTES = 5;
const EMPTY = Buffer.alloc(0);

/** One message with its prefix: not compressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Why a response body is not one message. */
export interface FrameFault {
  readonly status: number;
  readonly text: string;
}

/** Collects the one message of a unary response from pieces of any size. */
export class MessageReader {
  readonly #splitter: MessageSplitter;
  message: Buffer | null = null;

  constructor(limitBytes: number) {
    this.#splitter = new MessageSplitter(limitBytes);
  }

  /** True when nothing stands behind the last whole message. */
  get clean(): boolean {
    return this.#splitter.clean;
  }

  /** Takes a piece; null while the body may become one message, or is one. */
  push(chunk: Buffer): FrameFault | null {
    if (chunk.length === 0) return null;
    if (this.message !== null) return SECOND_MESSAGE;
    this.#splitter.add(chunk);
    const next = this.#splitter.next();
    if (next === null) return null;
    if (!Buffer.isBuffer(next)) return next;
    this.message = next;
    return this.#splitter.clean ? null : SECOND_MESSAGE;
  }
}

const SECOND_MESSAGE: FrameFault = { status: GrpcStatus.INTERNAL, text: "more than one response message" };

/** Takes the messages of a stream out of pieces of any size. Takes time linear in the bytes, however small the pieces. */
export class MessageSplitter {
  readonly #limitBytes: number;
  /** Room for what has come: twice the bytes at most, once there is more than one piece. */
  #bytes: Buffer = EMPTY;
  #from = 0;
  #to = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** True when nothing stands behind the last whole message. */
  get clean(): boolean {
    return this.#from === this.#to;
  }

  /** `chunk` must stay as it is. */
  add(chunk: Buffer): void {
    const kept = this.#to - this.#from;
    if (kept === 0) {
      this.#bytes = chunk;
      this.#from = 0;
      this.#to = chunk.length;
      return;
    }
    if (this.#to + chunk.length > this.#bytes.length) {
      // Messages handed out lie in the old room, which is not written to again.
      const roomier = Buffer.allocUnsafe(2 * (kept + chunk.length));
      this.#bytes.copy(roomier, 0, this.#from, this.#to);
      this.#bytes = roomier;
      this.#from = 0;
      this.#to = kept;
    }
    this.#bytes.set(chunk, this.#to);
    this.#to += chunk.length;
  }

  /** The next whole message, or what is wrong with it; null when there is none yet. */
  next(): Buffer | FrameFault | null {
    const length = this.#to - this.#from;
    if (length === 0) return null;
    if (this.#bytes[this.#from] !== 0) return { status: GrpcStatus.INTERNAL, text: "compressed response message" };
    if (length < PREFIX_BYTES) return null;
    const size = this.#bytes.readUInt32BE(this.#from + 1);
    if (size > this.#limitBytes) {
      return {
        status: GrpcStatus.RESOURCE_EXHAUSTED,
        text: `response message of ${size} bytes, limit ${this.#limitBytes}`,
      };
    }
    if (length < PREFIX_BYTES + size) return null;
    const start = this.#from + PREFIX_BYTES;
    this.#from = start + size;
    return this.#bytes.subarray(start, this.#from);
  }
}

/** The largest number of 8 digits, which are all that `grpc-timeout` has room for. */
const MAX_TIMEOUT = 99_999_999;

/** The header `grpc-timeout`: a number and its unit, milliseconds or seconds. */
export function timeoutText(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole <= MAX_TIMEOUT) return `${whole}m`;
  return `${Math.min(MAX_TIMEOUT, Math.ceil(whole / 1000))}S`;
}

/** The value of `grpc-status`; UNKNOWN for anything but a code of the specification. */
export function parseStatus(text: string | undefined): number {
  if (text === undefined || !/^\d{1,2}$/.test(text)) return GrpcStatus.UNKNOWN;
  const status = Number(text);
  return status <= GrpcStatus.UNAUTHENTICATED ? status : GrpcStatus.UNKNOWN;
}

/** Undoes the percent-encoding of `grpc-message`; what is not valid stays as it is. */
export function decodeMessage(text: string): string {
  if (!text.includes("%")) return text;
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** What a stream of HTTP that was reset means: by the host it is its failure, else it was not to be had. */
export function statusOfReset(reason: ResetReason): number {
  return reason === ResetReason.REMOTE_RESET ? GrpcStatus.INTERNAL : GrpcStatus.UNAVAILABLE;
}

/** What a response that is not gRPC at all means; 200 tells nothing of the call. */
export function statusOfHttp(status: number): number {
  return status === 200 ? GrpcStatus.UNKNOWN : grpcStatusOfHttp(status);
}
