/**
 * The listener filters of one accepted socket, one after the other. Bytes that they looked at go back into the
 * socket, so that whoever reads it next finds them. Life: run → (more bytes)* → passed, or refused.
 */
import type { Socket } from "node:net";
import type { ListenerConfig } from "../config/snapshot.ts";
import { MAX_LISTENER_FILTER_BYTES } from "../limits.ts";
import type { Counter, Gauge, Stats } from "../observe/stats.ts";
import { Alarm } from "../timers.ts";
import { Verdict } from "./listener-filter.ts";
import type { ListenerFilter, SocketFacts } from "./listener-filter.ts";
import type { ConfiguredFilter } from "./listener-filters.ts";
import { startReading, stopReading } from "./read-buffer.ts";

/** Whose socket it is. */
export interface SocketOwner {
  /** The filters are done with it. */
  onFiltered(socket: Socket, facts: SocketFacts): void;
  /** It is closed: a filter, the peer or the timeout ended it. */
  onRefused(): void;
}

/** What a pipeline is made of, besides the configuration of its listener. */
export interface PipelineOptions {
  readonly filters: readonly ConfiguredFilter[];
  /** Why a socket was refused. */
  readonly log: (message: string) => void;
}

/** The listener filters of a listener. */
export class FilterPipeline {
  readonly #filters: readonly ConfiguredFilter[];
  readonly timeoutMs: number;
  readonly continueOnTimeout: boolean;
  readonly active: Gauge;
  readonly timeouts: Counter;
  readonly errors: Counter;
  readonly remoteCloses: Counter;
  readonly log: (message: string) => void;
  readonly #waiting = new Set<PendingSocket>();

  constructor(config: ListenerConfig, stats: Stats, { filters, log }: PipelineOptions) {
    const scope = `listener.${config.statPrefix}.`;
    this.#filters = filters;
    this.timeoutMs = config.listenerFiltersTimeoutMs;
    this.continueOnTimeout = config.continueOnListenerFiltersTimeout;
    this.active = stats.gauge(`${scope}downstream_pre_cx_active`);
    this.timeouts = stats.counter(`${scope}downstream_pre_cx_timeout`);
    this.errors = stats.counter(`${scope}downstream_listener_filter_error`);
    this.remoteCloses = stats.counter(`${scope}downstream_listener_filter_remote_close`);
    this.log = (message) => log(`listener ${config.name}: ${message}`);
  }

