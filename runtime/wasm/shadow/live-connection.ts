/** A connection as the live one of two network filters sees it: everything is passed on, and what it lets through is noted. */
import type { BodyBuffer } from "../../codec/body.ts";
import { NetworkStatus } from "../../network/filter.ts";
import type { FilterView } from "../../network/filter.ts";
import type { ConnectionInfo, StreamInfo } from "../../observe/stream-info.ts";
import type { Acts } from "./acts.ts";
import { Decision } from "./decision.ts";
import type { Passage } from "./passage.ts";

/** One direction: which of its bytes the filter holds. */
class Course {
  readonly #passage: Passage;
  /** Bytes that it was shown and holds: they come again with the next ones. */
  heldBytes = 0;
  #ended = false;
  #busy = false;
  #resumed = false;

  constructor(passage: Passage) {
    this.#passage = passage;
  }

  call(callback: () => number, bytes: BodyBuffer, endStream: boolean): number {
    this.#ended ||= endStream;
    this.#busy = true;
    this.#resumed = false;
    const status = callback();
    this.#busy = false;
    if (status === NetworkStatus.CONTINUE || this.#resumed) this.#pass(bytes);
    else this.heldBytes = bytes.length;
    return status;
  }

  /** It lets go on what is held for it. */
  resume(held: BodyBuffer): void {
    if (this.#busy) this.#resumed = true;
    else if (this.heldBytes > 0 || this.#ended) this.#pass(held);
  }

  /** Bytes of its own. */
  inject(data: Buffer, endStream: boolean): void {
    this.#passage.passBody(data);
    if (endStream) this.#passage.passEnd(null);
  }

  #pass(bytes: BodyBuffer): void {
    this.#passage.passBody(bytes.bytes());
    this.heldBytes = 0;
    if (this.#ended) this.#passage.passEnd(null);
  }
}

export class LiveConnection implements FilterView {
  readonly decision = new Decision();
  readonly reads = new Course(this.decision.request);
  readonly writes = new Course(this.decision.response);
  readonly #view: FilterView;

  constructor(view: FilterView) {
    this.#view = view;
  }

  get acts(): Acts {
    return this.decision.acts;
  }

  continueReading(): void {
    this.reads.resume(this.#view.heldData);
    this.#view.continueReading();
  }
  continueWriting(): void {
    this.writes.resume(this.#view.heldWrite);
    this.#view.continueWriting();
  }
  injectReadData(data: Buffer, endStream: boolean): void {
    this.reads.inject(data, endStream);
    this.#view.injectReadData(data, endStream);
  }
  injectWriteData(data: Buffer, endStream: boolean): boolean {
    this.writes.inject(data, endStream);
    return this.#view.injectWriteData(data, endStream);
  }
  write(data: Buffer | string): boolean {
    return this.injectWriteData(typeof data === "string" ? Buffer.from(data, "latin1") : data, false);
  }
  writeLent(data: Buffer): boolean {
    this.writes.inject(data, false);
    return this.#view.writeLent(data);
  }
  endWrite(): void {
    this.decision.response.passEnd(null);
    this.#view.endWrite();
  }
  close(delayedMs: number, reason?: string): void {
    this.decision.reset = true;
    this.#view.close(delayedMs, reason);
  }
  closeNow(reason?: string): void {
    this.decision.reset = true;
    this.#view.closeNow(reason);
  }
  reset(reason?: string): void {
    this.decision.reset = true;
    this.#view.reset(reason);
  }

  get info(): ConnectionInfo {
    return this.#view.info;
  }
  get stream(): StreamInfo {
    return this.#view.stream;
  }
  get closed(): boolean {
    return this.#view.closed;
  }
  get resetByPeer(): boolean {
    return this.#view.resetByPeer;
  }
  get unsentBytes(): number {
    return this.#view.unsentBytes;
  }
  get heldData(): BodyBuffer {
    return this.#view.heldData;
  }
  get heldWrite(): BodyBuffer {
    return this.#view.heldWrite;
  }
  pauseReading(): void {
    this.#view.pauseReading();
  }
  resumeReading(): void {
    this.#view.resumeReading();
  }
}
