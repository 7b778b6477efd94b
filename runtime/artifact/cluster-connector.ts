/** TLS as a cluster's transport socket has it, for undici: the same checks as for requests of workers. */
import type { TLSSocket } from "node:tls";
import type { buildConnector } from "undici";
import { readSecrets } from "../config/secret-reader.ts";
import type { ClusterConfig, EndpointConfig } from "../config/snapshot.ts";
import type { Log } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import { UpstreamTls } from "../tls/upstream.ts";

/** Counts under `cluster.<name>.ssl.` and tells of changed files. */
export interface ConnectorEnvironment {
  readonly stats: Stats;
  readonly log: Log;
}

/** Connects to an endpoint of a cluster with TLS; undefined when the endpoint has none. */
export function clusterConnector(
  cluster: ClusterConfig,
  endpoint: EndpointConfig,
  { stats, log }: ConnectorEnvironment,
): buildConnector.connector | undefined {
  const config = endpoint.tls === undefined ? undefined : cluster.tls?.[endpoint.tls];
  if (config === undefined) return undefined;
  const { address, hostname } = endpoint;
  const name = hostname === "" && address.kind === "ip" && cluster.type !== "STATIC" ? address.host : hostname;
  const host = { hostname: name, protocols: cluster.protocol === "HTTP2" ? ["h2"] : ["http/1.1"] };
  const tls = new UpstreamTls(config, {
    stats,
    readSecrets,
    statPrefix: `cluster.${cluster.statName}.`,
    log: (level, message) => (level === "warn" ? log.warning(message) : log.info(message)),
  });
  return (_options, callback) => {
    const socket: TLSSocket = tls.connect(
      address.kind === "pipe" ? { path: address.path } : { host: address.host, port: address.port },
      host,
    );
    const done = (error: Error | null): void => {
      clearTimeout(timer);
      socket.off("error", done);
      // Its files are of no more interest: there is one connection.
      tls.close();
      if (error === null) callback(null, socket);
      else {
        socket.destroy();
        callback(error, null);
      }
    };
    const timer = setTimeout(
      () => done(new Error(`Connect Timeout: no connection within ${cluster.connectTimeoutMs} ms`)),
      cluster.connectTimeoutMs,
    );
    timer.unref();
    socket.on("error", done);
    socket.once("secureConnect", () => {
      const refusal = tls.refuse(socket, host);
      done(refusal === null ? null : new Error(refusal));
    });
  };
}
