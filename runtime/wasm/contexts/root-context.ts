/**
 * A plugin inside one instance: configuration, ticks, calls, queue notices.
 *
 * Life: context_create(id, 0) → on_vm_start → on_configure → ticks and answers … → on_done → (proxy_done) → on_delete.
 */
import * as MapType from "../../../abi/map.ts";
import type { HeaderMap } from "../../codec/headers.ts";
import { ProxyError } from "../../errors.ts";
import type { StreamView } from "../../http/filter.ts";
import { MAX_GUEST_TIMER_MS, ROOT_DONE_TIMEOUT_MS } from "../../limits.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import { Alarm } from "../../timers.ts";
import { RootCalls } from "./calls.ts";
import { Context, Pending } from "./context.ts";
import { LoggedStream } from "./logged-stream.ts";
import type { StreamCallbacks } from "../instance/callbacks.ts";
import type { Instance } from "../instance/instance.ts";
import type { Plugin } from "../plugin.ts";

export class RootContext extends Context {
  readonly instance: Instance;
  readonly plugin: Plugin;
  /** True while on_vm_start runs: the old `proxy_get_configuration` answers the VM's then. */
  starting = false;
  /** Of the last failed call, for `proxy_get_status`. */
  statusCode = 0;
  statusMessage = "";
  #tickMs = 0;
  #tick: Alarm | null = null;
  /** The stream that is logged now. */
  #logged: LoggedStream | null = null;
  /** HTTP and gRPC calls that are open. */
  readonly calls: RootCalls;
  /** on_done answered 0 and proxy_done has not come yet. */
  #doneTimer: Alarm | null = null;
  #deleted = false;
  /** The stream callbacks of the instance; set once it has started. */
  callbacks: StreamCallbacks | null = null;
  /** In an instance of one stream or connection: nothing of the root's own happens here, only what streams ask for. */
  readonly leased: boolean;

  constructor(instance: Instance, plugin: Plugin, leased = false) {
    super();
    this.instance = instance;
    this.plugin = plugin;
    this.leased = leased;
    this.calls = new RootCalls(this);
    instance.roots.push(this);
  }

  /** The plugin is gone: nothing new may begin. */
  get deleted(): boolean {
    return this.#deleted;
  }

  get root(): RootContext {
    return this;
  }

  /** Creates, starts and configures the context. Throws ProxyError `GUEST_START` or `GUEST_CONFIGURE` with the reason. */
  start(): void {
    const { instance, plugin } = this;
    instance.contexts.add(this);
    this.#callback("proxy_on_context_create", [0], "GUEST_START");
    this.starting = true;
    const started = this.#callback("proxy_on_vm_start", [instance.facts.vmConfiguration.length], "GUEST_START");
    this.starting = false;
    if (started === 0) throw new ProxyError("GUEST_START", "guest", "proxy_on_vm_start answered 0");
    if (this.#callback("proxy_on_configure", [plugin.config.configuration.length], "GUEST_CONFIGURE") === 0) {
      throw new ProxyError("GUEST_CONFIGURE", "guest", "proxy_on_configure refused the configuration");
    }
  }

