/** What contexts of HTTP streams and of connections have in common: an instance, a first call, a timer, an end. */
import { MAX_GUEST_TIMER_MS } from "../../limits.ts";
import { Alarm } from "../../timers.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import type { StreamCallbacks } from "../instance/callbacks.ts";
import type { Instance } from "../instance/instance.ts";
import { Context } from "./context.ts";
import type { RootContext } from "./root-context.ts";

export abstract class StreamContext extends Context {
  readonly instance: Instance;
  readonly root: RootContext;
  protected readonly callbacks: StreamCallbacks;
  #timer: Alarm | null = null;

  constructor(root: RootContext, callbacks: StreamCallbacks) {
    super();
    this.root = root;
    this.instance = root.instance;
    this.callbacks = callbacks;
    root.plugin.streams++;
  }

  /** False once the stream has left the guest behind: it was answered by the failure policy, or is over. */
  protected abstract get attached(): boolean;
  /** False once the stream ends: no timer may be set any more. */
  protected abstract get running(): boolean;

  /** True when the guest may be called; makes its context on the first call. */
  protected enter(): boolean {
    if (this.instance.failed || !this.attached) return false;
    if (this.id !== 0) return true;
    this.instance.contexts.add(this);
    const create = this.callbacks.contextCreate;
    if (create === null) return true;
    this.instance.call(this, create, "proxy_on_context_create", this.root.id, 0);
    return !this.instance.failed;
  }

  /** The stream is over for the guest, and so is the context. */
  protected end(info: StreamInfo): void {
    this.pending = 0;
    this.instance.contexts.remove(this);
    this.instance.settle();
    this.instance.onUnused?.();
    this.root.plugin.streamEnded(info);
  }

  override setTimer(delayMs: number): boolean {
    if (!this.running) return false;
    this.#timer?.disarm();
    if (delayMs === 0) return true;
    this.#timer ??= new Alarm(() => this.#onTimer());
    this.#timer.arm(Math.min(delayMs, MAX_GUEST_TIMER_MS));
    return true;
  }

  protected disarm(): void {
    this.#timer?.disarm();
  }

  #onTimer(): void {
    const callback = this.callbacks.timer;
    if (callback === null || this.instance.failed || !this.attached) return;
    this.instance.call(this, callback, "sluice_on_timer", 0, 0);
    this.instance.settle();
  }
}
