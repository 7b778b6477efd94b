/** The gRPC status of a stream and its names, as access logs print them. */
import * as GrpcStatus from "../../abi/grpc-status.ts";
import type { StreamInfo } from "./stream-info.ts";

const SNAKE: readonly string[] = Object.entries(GrpcStatus)
  .filter(([, status]) => status >= 0)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name);
const CAMEL: readonly string[] = SNAKE.map((name) =>
  // Envoy spells the long name of CANCELLED with one L.
  name === "OK" ? name : name === "CANCELLED" ? "Canceled" : camelCase(name),
);

function camelCase(name: string): string {
  return name
    .toLowerCase()
    .split("_")
    .map((word) => word[0]!.toUpperCase() + word.slice(1))
    .join("");
}

/** `DeadlineExceeded` or `DEADLINE_EXCEEDED`; the number for what has no name. */
export function grpcStatusText(status: number, snake: boolean): string {
  return (snake ? SNAKE : CAMEL)[status] ?? String(status);
}

/** True for `application/grpc` and `application/grpc+…`. */
export function isGrpcContentType(contentType: string | undefined): boolean {
  return (
    contentType !== undefined &&
    contentType.startsWith("application/grpc") &&
    (contentType.length === 16 || contentType[16] === "+")
  );
}

/** gRPC status that stands for an HTTP status when the response carries none. */
export function grpcStatusOfHttp(code: number): number {
  switch (code) {
    case 200:
      return GrpcStatus.OK;
    case 400:
      return GrpcStatus.INTERNAL;
    case 401:
      return GrpcStatus.UNAUTHENTICATED;
    case 403:
      return GrpcStatus.PERMISSION_DENIED;
    case 404:
      return GrpcStatus.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus.UNAVAILABLE;
    default:
      return GrpcStatus.UNKNOWN;
  }
}

/** The status a gRPC stream ended with; undefined when it is no gRPC stream. */
export function grpcStatusOf(info: StreamInfo): number | undefined {
  if (!isGrpcContentType(info.requestHeaders?.get("content-type"))) return undefined;
  const text = info.responseTrailers?.get("grpc-status") ?? info.responseHeaders?.get("grpc-status");
  if (text !== undefined && /^[0-9]{1,9}$/.test(text)) return Number(text);
  return info.responseCode === 0 ? undefined : grpcStatusOfHttp(info.responseCode);
}