  /** Runs the filters; the owner is told of their end, within this call if none waits. */
  run(socket: Socket, facts: SocketFacts, owner: SocketOwner): void {
    if (facts.nameless) {
      // What it has sent could be read still, and no rule about addresses would know whose it is.
      socket.destroy();
      owner.onRefused();
    } else if (this.#filters.length === 0) owner.onFiltered(socket, facts);
    else new PendingSocket(this, socket, facts, owner).advance();
  }

  /** The next filter for a socket from place `at` on, or undefined after the last one. */
  next(facts: SocketFacts, at: number): { readonly filter: ListenerFilter; readonly at: number } | undefined {
    for (let place = at; place < this.#filters.length; place++) {
      const { factory, disabled } = this.#filters[place]!;
      if (disabled === null || !disabled(facts)) return { filter: factory.create(), at: place };
    }
    return undefined;
  }

  /** A socket waits for bytes, or no longer. */
  note(socket: PendingSocket, waiting: boolean): void {
    if (waiting) this.#waiting.add(socket);
    else this.#waiting.delete(socket);
  }

  /** Closes every socket that waits. */
  close(): void {
    for (const socket of this.#waiting) socket.refuse(null, "");
  }
}

class PendingSocket {
  readonly #pipeline: FilterPipeline;
  readonly #socket: Socket;
  readonly #facts: SocketFacts;
  readonly #owner: SocketOwner;
  #at = 0;
  /** The filter that waits for bytes. */
  #current: ListenerFilter | null = null;
  #bytes: Buffer = NO_BYTES;
  #alarm: Alarm | null = null;
  #reading = false;
  readonly #onBytes = (data: Buffer): void => this.#onData(data);
  readonly #onEnd = (): void => this.refuse(this.#pipeline.remoteCloses, "");
  readonly #onError = (error: Error): void => this.refuse(this.#pipeline.errors, error.message);

  constructor(pipeline: FilterPipeline, socket: Socket, facts: SocketFacts, owner: SocketOwner) {
    this.#pipeline = pipeline;
    this.#socket = socket;
    this.#facts = facts;
    this.#owner = owner;
    pipeline.active.inc();
  }

  /** Runs filters until one waits, one refuses, or all are done. */
  advance(): void {
    for (;;) {
      const next = this.#pipeline.next(this.#facts, this.#at);
      if (next === undefined) break;
      this.#at = next.at + 1;
      const { filter } = next;
      let verdict = filter.onAccept(this.#facts, this.#socket);
      if (verdict === Verdict.NEED_MORE && this.#bytes.length > 0) verdict = this.#show(filter);
      if (verdict === Verdict.CLOSE) return this.refuse(null, this.#facts.failure);
      if (verdict === Verdict.NEED_MORE) return this.#wait(filter);
    }
    this.#pass();
  }

  #show(filter: ListenerFilter): Verdict {
    const verdict = filter.onData(this.#facts, this.#bytes);
    const consumed = this.#facts.takeConsumed();
    if (consumed > 0) this.#bytes = this.#bytes.subarray(consumed);
    const limit = Math.min(filter.maxReadBytes, MAX_LISTENER_FILTER_BYTES);
    if (verdict !== Verdict.NEED_MORE || this.#bytes.length < limit) return verdict;
    this.#pipeline.errors.inc();
    this.#facts.failure = `no decision after ${this.#bytes.length} bytes`;
    return Verdict.CLOSE;
  }

  #wait(filter: ListenerFilter): void {
    this.#current = filter;
    if (this.#reading) return;
    this.#reading = true;
    const socket = this.#socket;
    const { timeoutMs } = this.#pipeline;
    if (timeoutMs > 0) {
      this.#alarm = new Alarm(() => this.#onTimeout());
      this.#alarm.arm(timeoutMs);
    }
    this.#pipeline.note(this, true);
    socket.on("data", this.#onBytes).on("end", this.#onEnd).on("error", this.#onError).on("close", this.#onEnd);
    startReading(socket);
  }

  #onData(data: Buffer): void {
    const filter = this.#current!;
    this.#bytes = this.#bytes.length === 0 ? data : Buffer.concat([this.#bytes, data]);
    const verdict = this.#show(filter);
    if (verdict === Verdict.NEED_MORE) return;
    this.#current = null;
    if (verdict === Verdict.CLOSE) this.refuse(null, this.#facts.failure);
    else this.advance();
  }

  #onTimeout(): void {
    this.#pipeline.timeouts.inc();
    if (!this.#pipeline.continueOnTimeout) return this.refuse(null, "");
    // Goes on with what is known: filters that did not run yet are left out, as in Envoy.
    this.#current?.onAbort?.(this.#facts);
    this.#current = null;
    this.#pass();
  }

  #pass(): void {
    this.#settle();
    const socket = this.#socket;
    if (this.#bytes.length > 0) socket.unshift(this.#bytes);
    this.#owner.onFiltered(socket, this.#facts);
  }

  /** Ends the socket: `counter` says whose doing it was, `why` is logged unless it is "". */
  refuse(counter: Counter | null, why: string): void {
    counter?.inc();
    if (why !== "") this.#pipeline.log(`closed a connection before its filter chain was chosen: ${why}`);
    this.#current?.onAbort?.(this.#facts);
    this.#current = null;
    this.#settle();
    this.#socket.on("error", noop);
    this.#socket.destroy();
    this.#owner.onRefused();
  }

  #settle(): void {
    this.#alarm?.disarm();
    this.#pipeline.active.dec();
    if (!this.#reading) return;
    this.#pipeline.note(this, false);
    const socket = this.#socket;
    stopReading(socket);
    socket.off("data", this.#onBytes).off("end", this.#onEnd).off("error", this.#onError).off("close", this.#onEnd);
  }
}

const NO_BYTES = Buffer.alloc(0);
function noop(): void {}
