/** Questions to several workers at once: each waits for its answers, for threads that end before they answer, or for the time. */
import type { FromWorker, ToWorker } from "./messages.ts";
import type { WorkerThread } from "./thread.ts";

/** What a worker said; `silent` when its time was over, `gone` when it ended. */
export interface Reply {
  readonly index: number;
  readonly answer: FromWorker | "silent" | "gone";
}

interface Question {
  readonly missing: Set<WorkerThread>;
  readonly replies: Reply[];
  done(): void;
}

export class Questions {
  readonly #open = new Map<number, Question>();
  #next = 1;

  /** A number that no other question has. */
  newId(): number {
    return this.#next++;
  }

  /** Posts `message` to all `threads`; answers carry its id. Resolves with a reply of each; never rejects. */
  ask(
    threads: readonly WorkerThread[],
    message: ToWorker & { readonly id: number },
    timeoutMs: number,
  ): Promise<readonly Reply[]> {
    return new Promise((resolve) => {
      const replies: Reply[] = [];
      const missing = new Set(threads);
      const done = (): void => {
        clearTimeout(timer);
        this.#open.delete(message.id);
        for (const { index } of missing) replies.push({ index, answer: "silent" });
        resolve(replies);
      };
      const timer = setTimeout(done, timeoutMs);
      this.#open.set(message.id, { missing, replies, done });
      for (const thread of threads) thread.post(message);
      if (missing.size === 0) done();
    });
  }

  /** False when nobody waits for it. */
  answered(thread: WorkerThread, answer: FromWorker & { readonly id: number }): boolean {
    const question = this.#open.get(answer.id);
    if (question === undefined || !question.missing.has(thread)) return false;
    this.#settle(question, thread, answer);
    return true;
  }

  threadGone(thread: WorkerThread): void {
    for (const question of this.#open.values()) {
      if (question.missing.has(thread)) this.#settle(question, thread, "gone");
    }
  }

  #settle(question: Question, thread: WorkerThread, answer: Reply["answer"]): void {
    question.missing.delete(thread);
    question.replies.push({ index: thread.index, answer });
    if (question.missing.size === 0) question.done();
  }
}
