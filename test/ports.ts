/** Ports that tests must know before anybody listens on them. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** On the loopback nobody listens there, and the system gives it to nobody. */
export const DEAD_PORT = 1;

/**
 * A port of 127.0.0.1 on which nobody listens, and which the system gives to no other process until the test is over: one of its
 * connections lives on. Whoever names it can listen there, as the connection was accepted with SO_REUSEADDR, which servers set.
 */
export async function reservedPort(t: { after(end: () => void): void }): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const holder = connect(port, "127.0.0.1");
  const [held] = (await once(server, "connection")) as [Socket];
  server.close();
  t.after(() => {
    holder.destroy();
    held.destroy();
  });
  return port;
}