  #callback(name: string, args: readonly number[], code: string): number {
    const callback = this.instance.export(name);
    if (callback === null) return 1;
    const result = this.instance.callWith(this, callback, name, args);
    if (this.instance.failed)
      throw new ProxyError(code, "guest", `${name}: ${this.plugin.lastFailure}`, this.instance.failureError);
    return result;
  }

  // ---- ticks ----------------------------------------------------------------------------------

  /** 0 stops the ticks. A leased instance has none: ticks belong to the plugin's own instance, whose state streams begin with. */
  setTickPeriod(periodMs: number): void {
    if (this.leased) return;
    this.#tickMs = Math.min(periodMs, MAX_GUEST_TIMER_MS);
    this.#tick?.disarm();
    if (periodMs === 0 || this.#deleted) return;
    this.#tick ??= new Alarm(() => this.#onTick());
    this.#tick.arm(this.#tickMs);
  }

  #onTick(): void {
    const callback = this.instance.export("proxy_on_tick");
    if (callback === null || this.instance.failed) return;
    this.instance.callWith(this, callback, "proxy_on_tick", []);
    this.plugin.vm.templateChanged(this.instance);
    // Armed anew only now, so that a slow tick is never followed by a burst of others.
    if (this.#tickMs > 0 && !this.instance.failed && !this.#deleted && this.#tick?.armed === false) {
      this.#tick.arm(this.#tickMs);
    }
  }

  /** A queue this plugin registered has got something. */
  onQueueReady(token: number): void {
    const callback = this.instance.export("proxy_on_queue_ready");
    if (callback === null || this.instance.failed || this.#deleted) return;
    this.instance.callWith(this, callback, "proxy_on_queue_ready", [token]);
    this.plugin.vm.templateChanged(this.instance);
  }

  // ---- access log -----------------------------------------------------------------------------

  /** The plugin is an access logger: a stream is complete. Until the callback returns, the stream can be read here. */
  logStream(info: StreamInfo): void {
    const callback = this.callbacks?.log ?? null;
    if (callback === null || this.instance.failed || this.#deleted) return;
    this.#logged = new LoggedStream(info);
    this.instance.call(this, callback, "proxy_on_log", 0, 0);
    this.#logged = null;
    this.instance.settle();
  }

  override get stream(): StreamView | null {
    return this.#logged;
  }

  override get logging(): boolean {
    return this.#logged !== null;
  }

  override map(type: number): HeaderMap | null {
    switch (type) {
      case MapType.HTTP_REQUEST_HEADERS:
        return this.#logged?.requestHeaders ?? null;
      case MapType.HTTP_RESPONSE_HEADERS:
        return this.#logged?.responseHeaders ?? null;
      case MapType.HTTP_RESPONSE_TRAILERS:
        return this.#logged?.responseTrailers ?? null;
      default:
        return super.map(type);
    }
  }

  // ---- calls ----------------------------------------------------------------------------------

  /** Tells the guest what became of a call. */
  answer(name: string, args: readonly number[]): void {
    if (this.instance.failed || this.#deleted) return;
    const callback = this.instance.export(name);
    if (callback === null) return;
    this.instance.callWith(this, callback, name, args);
    this.plugin.vm.templateChanged(this.instance);
  }

  /** Maps 4 to 7, readable while the callback runs that hands them over. */
  callMap(type: number): HeaderMap | null {
    return this.calls.map(type);
  }

  // ---- the end --------------------------------------------------------------------------------

  /** The plugin is removed: on_done, then on_delete at once or after proxy_done (or its time limit). */
  close(): void {
    if (this.#deleted || this.instance.failed) {
      this.orphan();
      return;
    }
    const done = this.instance.export("proxy_on_done");
    const result = done === null ? 1 : this.instance.callWith(this, done, "proxy_on_done", []);
    if (result !== 0) {
      this.#delete();
      return;
    }
    if (this.instance.failed) return;
    this.#doneTimer = new Alarm(() => this.#delete());
    this.#doneTimer.arm(ROOT_DONE_TIMEOUT_MS);
  }

  /** The guest called proxy_done; false when nobody waits for it. */
  finishDone(): boolean {
    if (this.#doneTimer === null || this.#deleted) return false;
    this.instance.defer(this, Pending.DONE);
    return true;
  }

  override perform(): void {
    const done = (this.pending & Pending.DONE) !== 0;
    this.pending = 0;
    if (done) this.#delete();
  }

  #delete(): void {
    if (this.#deleted) return;
    const callback = this.instance.failed ? null : this.instance.export("proxy_on_delete");
    if (callback !== null) this.instance.callWith(this, callback, "proxy_on_delete", []);
    this.orphan();
    this.plugin.onRootDeleted(this);
  }

  /** The stream or connection that had the instance is over: its calls are given up. */
  recycle(): void {
    this.calls.cancelAll();
    this.statusCode = 0;
    this.statusMessage = "";
    this.pending = 0;
    this.#doneTimer?.disarm();
    this.#doneTimer = null;
  }

  override orphan(): void {
    this.#deleted = true;
    this.#tick?.disarm();
    this.#doneTimer?.disarm();
    this.instance.contexts.remove(this);
    this.calls.cancelAll();
  }
}
