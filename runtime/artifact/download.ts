/**
 * One file over HTTP from a cluster's endpoints, for the control plane: a bounded time, a bounded size, and an exact
 * reason when it cannot be had. Redirects are not followed: what is fetched comes from where the configuration says.
 */
import type { Address, ClusterConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { addressText } from "../observe/address-text.ts";
import { clusterConnector } from "./cluster-connector.ts";
import type { ConnectorEnvironment } from "./cluster-connector.ts";

export interface Download {
  readonly uri: string;
  /** Where the request is sent; the URI gives scheme, Host and path. */
  readonly cluster: ClusterConfig;
  /** For the whole answer; 0: none. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** Gives it up. */
  readonly signal: AbortSignal;
  /** For the cluster's TLS. */
  readonly environment: ConnectorEnvironment;
}

/**
 * The body of a 200 answer of the endpoint number `turn`, counted around. Rejects with ProxyError: DOWNLOAD_UNREACHABLE,
 * DOWNLOAD_TIMEOUT, DOWNLOAD_STATUS, DOWNLOAD_TOO_LARGE, DOWNLOAD_BROKEN, DOWNLOAD_GIVEN_UP.
 */
export async function download(wanted: Download, turn: number): Promise<Buffer> {
  const { uri, cluster, timeoutMs, maxBytes, signal, environment } = wanted;
  const url = new URL(uri);
  const { endpoints } = cluster;
  const endpoint = endpoints[turn % endpoints.length];
  if (endpoint === undefined)
    throw new ProxyError("DOWNLOAD_UNREACHABLE", "upstream", `${uri}: the cluster ${cluster.name} has no endpoint`);
  const { address } = endpoint;
  const place = `${uri} from ${addressText(address)}`;
  // Loaded only when something is fetched: it takes as long as a good part of the start.
  const { Client } = await import("undici");
  const secure = clusterConnector(cluster, endpoint, environment);
  const scheme = secure === undefined ? url.protocol : "https:";
  const client = new Client(`${scheme}//${originHost(address, url)}`, {
    ...(address.kind === "pipe" ? { socketPath: address.path } : {}),
    // Without TLS of the cluster's own an https URI means that the certificate is the URI's host's, whatever the address.
    // Roots are Node's, and those of NODE_EXTRA_CA_CERTS.
    connect: secure ?? { timeout: cluster.connectTimeoutMs, servername: scheme === "https:" ? url.hostname : "" },
    ...(cluster.protocol === "HTTP2" && scheme === "http:" ? { useH2c: true } : {}),
    allowH2: cluster.protocol === "HTTP2",
  });
  try {
    const { statusCode, body } = await client.request({
      method: "GET",
      path: url.pathname + url.search,
      headers: { host: url.host, accept: "application/wasm, application/octet-stream;q=0.9, */*;q=0.1" },
      signal: timeoutMs === 0 ? signal : AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    if (statusCode !== 200) throw new ProxyError("DOWNLOAD_STATUS", "upstream", `${place}: status ${statusCode}`);
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += (chunk as Buffer).length;
      if (size > maxBytes)
        throw new ProxyError("DOWNLOAD_TOO_LARGE", "upstream", `${place}: more than ${maxBytes} bytes`);
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw asProxyError(error, place, timeoutMs);
  } finally {
    void client.destroy();
  }
}

function originHost(address: Address, url: URL): string {
  return address.kind === "pipe" ? url.host : addressText(address);
}

function asProxyError(error: unknown, place: string, timeoutMs: number): ProxyError {
  if (error instanceof ProxyError) return error;
  if (error instanceof DOMException && error.name === "TimeoutError")
    return new ProxyError("DOWNLOAD_TIMEOUT", "upstream", `${place}: no whole answer within ${timeoutMs} ms`, error);
  if (error instanceof DOMException && error.name === "AbortError")
    return new ProxyError("DOWNLOAD_GIVEN_UP", "internal", `${place}: given up`, error);
  if (!(error instanceof Error)) throw error;
  const unreachable = "syscall" in error || error.message.includes("Connect Timeout");
  const code = unreachable ? "DOWNLOAD_UNREACHABLE" : "DOWNLOAD_BROKEN";
  return new ProxyError(code, "upstream", `${place}: ${error.message}`, error);
}
