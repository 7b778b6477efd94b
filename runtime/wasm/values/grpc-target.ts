/** Whom a guest's gRPC call goes to: a serialized `envoy.config.core.v3.GrpcService`, or a cluster's name. */
import { ProtoCursor, WireType } from "../../codec/proto-wire.ts";

const ENVOY_GRPC = 1;
const CLUSTER_NAME = 1;

/** The cluster's name; undefined when there is none in it. */
export function grpcTarget(bytes: Buffer): string | undefined {
  const envoyGrpc = bytesField(bytes, ENVOY_GRPC);
  const name = envoyGrpc === undefined ? bytes : (bytesField(envoyGrpc, CLUSTER_NAME) ?? bytes);
  return name.length === 0 ? undefined : name.toString("utf8");
}

/** The last length-delimited field `number` of a message; undefined when absent or when this is no message. */
function bytesField(message: Buffer, number: number): Buffer | undefined {
  let found: Buffer | undefined;
  const cursor = new ProtoCursor(message);
  while (cursor.next()) if (cursor.number === number && cursor.wire === WireType.DELIMITED) found = cursor.content;
  return cursor.malformed ? undefined : found;
}
