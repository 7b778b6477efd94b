/**
 * The demo upstream: answers every request with the request it saw, as JSON.
 *
 *     npx node samples/quickstart/upstream.ts [PORT]
 */
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** Bytes of a request body that are shown; the rest is read and counted. */
const SHOWN_BODY_BYTES = 64 * 1024;

/** Starts the upstream; port 0 takes a free one. Rejects when the port cannot be bound. */
export async function startUpstream(port: number): Promise<{ port: number; close(): void }> {
  const server = createServer((request, response) => {
    readBody(request).then(
      (body) => {
        const seen = {
          method: request.method,
          path: request.url,
          headers: request.headers,
          body: body.shown,
          body_bytes: body.bytes,
        };
        const answer = `${JSON.stringify(seen, null, 2)}\n`;
        response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answer) });
        response.end(answer);
      },
      () => response.destroy(),
    );
  });
  // The proxy keeps upstream connections for an hour; an upstream that hangs up first would only cause retries.
  server.keepAliveTimeout = 3_600_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close(): void {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function readBody(request: IncomingMessage): Promise<{ shown: string; bytes: number }> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (bytes < SHOWN_BODY_BYTES) kept.push(chunk.subarray(0, SHOWN_BODY_BYTES - bytes));
    bytes += chunk.length;
  }
  return { shown: Buffer.concat(kept).toString("utf8"), bytes };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const upstream = await startUpstream(Number(process.argv[2] ?? 10_001));
  console.log(`demo upstream on 127.0.0.1:${upstream.port}`);
}
