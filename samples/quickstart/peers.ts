/**
 * The two peers of the quick start in one process: demo upstream and rate limit service. Started with an
 * IPC channel it tells its parent where they listen, and ends with it.
 *
 *     npx node samples/quickstart/peers.ts [UPSTREAM_PORT] [RATE_LIMIT_PORT]
 */
import { fileURLToPath } from "node:url";
import { startUpstream } from "./upstream.ts";

const upstreamPort = Number(process.argv[2] ?? 10_001);
const ratelimitPort = Number(process.argv[3] ?? 10_002);

try {
  const upstream = await startUpstream(upstreamPort);
  const { readLimits, startRateLimitService } = await import("../ratelimit-service/service.ts");
  const limits = readLimits(fileURLToPath(new URL("../ratelimit-service/limits.yaml", import.meta.url)));
  const ratelimit = await startRateLimitService(limits, ratelimitPort);
  if (process.send === undefined) {
    console.log(`demo upstream on 127.0.0.1:${upstream.port}, rate limit service on 127.0.0.1:${ratelimit.port}`);
  } else {
    process.on("disconnect", () => process.exit(0));
    // The parent ends on signals of the terminal, and this process with it: not before its last requests.
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => {});
    process.send({ upstream: upstream.port, ratelimit: ratelimit.port });
  }
} catch (error) {
  const why = error instanceof Error ? error.message : String(error);
  if (process.send === undefined) process.stderr.write(`${why}\n`);
  else process.send({ error: why });
  process.exitCode = 1;
  process.disconnect?.();
}
