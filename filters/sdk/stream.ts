/** What a filter does with its stream or connection as a whole: go on, close, answer by itself. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import * as Status from "../../abi/status.ts";
import * as Stream from "../../abi/stream.ts";
import * as env from "./env.ts";
import { beginCall, bytesSize, utf8Of } from "./memory.ts";
import { Pairs } from "./pairs.ts";

/** Lets a paused request go on (from outside its own callback). */
export function continueRequest(): bool {
  return env.proxy_continue_stream(Stream.REQUEST) == Status.OK;
}

/** Lets a paused response go on (from outside its own callback). */
export function continueResponse(): bool {
  return env.proxy_continue_stream(Stream.RESPONSE) == Status.OK;
}

/** Lets a connection go on that a network filter paused (from outside its own callback). */
export function continueDownstream(): bool {
  return env.proxy_continue_stream(Stream.DOWNSTREAM) == Status.OK;
}

/** Ends the stream at once, on both sides. */
export function closeStream(): bool {
  return env.proxy_close_stream(Stream.REQUEST) == Status.OK;
}

/** In a network filter: closes the connection once what was written to it is gone. */
export function closeConnection(): bool {
  return env.proxy_close_stream(Stream.DOWNSTREAM) == Status.OK;
}

/**
 * Answers the request here. Afterwards return PAUSE from the callback. `details` go to the access log; a gRPC
 * request gets `grpcStatus`, or the one that fits `status`.
 */
export function sendLocalResponse<B>(
  status: i32,
  body: B,
  details: string = "",
  headers: Pairs | null = null,
  grpcStatus: i32 = GrpcStatus.NONE,
): bool {
  let headersAt: usize = 0;
  let headersSize: usize = 0;
  if (headers !== null) {
    const bytes = headers.encode();
    headersAt = changetype<usize>(bytes);
    headersSize = <usize>bytes.byteLength;
  }
  beginCall();
  const detailsAt = utf8Of<string>(details);
  const detailsSize = bytesSize;
  const bodyAt = utf8Of<B>(body);
  return (
    env.proxy_send_local_response(
      status,
      detailsAt,
      detailsSize,
      bodyAt,
      bytesSize,
      headersAt,
      headersSize,
      grpcStatus,
    ) == Status.OK
  );
}
