/**
 * Random guests × random peers, from seeds: whatever guests do and whenever peers leave, streams end once, nothing
 * stays armed or counted, both wires carry only well-framed messages, and no byte of one request meets another's.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { cluster, fixedOrigin, forward, origin, route } from "../http/engine.ts";
import type { Origin } from "../http/engine.ts";
import { RecordingStats } from "../wasm/stage.ts";
import { byteOf, Dice, GUEST_BYTE, randomPart, randomRequest, randomResponse } from "./schedule.ts";
import { armedDeadlines, Troupe, until } from "./troupe.ts";
import { field, Reader } from "./wire.ts";
import type { Message } from "./wire.ts";

const SCHEDULES = Number(process.env["SLUICE_SCHEDULES"] ?? 40);
const FIRST = Number(process.env["SLUICE_SEED"] ?? 1);
const CONNECTIONS = 4;

/** A body holds its own request's bytes and what guests wrote, nothing else. */
function assertOwn(message: Message, id: string | undefined): void {
  if (id === undefined) return;
  const own = byteOf(Number(id));
  for (const char of new Set(message.body)) {
    assert.ok(char === own || char === GUEST_BYTE, `a byte ${char} in the body of ${id}: ${message.start}`);
  }
}

function assertClean(message: Message): void {
  for (const [name] of [...message.fields, ...message.trailers]) assert.notEqual(name, "x-injected");
}

class Peers {
  readonly dice: Dice;
  readonly errors: unknown[] = [];
  origin!: Origin;

  constructor(dice: Dice) {
    this.dice = dice;
  }

  async start(): Promise<void> {
    this.origin = await origin((socket) => this.#serve(socket));
  }

  #serve(socket: Socket): void {
    const { dice } = this;
    const reader = new Reader(true);
    let answered = 0;
    socket.on("data", (data: Buffer) => {
      try {
        reader.add(data.toString("latin1"));
      } catch (error) {
        this.errors.push(error);
      }
      if (dice.chance(0.04)) {
        if (dice.chance(0.5)) socket.resetAndDestroy();
        else socket.destroy();
        return;
      }
      for (; answered < reader.messages.length; answered++) this.#answer(socket, reader.messages[answered]!);
      // Sometimes an answer comes before the request is whole.
      const early = /^\S+ \S+ HTTP\/1\.1\r\n(?:[^\r]+\r\n)*x-id: (\d+)/.exec(reader.rest);
      if (early !== null && dice.chance(0.05)) {
        void this.#send(socket, randomResponse(dice, Number(early[1]), "POST"));
        socket.removeAllListeners("data").resume();
      }
    });
  }

  #answer(socket: Socket, message: Message): void {
    try {
      assertClean(message);
      assertOwn(message, field(message, "x-id"));
    } catch (error) {
      this.errors.push(error);
    }
    const method = message.start.slice(0, message.start.indexOf(" "));
    void this.#send(socket, randomResponse(this.dice, Number(field(message, "x-id")), method));
  }

  async #send(socket: Socket, response: { text: string; close: boolean }): Promise<void> {
    await this.write(socket, response.text);
    if (response.close) socket.end();
  }

  /** In pieces, with pauses; sometimes the writer gives up in the middle. */
  async write(socket: Socket, text: string): Promise<void> {
    const { dice } = this;
    const cuts = dice.pick([0, 0, 0, 1, 3]);
    let rest = text;
    for (let cut = 0; cut < cuts; cut++) {
      const at = dice.below(Math.min(rest.length, 400));
      socket.write(rest.slice(0, at), "latin1");
      rest = rest.slice(at);
      await sleep(dice.below(4));
      if (dice.chance(0.08)) {
        if (dice.chance(0.5)) socket.resetAndDestroy();
        else socket.destroy();
        return;
      }
    }
    if (!socket.destroyed) socket.write(rest, "latin1");
  }

  /** One downstream connection: requests, some of them pipelined, until all is answered or patience ends. */
  async visit(port: number, first: number): Promise<void> {
    const { dice } = this;
    const requests = Array.from({ length: 1 + dice.below(4) }, (_, n) => randomRequest(dice, first + n));
    const reader = new Reader(
      false,
      requests.map((one) => one.method),
    );
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    await once(socket, "connect");
    let resolveDone = (): void => {};
    const done = new Promise<void>((resolve) => (resolveDone = resolve));
    socket.on("data", (data: Buffer) => {
      try {
        reader.add(data.toString("latin1"));
      } catch (error) {
        this.errors.push(error);
      }
      if (reader.messages.length === requests.length) resolveDone();
    });
    socket.on("close", resolveDone);
    if (dice.chance(0.5)) await this.write(socket, requests.map((one) => one.text).join(""));
    else for (const one of requests) await this.write(socket, one.text);
    await Promise.race([done, sleep(dice.pick([5, 60, 60]))]);
    socket.destroy();
    reader.messages.forEach((message, n) => {
      assertClean(message);
      const id = field(message, "x-id");
      if (id !== undefined) assert.equal(Number(id), requests[n]!.id, "the answer to another request");
      assertOwn(message, id);
    });
  }
}

async function play(seed: number, callPort: number): Promise<void> {
  const dice = new Dice(seed);
  const calls = new ClusterSet([cluster("calls", [callPort])], new RecordingStats());
  await calls.start();
  const peers = new Peers(dice);
  await peers.start();
  const requestOnly = dice.chance(0.3);
  const parts = Array.from({ length: 1 + dice.below(3) }, () => randomPart(dice, requestOnly));
  const troupe = await Troupe.start(parts, {
    routes: [route("/", forward("up", { timeoutMs: dice.pick([0, 30, 15_000]) }))],
    clusters: [cluster("up", [peers.origin.port])],
    upstreams: calls,
    bufferLimitBytes: dice.pick([1000, 65_536]),
    manager: { enableTrailers: dice.chance(0.5), streamIdleTimeoutMs: dice.pick([40, 300]) },
  });
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, n) => peers.visit(troupe.engine.port, n * 6)));
    await troupe.quiet();
    assert.deepEqual(peers.errors, []);
  } finally {
    troupe.close();
    calls.close();
    await peers.origin.close();
  }
  await until(() => armedDeadlines().length === 0);
  assert.deepEqual(
    armedDeadlines().map((one) => one.constructor.name),
    [],
    "deadlines armed after the end",
  );
}

describe("random schedules", async () => {
  const callOrigin = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  after(() => callOrigin.close());
  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) test(`seed ${seed}`, () => play(seed, callOrigin.port));
});
