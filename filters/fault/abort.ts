/** How a request is aborted: an HTTP status, or a gRPC status over HTTP 200. */
import * as GrpcStatus from "../../abi/grpc-status.ts";

export class Abort {
  readonly httpStatus: i32;
  readonly grpcStatus: i32;

  constructor(httpStatus: i32, grpcStatus: i32 = GrpcStatus.NONE) {
    this.httpStatus = httpStatus;
    this.grpcStatus = grpcStatus;
  }
}
