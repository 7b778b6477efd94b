/**
 * One worker thread as the main thread sees it. Life: spawned (imports its code) → set up (ready) →
 * listening → draining → gone. Whoever owns it is told of each step by one method call.
 */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { COLLECTING_FLAG } from "../codec/copies.ts";
import { ProxyError } from "../errors.ts";
import { WORKER_START_TIMEOUT_MS, WORKER_YOUNG_MIB } from "../limits.ts";
import type { FromWorker, KnownSockets, ToWorker, WorkerBirth, WorkerSetup } from "./messages.ts";
import type { BoundAddress } from "../listener/bind.ts";

/** V8 counts a thread's room for new objects as three times one of its halves. */
const HALVES = 3;

export type ThreadState = "spawned" | "ready" | "listening" | "draining" | "gone";

/** Where a thread's news go. */
export interface ThreadOwner {
  /** Everything but the answers that a method of {@link WorkerThread} waits for. */
  onMessage(thread: WorkerThread, message: FromWorker): void;
  /** Once, last. `why` is for the log. */
  onGone(thread: WorkerThread, why: string): void;
}

interface Waiter {
  readonly kind: FromWorker["kind"];
  resolve(message: FromWorker): void;
  reject(error: Error): void;
}

export class WorkerThread {
  readonly index: number;
  /** Never used again for another thread of this process. */
  readonly id: number;
  readonly spawnedAt = performance.now();
  readonly #worker: Worker;
  readonly #owner: ThreadOwner;
  readonly #exited: Promise<void>;
  #state: ThreadState = "spawned";
  #why = "";
  #waiter: Waiter | null = null;

  /** `code` is the module that the thread runs. */
  constructor(code: URL, birth: WorkerBirth, owner: ThreadOwner) {
    this.index = birth.index;
    this.#owner = owner;
    // Heaps made from now on have this room from the start: growing into it costs a start 15 ms of CPU time.
    setFlagsFromString(COLLECTING_FLAG);
    setFlagsFromString(`--min-semi-space-size=${WORKER_YOUNG_MIB / HALVES}`);
    this.#worker = new Worker(code, {
      workerData: birth,
      name: `worker_${birth.index}`,
      stdin: false,
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_MIB },
    });
    this.id = this.#worker.threadId;
    this.#worker.on("message", (message: FromWorker) => this.#onMessage(message));
    this.#worker.on("messageerror", (error: Error) => this.terminate(`unreadable message: ${error.message}`));
    this.#worker.on("error", (error: unknown) => {
      this.#why = `uncaught ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", (code_) => {
        this.#onExit(code_);
        resolve();
      });
    });
  }

  get state(): ThreadState {
    return this.#state;
  }

  /** Builds the data plane. Rejects with the worker's own ProxyError, or WORKER_FAILED when it dies or takes too long. */
  async setUp(setup: WorkerSetup): Promise<void> {
    await this.#ask({ kind: "setup", setup }, "ready", WORKER_START_TIMEOUT_MS);
    this.#state = "ready";
  }

  /** Binds the listeners and accepts. Rejects as {@link setUp} does. */
  async listen(sockets: KnownSockets): Promise<readonly BoundAddress[]> {
    const answer = await this.#ask({ kind: "listen", sockets }, "listening", WORKER_START_TIMEOUT_MS);
    this.#state = "listening";
    return answer.kind === "listening" ? answer.bound : [];
  }

  /** Resolves, with the connections that were cut, when the worker's streams are finished, at the latest `ms + graceMs` from now. */
  async drain(ms: number, graceMs: number): Promise<number> {
    if (this.#state !== "listening") return 0;
    this.#state = "draining";
    try {
      const answer = await this.#ask({ kind: "drain", ms }, "drained", ms + graceMs);
      return answer.kind === "drained" ? answer.cut : 0;
    } catch (error) {
      this.terminate(error instanceof Error ? error.message : String(error));
      return 0;
    }
  }

  /** `moved`: ports that go over to the thread with the message. */
  post(message: ToWorker, moved: readonly MessagePort[] = []): void {
    if (this.#state !== "gone") this.#worker.postMessage(message, moved);
  }

  /** Asks the thread to end by itself and waits for that, at most `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    if (this.#state === "gone") return;
    this.#why = "stopped";
    this.post({ kind: "stop" });
    const timer = setTimeout(() => this.terminate("stopped, but did not end"), graceMs);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Ends the thread at once, even one that hangs; `onGone` follows. */
  terminate(why: string): void {
    if (this.#state === "gone") return;
    if (this.#why === "" || this.#why === "stopped") this.#why = why;
    // Its promise tells what the exit event tells.
    void this.#worker.terminate();
  }

  #ask(message: ToWorker, kind: FromWorker["kind"], timeoutMs: number): Promise<FromWorker> {
    if (this.#state === "gone") return Promise.reject(this.#failure(this.#why));
    return new Promise<FromWorker>((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle()?.reject(this.#failure(`no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      this.#waiter = {
        kind,
        resolve: (answer) => (clearTimeout(timer), resolve(answer)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      };
      this.#worker.postMessage(message);
    });
  }

  #settle(): Waiter | null {
    const waiter = this.#waiter;
    this.#waiter = null;
    return waiter;
  }

  #onMessage(message: FromWorker): void {
    if (message.kind === "failed") {
      this.#why = message.message;
      this.#settle()?.reject(new ProxyError(message.code, "config", withoutCode(message)));
    } else if (message.kind === this.#waiter?.kind) {
      this.#settle()?.resolve(message);
    } else {
      this.#owner.onMessage(this, message);
    }
  }

  #onExit(status: number): void {
    this.#state = "gone";
    if (this.#why === "") this.#why = `exited with status ${status}`;
    this.#settle()?.reject(this.#failure(this.#why));
    this.#owner.onGone(this, this.#why);
  }

  #failure(why: string): ProxyError {
    return new ProxyError("WORKER_FAILED", "internal", `worker ${this.index}: ${why}`);
  }
}

/** ProxyError puts its code before the message, and this message has crossed threads with it. */
function withoutCode({ code, message }: { readonly code: string; readonly message: string }): string {
  return message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
}
