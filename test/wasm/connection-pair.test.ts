/**
 * Network filters that do anything by chance: with a shadow beside it a filter does to a connection what it does without;
 * and a shadow that does the same as the live one is found to differ in nothing.
 */
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import type { BodyBuffer } from "../../runtime/codec/body.ts";
import { SHADOW_BODY_BYTES } from "../../runtime/limits.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type { FilterView, NetworkFilter } from "../../runtime/network/filter.ts";
import { MemoryConnection } from "../../runtime/testkit/memory-connection.ts";
import { ConnectionPair } from "../../runtime/wasm/shadow/connection-pair.ts";
import type { Difference } from "../../runtime/wasm/shadow/decision.ts";
import { ShadowExamples } from "../../runtime/wasm/shadow/examples.ts";
import { generator } from "../fuzz/random.ts";
import type { Random } from "../fuzz/random.ts";
import { connectionSample } from "../observe/stream-sample.ts";

type Make = (view: FilterView) => NetworkFilter;

/** At each event it draws what to do; only the events of its own connection move its generator. */
class Scripted implements NetworkFilter {
  readonly #random: Random;
  readonly #view: FilterView;
  #over = false;

  constructor(seed: number, view: FilterView) {
    this.#random = generator(seed);
    this.#view = view;
  }
  onNewConnection(): number {
    return this.#answer(() => this.#view.continueReading());
  }
  onData(bytes: BodyBuffer): number {
    if (this.#random(12) === 0) this.#view.injectReadData(Buffer.from("<in>"), false);
    this.#edit(bytes);
    return this.#answer(() => this.#view.continueReading());
  }
  onWrite(bytes: BodyBuffer): number {
    if (this.#random(12) === 0) this.#view.injectWriteData(Buffer.from("<out>"), false);
    this.#edit(bytes);
    return this.#answer(() => this.#view.continueWriting());
  }
  onClose(): void {
    this.#over = true;
  }

  #edit(bytes: BodyBuffer): void {
    const what = this.#random(4);
    if (what === 0) bytes.splice(bytes.length, 0, Buffer.from("+"));
    if (what === 1) bytes.splice(0, 1, Buffer.from(""));
  }
  #answer(goOn: () => void): number {
    if (this.#random(25) === 0) {
      this.#view.close(0, "scripted");
      return NetworkStatus.STOP;
    }
    const what = this.#random(5);
    if (what === 0) goOn();
    if (what === 1) setImmediate(() => this.#over || goOn());
    return what < 3 && what !== 2 ? NetworkStatus.STOP : NetworkStatus.CONTINUE;
  }
}

const differences: Difference[] = [];
const examples = new ShadowExamples();
const outcomes = { trial: { shadowed: (one: Difference) => void differences.push(one) }, examples };

function paired(live: Make, shadow: Make): Make {
  return (view) => new ConnectionPair(view, live, shadow, outcomes);
}

function open(make: Make): MemoryConnection {
  const factory = { name: "scripted", terminal: false, reads: true, writes: true, create: make } as const;
  const info = { ...connectionSample("127.0.0.1:5555", "127.0.0.1:10000"), closers: [] };
  return new MemoryConnection(factory, info).open();
}

async function played(seed: number, make: Make): Promise<unknown> {
  const random = generator(seed + 7_000_000);
  const connection = open(make);
  for (let n = 0; n < 12; n++) {
    const text = "abcdefgh".slice(0, 1 + random(8));
    if (random(2) === 0) connection.data(text, n === 11);
    else connection.answer(text);
    if (random(2) === 0) await turn();
  }
  await turn();
  connection.finish();
  const { upstream, downstream, events, known } = connection;
  return { upstream, downstream, events, known };
}

test("a shadow is not seen, and an equal one differs in nothing", async () => {
  let told = 0;
  for (let seed = 1; seed <= 500; seed++) {
    const live: Make = (view) => new Scripted(seed, view);
    const other: Make = (view) => new Scripted(seed + 1_000_000, view);
    const alone = await played(seed, live);
    differences.length = 0;
    assert.deepEqual(await played(seed, paired(live, other)), alone, `seed ${seed}`);
    told += differences[0]!.kinds.length;
    differences.length = 0;
    assert.deepEqual(await played(seed, paired(live, live)), alone, `seed ${seed}`);
    assert.deepEqual(differences[0]!.kinds, [], `seed ${seed}: ${differences[0]!.text}`);
  }
  assert.ok(told > 300, `${told} differences`);
});

/** Lets everything through but what is overridden. */
class Plain implements NetworkFilter {
  readonly #data: (bytes: BodyBuffer) => number;
  constructor(data: (bytes: BodyBuffer) => number = () => NetworkStatus.CONTINUE) {
    this.#data = data;
  }
  onNewConnection(): number {
    return NetworkStatus.CONTINUE;
  }
  onData(bytes: BodyBuffer): number {
    return this.#data(bytes);
  }
  onWrite(): number {
    return NetworkStatus.CONTINUE;
  }
  onClose(): void {}
}

test("what differs is told; a shadow that holds too much has decided nothing, and holds no more", () => {
  const plain: Make = () => new Plain();
  const said = (shadow: Make, bytes = "hello"): Difference => {
    differences.length = 0;
    open(paired(plain, shadow)).data(bytes).answer("hi").finish();
    return differences[0]!;
  };
  assert.deepEqual(said(plain), { kinds: [], undecided: false, text: "" });
  const closes: Make = (view) => new Plain(() => (view.close(0), NetworkStatus.STOP));
  assert.deepEqual(said(closes), {
    kinds: ["local_replies"],
    undecided: false,
    text: "does not close it, shadow does",
  });
  const adds: Make = () => new Plain((bytes) => (bytes.splice(0, 0, Buffer.from("12")), NetworkStatus.CONTINUE));
  assert.deepEqual(said(adds), {
    kinds: ["bodies"],
    undecided: false,
    text: "5 bytes from downstream, shadow 7 bytes",
  });
  assert.match(examples.last.at(-1)!.of, /^connection \d+$/);
  let seen = 0;
  const holds: Make = () => new Plain((bytes) => ((seen = bytes.length), NetworkStatus.STOP));
  assert.deepEqual(said(holds), { kinds: [], undecided: true, text: "" });
  const connection = open(paired(plain, holds));
  const piece = "x".repeat(SHADOW_BODY_BYTES / 4);
  for (let n = 0; n < 10; n++) connection.data(piece);
  connection.finish();
  assert.equal(seen, SHADOW_BODY_BYTES + piece.length);
  assert.equal(connection.upstream.length, 10 * piece.length);
});
