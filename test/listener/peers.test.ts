/** Sockets that workers give each other: they arrive with what was read and found, and come back from the dead. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { SocketFacts } from "../../runtime/listener/listener-filter.ts";
import { descriptorOf } from "../../runtime/listener/native-sockets.ts";
import { Peers, unpack } from "../../runtime/listener/peers.ts";
import type { SocketParcel } from "../../runtime/listener/peers.ts";
import { SocketCounts } from "../../runtime/listener/socket-counts.ts";

interface Side {
  readonly peers: Peers;
  readonly received: SocketParcel[];
  readonly returned: SocketParcel[];
}

function side(worker: number): Side {
  const received: SocketParcel[] = [];
  const returned: SocketParcel[] = [];
  const peers = new Peers(worker, {
    receive: (parcel) => received.push(parcel),
    takeBack: (parcel) => returned.push(parcel),
  });
  return { peers, received, returned };
}

/** Two workers that reach each other; `cut` ends the link as the loss of worker 1 would. */
function pair(t: TestContext): { one: Side; other: Side; cut: () => void } {
  const one = side(0);
  const other = side(1);
  const { port1, port2 } = new MessageChannel();
  const taken = new SharedArrayBuffer(8);
  one.peers.connect({ worker: 1, port: port1, taken });
  other.peers.connect({ worker: 0, port: port2, taken });
  t.after(() => port2.close());
  return { one, other, cut: () => port2.close() };
}

/** An accepted socket that was not read yet, and its other end. */
async function accepted(t: TestContext): Promise<{ socket: Socket; downstream: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const downstream = connect(address.port, "127.0.0.1");
  t.after(() => downstream.destroy());
  const [socket] = (await once(server, "connection")) as [Socket];
  return { socket, downstream };
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Reads and answers on the socket of a parcel. */
async function talk(parcel: SocketParcel, downstream: Socket): Promise<string> {
  const socket = unpack(parcel);
  downstream.write("more");
  let text = "";
  socket.on("data", (data: Buffer) => (text += data.toString()));
  socket.resume();
  await until(() => text.endsWith("more"));
  socket.end("answer");
  const [answer] = (await once(downstream, "data")) as [Buffer];
  assert.equal(answer.toString(), "answer");
  socket.destroy();
  return text;
}

test("a socket arrives with the bytes that were read and the facts that were found", async (t) => {
  const { one, other } = pair(t);
  const { socket, downstream } = await accepted(t);
  const facts = new SocketFacts(socket);
  Object.assign(facts, { serverName: "a.example", localRestored: true, metadata: new Map([["ns", { a: 1 }]]) });
  socket.unshift(Buffer.from("early "));
  one.peers.give(1, "listener", socket, facts);
  assert.equal(descriptorOf(socket), -1);
  await until(() => other.received.length === 1);
  const [parcel] = other.received;
  assert.equal(parcel!.listener, "listener");
  const arrived = Object.assign(new SocketFacts(socket), parcel!.facts);
  assert.deepEqual(
    [arrived.serverName, arrived.localRestored, arrived.metadata?.get("ns"), arrived.remoteIp],
    ["a.example", true, { a: 1 }, "127.0.0.1"],
  );
  assert.equal(await talk(parcel!, downstream), "early more");
});

test("what a lost worker did not take comes back, what it took does not", async (t) => {
  const { one, other, cut } = pair(t);
  const first = await accepted(t);
  one.peers.give(1, "listener", first.socket, null);
  await until(() => other.received.length === 1);
  const second = await accepted(t);
  const third = await accepted(t);
  // The other side ends before it hears of these.
  one.peers.give(1, "listener", second.socket, null);
  one.peers.give(1, "listener", third.socket, null);
  cut();
  await until(() => !one.peers.reachable(1));
  await until(() => other.received.length + one.returned.length === 3);
  const all = [...other.received, ...one.returned];
  assert.equal(new Set(all.map(({ descriptor }) => descriptor)).size, 3);
  const ends = [first, second, third];
  for (const parcel of all) {
    const socket = unpack(parcel);
    const end = ends.find(({ downstream }) => downstream.localPort === socket.remotePort)!;
    socket.end("here");
    const [answer] = (await once(end.downstream, "data")) as [Buffer];
    assert.equal(answer.toString(), "here");
    socket.destroy();
  }
});

test("the worker with the fewest is chosen, of equals the first; who cannot be reached is not", () => {
  const buffer = SocketCounts.room(4);
  const counts = new SocketCounts(buffer, 2);
  const cells = new Int32Array(buffer);
  const cases: readonly (readonly [before: number[], reachable: number[], chosen: number])[] = [
    [[0, 0, 0, 0], [0, 1, 3], 0],
    [[1, 1, 0, 0], [0, 1, 3], 2],
    [[1, 1, 1, 0], [0, 1, 3], 3],
    [[1, 0, 1, 0], [0, 1, 3], 1],
    [[0, 0, 5, 0], [], 2],
    [[0, 3, 5, 4], [1, 3], 1],
  ];
  for (const [before, reachable, chosen] of cases) {
    cells.set(before);
    assert.equal(
      counts.enterFewest((worker) => reachable.includes(worker)),
      chosen,
      before.join(),
    );
    assert.deepEqual([...cells], before.with(chosen, before[chosen]! + 1));
  }
  counts.undo(1);
  assert.equal(counts.total(), 0 + 3 + 5 + 4);
});
