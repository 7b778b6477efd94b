/** The gRPC wire format of one unary call: length-prefixed messages, status and its text, timeouts. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
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

/** Why a response body is not one message; undefined while it may become one. */
export interface FrameFault {
  readonly status: number;
  readonly text: string;
}

/** Collects the one message of a unary response from pieces of any size. */
export class MessageReader {
  readonly #limitBytes: number;
  #pending: Buffer = EMPTY;
  message: Buffer | null = null;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** True when nothing stands behind the last whole message. */
  get clean(): boolean {
    return this.#pending.length === 0;
  }

  push(chunk: Buffer): FrameFault | null {
    if (chunk.length === 0) return null;
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = bytes;
    if (this.message !== null) return { status: GrpcStatus.INTERNAL, text: "more than one response message" };
    if (bytes[0] !== 0) return { status: GrpcStatus.INTERNAL, text: "compressed response message" };
    if (bytes.length < PREFIX_BYTES) return null;
    const length = bytes.readUInt32BE(1);
    if (length > this.#limitBytes) {
      return {
        status: GrpcStatus.RESOURCE_EXHAUSTED,
        text: `response message of ${length} bytes, limit ${this.#limitBytes}`,
      };
    }
    const end = PREFIX_BYTES + length;
    if (bytes.length < end) return null;
    if (bytes.length > end) return { status: GrpcStatus.INTERNAL, text: "more than one response message" };
    this.message = bytes.subarray(PREFIX_BYTES, end);
    this.#pending = EMPTY;
    return null;
  }
}

/** Takes the messages of a stream out of pieces of any size. */
export class MessageSplitter {
  readonly #limitBytes: number;
  #pending: Buffer = EMPTY;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** True when nothing stands behind the last whole message. */
  get clean(): boolean {
    return this.#pending.length === 0;
  }

  add(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
  }

  /** The next whole message, or what is wrong with it; null when there is none yet. */
  next(): Buffer | FrameFault | null {
    const bytes = this.#pending;
    if (bytes.length < PREFIX_BYTES) return null;
    if (bytes[0] !== 0) return { status: GrpcStatus.INTERNAL, text: "compressed response message" };
    const length = bytes.readUInt32BE(1);
    if (length > this.#limitBytes) {
      return {
        status: GrpcStatus.RESOURCE_EXHAUSTED,
        text: `response message of ${length} bytes, limit ${this.#limitBytes}`,
      };
    }
    const end = PREFIX_BYTES + length;
    if (bytes.length < end) return null;
    this.#pending = bytes.subarray(end);
    return bytes.subarray(PREFIX_BYTES, end);
  }
}

/** The header `grpc-timeout`: at most 8 digits and a unit. */
export function timeoutText(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole <= 99_999_999) return `${whole}m`;
  return `${Math.min(99_999_999, Math.ceil(whole / 1000))}S`;
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

/** What a response that is not gRPC at all means; 200 tells nothing of the call. */
export function statusOfHttp(status: number): number {
  return status === 200 ? GrpcStatus.UNKNOWN : grpcStatusOfHttp(status);
}
