/**
 * A plugin as a network filter of one connection: the context of that connection inside the plugin's instance.
 *
 * Life: context_create(id, root) and new_connection → data both ways → upstream_connection_close once the end of what
 * comes from upstream passes → downstream_connection_close → on_done → on_log → on_delete (Envoy's order for connections).
 * When the instance fails, the plugin's failure policy decides about the connection.
 */
import * as BufferType from "../../../abi/buffer.ts";
import * as Peer from "../../../abi/peer.ts";
import * as StreamType from "../../../abi/stream.ts";
import type { BodyBuffer } from "../../codec/body.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { NetworkStatus } from "../../network/filter.ts";
import type { FilterView, NetworkFilter } from "../../network/filter.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import type { StreamCallbacks } from "../instance/callbacks.ts";
import type { ActNotes, StreamFacts } from "../values/stream-properties.ts";
import { Pending } from "./context.ts";
import { applyConnectionPolicy } from "./failure-policy.ts";
import type { RootContext } from "./root-context.ts";
import { StreamContext } from "./stream-context.ts";

/** Where the connection stands, as bits. */
const State = {
  /** The guest was shown bytes and has not let them go on: it may read and change them. */
  DATA_SHOWN: 1,
  WRITE_SHOWN: 2,
  READS_PAUSED: 4,
  WRITES_PAUSED: 8,
  UPSTREAM_ENDED: 16,
  LOGGING: 32,
  /** The guest is told of the end, and then nothing more. */
  CLOSING: 64,
  DETACHED: 128,
} as const;

/** The connection; `acts` is there where two versions are compared. */
export type WatchedView = FilterView & { readonly acts?: ActNotes };

export class NetworkContext extends StreamContext implements NetworkFilter {
  readonly #view: WatchedView;
  #facts: ConnectionFacts | null = null;
  #state = 0;

  constructor(root: RootContext, view: WatchedView, callbacks: StreamCallbacks) {
    super(root, callbacks);
    this.#view = view;
  }

