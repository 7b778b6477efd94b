/** Whom a guest's gRPC call goes to: a serialized `envoy.config.core.v3.GrpcService`, or a cluster's name. */

const ENVOY_GRPC = 1;
const CLUSTER_NAME = 1;
const LENGTH_DELIMITED = 2;

/** The cluster's name; undefined when there is none in it. */
export function grpcTarget(bytes: Buffer): string | undefined {
  const envoyGrpc = bytesField(bytes, ENVOY_GRPC);
  const name = envoyGrpc === undefined ? bytes : (bytesField(envoyGrpc, CLUSTER_NAME) ?? bytes);
  return name.length === 0 ? undefined : name.toString("utf8");
}

/** The last length-delimited field `number` of a message; undefined when absent or when this is no message. */
function bytesField(message: Buffer, number: number): Buffer | undefined {
  let at = 0;
  let found: Buffer | undefined;
  while (at < message.length) {
    const tag = varint(message, at);
    if (tag === undefined || tag.value >>> 3 === 0) return undefined;
    const wire = tag.value & 7;
    at = tag.next;
    if (wire === LENGTH_DELIMITED) {
      const length = varint(message, at);
      if (length === undefined || length.next + length.value > message.length) return undefined;
      at = length.next + length.value;
      if (tag.value >>> 3 === number) found = message.subarray(length.next, at);
    } else if (wire === 0) {
      const value = varint(message, at);
      if (value === undefined) return undefined;
      at = value.next;
    } else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else return undefined;
  }
  return at === message.length ? found : undefined;
}

function varint(message: Buffer, at: number): { value: number; next: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let next = at; next < message.length && next < at + 10;) {
    const byte = message[next++]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next };
    scale *= 128;
  }
  return undefined;
}
