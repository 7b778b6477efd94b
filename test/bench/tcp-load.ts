/**
 * Both ends of the TCP benchmark in one process: downstream peers and the origin behind the proxy. Started once;
 * each line on stdin is one run (`down`, `up` or `echo`, port of the proxy, connections, milliseconds), answered by
 * one line with the bytes or messages that arrived and the milliseconds it took.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const PIECE = Buffer.alloc(256 * 1024, "sluice ");
const MESSAGE = Buffer.alloc(64, "m");

/** What arrived in the current run: bytes, or messages of `echo`. */
let arrived = 0;
let mode = "down";
const open = new Set<Socket>();

function pour(socket: Socket): void {
  const more = (): void => {
    while (!socket.destroyed && socket.write(PIECE));
  };
  socket.on("drain", more);
  more();
}

function count(data: Buffer): void {
  arrived += data.length;
}

function keep(socket: Socket): void {
  open.add(socket);
  socket.on("close", () => open.delete(socket));
  socket.on("error", () => socket.destroy());
}

const origin = createServer({ noDelay: true, highWaterMark: PIECE.length }, (socket) => {
  keep(socket);
  if (mode === "down") pour(socket.resume());
  else if (mode === "up") socket.on("data", count);
  else socket.on("data", (data) => socket.write(data));
});

async function peer(port: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  keep(socket);
  await once(socket, "connect");
  if (mode === "down") socket.on("data", count);
  else if (mode === "up") pour(socket.resume());
  else {
    socket.on("data", () => {
      arrived += 1;
      socket.write(MESSAGE);
    });
    socket.write(MESSAGE);
  }
}

async function run(line: string): Promise<void> {
  const [wanted = "", port, connections, ms] = line.split(" ");
  mode = wanted;
  arrived = 0;
  await Promise.all(Array.from({ length: Number(connections) }, () => peer(Number(port))));
  const start = performance.now();
  await delay(Number(ms));
  // On a machine that does much else nothing may have come through yet.
  while (arrived === 0) await delay(1);
  const seen = arrived;
  const took = performance.now() - start;
  for (const socket of open) socket.resetAndDestroy();
  while (open.size > 0) await delay(1);
  console.log(JSON.stringify({ arrived: seen, ms: took }));
}

origin.listen(0, "127.0.0.1");
await once(origin, "listening");
console.log(String((origin.address() as AddressInfo).port));
for await (const line of createInterface(process.stdin)) await run(line);
process.exit(0);