  protected override get attached(): boolean {
    return (this.#state & State.DETACHED) === 0;
  }
  protected override get running(): boolean {
    return (this.#state & (State.DETACHED | State.CLOSING)) === 0;
  }

  // ---- callbacks of the connection ------------------------------------------------------------

  onNewConnection(): number {
    if (!this.enter()) return this.#outcome();
    const callback = this.callbacks.newConnection;
    if (callback === null) return NetworkStatus.CONTINUE;
    const action = this.instance.call(this, callback, "proxy_on_new_connection", 0, 0);
    const status = this.#after(action, Pending.CONTINUE_REQUEST, State.READS_PAUSED);
    this.instance.settle();
    return status;
  }

  onData(bytes: BodyBuffer, endStream: boolean): number {
    if (!this.enter()) return this.#outcome();
    const callback = this.callbacks.downstreamData;
    if (callback === null) return NetworkStatus.CONTINUE;
    this.#state |= State.DATA_SHOWN;
    const action = this.instance.call(this, callback, "proxy_on_downstream_data", bytes.length, endStream ? 1 : 0);
    const status = this.#after(action, Pending.CONTINUE_REQUEST, State.READS_PAUSED);
    if (status === NetworkStatus.CONTINUE) this.#state &= ~State.DATA_SHOWN;
    this.instance.settle();
    return status;
  }

  onWrite(bytes: BodyBuffer, endStream: boolean): number {
    if (!this.enter()) return this.#outcome();
    const callback = this.callbacks.upstreamData;
    let status: number = NetworkStatus.CONTINUE;
    if (callback !== null) {
      this.#state |= State.WRITE_SHOWN;
      const action = this.instance.call(this, callback, "proxy_on_upstream_data", bytes.length, endStream ? 1 : 0);
      status = this.#after(action, Pending.CONTINUE_RESPONSE, State.WRITES_PAUSED);
      if (status === NetworkStatus.CONTINUE) this.#state &= ~State.WRITE_SHOWN;
    }
    if (endStream && this.attached) {
      this.#onUpstreamEnd();
      if (this.instance.failed) status = this.#outcome();
    }
    // What the guest let through before it asked to close is written first.
    if ((this.pending & Pending.CLOSE) !== 0 && status === NetworkStatus.CONTINUE)
      this.#view.injectWriteData(bytes.take(), endStream);
    this.instance.settle();
    return status;
  }

  /** Who ended it is not known here, as in Envoy. */
  #onUpstreamEnd(): void {
    const callback = this.callbacks.upstreamClose;
    if (callback === null || (this.#state & State.UPSTREAM_ENDED) !== 0 || this.instance.failed) return;
    this.#state |= State.UPSTREAM_ENDED;
    this.instance.call(this, callback, "proxy_on_upstream_connection_close", Peer.UNKNOWN, 0);
  }

  onClose(local: boolean): void {
    this.disarm();
    this.#state = (this.#state | State.CLOSING) & ~(State.DATA_SHOWN | State.WRITE_SHOWN);
    if (this.id !== 0 && this.attached) this.#tellEnd(local ? Peer.LOCAL : Peer.REMOTE);
    this.#state |= State.DETACHED;
    this.end(this.#view.stream);
  }

  #tellEnd(peer: number): void {
    const { instance } = this;
    const { downstreamClose, done, log, remove } = this.callbacks;
    if (downstreamClose !== null && !instance.failed)
      instance.call(this, downstreamClose, "proxy_on_downstream_connection_close", peer, 0);
    if (done !== null && !instance.failed) instance.call(this, done, "proxy_on_done", 0, 0);
    this.#state |= State.LOGGING;
    if (log !== null && !instance.failed) instance.call(this, log, "proxy_on_log", 0, 0);
    this.#state &= ~State.LOGGING;
    if (remove !== null && !instance.failed) instance.call(this, remove, "proxy_on_delete", 0, 0);
  }

  /** What an action comes to once the guest has returned: failure, close, a continue of its own. Any action but 0 holds. */
  #after(action: number, ownContinue: number, pausedBit: number): number {
    if (this.instance.failed) return this.#outcome();
    let status: number = action === 0 ? NetworkStatus.CONTINUE : NetworkStatus.STOP;
    if (this.pending !== 0) {
      const closes = (this.pending & Pending.CLOSE) !== 0;
      if ((this.pending & ownContinue) !== 0) status = NetworkStatus.CONTINUE;
      this.pending &= ~ownContinue;
      // What it holds is lost when the connection closes.
      if (closes && status === NetworkStatus.STOP) return status;
    }
    if (status === NetworkStatus.STOP) this.#state |= pausedBit;
    else this.#state &= ~pausedBit;
    return status;
  }

  // ---- what host functions see ----------------------------------------------------------------

  override get facts(): StreamFacts | null {
    if (!this.attached) return null;
    return (this.#facts ??= new ConnectionFacts(this.#view));
  }

  override get logging(): boolean {
    return (this.#state & State.LOGGING) !== 0;
  }

  override body(type: number): BodyBuffer | null {
    if (!this.running) return null;
    if (type === BufferType.DOWNSTREAM_DATA) return (this.#state & State.DATA_SHOWN) === 0 ? null : this.#view.heldData;
    if (type === BufferType.UPSTREAM_DATA) return (this.#state & State.WRITE_SHOWN) === 0 ? null : this.#view.heldWrite;
    return null;
  }

  override continuation(type: number): number {
    if (!this.running) return 0;
    if (type === StreamType.DOWNSTREAM) return Pending.CONTINUE_REQUEST;
    return type === StreamType.UPSTREAM ? Pending.CONTINUE_RESPONSE : 0;
  }

  override closable(type: number): boolean {
    return this.running && type >= StreamType.DOWNSTREAM;
  }

  // ---- deferred actions and failure -----------------------------------------------------------

  override perform(): void {
    const { pending } = this;
    this.pending = 0;
    if (!this.running) return;
    if ((pending & Pending.CLOSE) !== 0) {
      this.#state &= ~(State.READS_PAUSED | State.WRITES_PAUSED);
      this.#view.close(0, "wasm_close_stream");
      return;
    }
    if ((pending & Pending.CONTINUE_REQUEST) !== 0) this.#continueReading();
    if ((pending & Pending.CONTINUE_RESPONSE) !== 0 && this.running) this.#continueWriting();
  }

  #continueReading(): void {
    this.#state &= ~(State.READS_PAUSED | State.DATA_SHOWN);
    this.#view.continueReading();
  }

  #continueWriting(): void {
    this.#state &= ~(State.WRITES_PAUSED | State.WRITE_SHOWN);
    this.#view.continueWriting();
  }

  /** The instance is dead. Connections that wait for the guest get the policy now, others at their next event. */
  override orphan(): void {
    this.disarm();
    this.pending = 0;
    const paused = this.#state & (State.READS_PAUSED | State.WRITES_PAUSED);
    if (paused === 0 || (this.#state & State.CLOSING) !== 0) return;
    if (this.#outcome() !== NetworkStatus.CONTINUE) return;
    if ((paused & State.READS_PAUSED) !== 0) this.#continueReading();
    if ((paused & State.WRITES_PAUSED) !== 0) this.#continueWriting();
  }

  /** Applies the failure policy once: from then on the connection goes on without this filter, or is being closed. */
  #outcome(): number {
    if (!this.attached) return NetworkStatus.CONTINUE;
    this.#state |= State.DETACHED;
    const goesOn = applyConnectionPolicy(this.root.plugin, this.#view, this.instance.failureReason);
    return goesOn ? NetworkStatus.CONTINUE : NetworkStatus.STOP;
  }
}

/** A connection as the source of properties. */
class ConnectionFacts implements StreamFacts {
  readonly acts?: ActNotes;
  readonly requestHeaders: HeaderMap | null = null;
  readonly responseHeaders: HeaderMap | null = null;
  readonly responseTrailers: HeaderMap | null = null;
  readonly #view: FilterView;

  constructor(view: WatchedView) {
    this.#view = view;
    if (view.acts !== undefined) this.acts = view.acts;
  }
  get info(): StreamInfo {
    return this.#view.stream;
  }
  /** Routes are of HTTP. */
  resolveRoute(): void {}
}
