/** Peaceful clients in a thread of their own: one on one connection, one with a new one every time, one over TLS. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { workerData } from "node:worker_threads";
import { PeaceCell, type PeaceWanted } from "./net-peace-cells.ts";

const REQUEST = "GET /small HTTP/1.1\r\nhost: a.test\r\n\r\n";
/** Milliseconds between two requests. */
const PAUSE_MS = 5;

class Peace {
  readonly #wanted: PeaceWanted;
  readonly #cells: Int32Array;

  constructor(wanted: PeaceWanted) {
    this.#wanted = wanted;
    this.#cells = new Int32Array(wanted.cells);
  }

  async keep(): Promise<void> {
    const { plain, secure } = this.#wanted;
    const options = { port: secure, host: "127.0.0.1", servername: "a.test", rejectUnauthorized: false };
    await Promise.all([
      this.#askOnOne(),
      this.#askAnew(async () => connect(plain, "127.0.0.1")),
      this.#askAnew(async () => {
        const socket = connectTls(options);
        await once(socket, "secureConnect");
        return socket;
      }),
    ]);
  }

  get #over(): boolean {
    return Atomics.load(this.#cells, PeaceCell.STOP) === 1;
  }

  async #askAnew(open: () => Promise<Socket>): Promise<void> {
    while (!this.#over) {
      const socket = await open();
      await this.#ask(socket);
      socket.destroy();
      await sleep(PAUSE_MS);
    }
  }

  async #askOnOne(): Promise<void> {
    const socket = connect(this.#wanted.plain, "127.0.0.1");
    while (!this.#over) {
      await this.#ask(socket);
      await sleep(PAUSE_MS);
    }
    socket.destroy();
  }

  /** Rejects when the answer is not the right one. */
  async #ask(socket: Socket): Promise<void> {
    const began = performance.now();
    socket.write(REQUEST);
    const answer = await new Promise<string>((resolve) => {
      socket.once("data", (data: Buffer) => resolve(data.toString("latin1")));
      socket.once("close", () => resolve("nothing"));
    });
    socket.removeAllListeners("close");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*small$/);
    const took = Math.round((performance.now() - began) * 1000);
    Atomics.add(this.#cells, PeaceCell.ANSWERS, 1);
    if (took > Atomics.load(this.#cells, PeaceCell.SLOWEST)) Atomics.store(this.#cells, PeaceCell.SLOWEST, took);
  }
}

await new Peace(workerData as PeaceWanted).keep();
