/** An upstream whose answer a test holds back, and a route to it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

export const ALL_TO_UP = "{ match: { prefix: / }, route: { cluster: up, timeout: 0s } }";

/** An upstream that answers when it is told to. */
export async function slowUpstream(): Promise<{ clusters: string; arrived: Promise<ServerResponse> }> {
  let arrive: (response: ServerResponse) => void = () => {};
  const arrived = new Promise<ServerResponse>((resolve) => (arrive = resolve));
  const server = createServer((_request, response) => arrive(response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }`;
  return {
    clusters: `[{ name: up, type: STATIC, load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [${endpoint}] }] } }]`,
    arrived,
  };
}
