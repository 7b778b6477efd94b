/** A copy of a connection for a network filter whose acts have no effect. Once it has closed it the filter is not called. */
import { BodyBuffer } from "../../codec/body.ts";
import { NetworkStatus } from "../../network/filter.ts";
import type { FilterView } from "../../network/filter.ts";
import { SHADOW_BODY_BYTES } from "../../limits.ts";
import type { ConnectionInfo } from "../../observe/stream-info.ts";
import type { Acts } from "./acts.ts";
import { Decision } from "./decision.ts";
import type { Passage } from "./passage.ts";
import { ShadowInfo } from "./shadow-info.ts";

/** One direction as the filter is shown it. */
class Course {
  readonly held = new BodyBuffer();
  readonly #passage: Passage;
  #stopped = false;
  #ended = false;
  #busy = false;
  #resumed = false;
  /** It holds more than a shadow may: nothing more is shown. */
  cut = false;

  constructor(passage: Passage) {
    this.#passage = passage;
  }

  /** Something waits for the filter, or is not shown to it any more. */
  get waits(): boolean {
    return this.cut || this.#stopped;
  }

  show(callback: (bytes: BodyBuffer, endStream: boolean) => number, data: Uint8Array, endStream: boolean): void {
    this.held.append(Buffer.from(data));
    this.#ended ||= endStream;
    this.answered(() => callback(this.held, this.#ended));
  }

  answered(callback: () => number): void {
    this.#busy = true;
    this.#resumed = false;
    const status = callback();
    this.#busy = false;
    this.#stopped = status !== NetworkStatus.CONTINUE && !this.#resumed;
    if (!this.#stopped) this.#pass();
    else if (this.held.length > SHADOW_BODY_BYTES) {
      this.cut = true;
      this.held.take();
    }
  }

  resume(): void {
    if (this.#busy) this.#resumed = true;
    else if (this.#stopped) {
      this.#stopped = false;
      this.#pass();
    }
  }

  inject(data: Buffer, endStream: boolean): void {
    this.#passage.passBody(data);
    if (endStream) this.#passage.passEnd(null);
  }

  #pass(): void {
    this.#passage.passBody(this.held.take());
    if (this.#ended) this.#passage.passEnd(null);
  }
}

export class ShadowConnection implements FilterView {
  readonly decision = new Decision();
  readonly reads = new Course(this.decision.request);
  readonly writes = new Course(this.decision.response);
  readonly stream: ShadowInfo;
  readonly #view: FilterView;

  constructor(view: FilterView) {
    this.#view = view;
    this.stream = ShadowInfo.of(view.stream);
  }

  refresh(): void {
    this.stream.follow(this.#view.stream);
  }

  /** Something was not decided when the connection ended. */
  get waits(): boolean {
    return !this.decision.reset && (this.reads.waits || this.writes.waits);
  }
  get acts(): Acts {
    return this.decision.acts;
  }
  get info(): ConnectionInfo {
    return this.#view.info;
  }
  get closed(): boolean {
    return this.decision.reset || this.#view.closed;
  }
  get resetByPeer(): boolean {
    return this.#view.resetByPeer;
  }
  get unsentBytes(): number {
    return this.#view.unsentBytes;
  }
  get heldData(): BodyBuffer {
    return this.reads.held;
  }
  get heldWrite(): BodyBuffer {
    return this.writes.held;
  }

  continueReading(): void {
    this.reads.resume();
  }
  continueWriting(): void {
    this.writes.resume();
  }
  injectReadData(data: Buffer, endStream: boolean): void {
    if (!this.closed) this.reads.inject(data, endStream);
  }
  injectWriteData(data: Buffer, endStream: boolean): boolean {
    if (!this.closed) this.writes.inject(data, endStream);
    return true;
  }
  write(data: Buffer | string): boolean {
    return this.injectWriteData(typeof data === "string" ? Buffer.from(data, "latin1") : data, false);
  }
  writeLent(data: Buffer): boolean {
    return this.injectWriteData(data, false);
  }
  endWrite(): void {
    this.decision.response.passEnd(null);
  }
  close(): void {
    this.decision.reset = true;
  }
  closeNow(): void {
    this.decision.reset = true;
  }
  reset(): void {
    this.decision.reset = true;
  }
  pauseReading(): void {}
  resumeReading(): void {}
}
