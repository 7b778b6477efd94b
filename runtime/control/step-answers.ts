/** What workers say to one step of a change. */
import { ProxyError } from "../errors.ts";
import type { FromWorker } from "../worker/messages.ts";
import type { Reply } from "../worker/questions.ts";

type StepAnswer = Extract<FromWorker, { kind: "clusters_changed" | "listeners_changed" }>;

/** All answers. Throws ProxyError: what the first worker said that could not, or WORKER_FAILED. `what`: ends "worker 1 did not prepare its …". */
export function stepAnswers<K extends StepAnswer["kind"]>(
  replies: readonly Reply[],
  kind: K,
  what: string,
): Extract<StepAnswer, { kind: K }>[] {
  return replies.map(({ index, answer }) => {
    if (typeof answer === "string" || answer.kind !== kind)
      throw new ProxyError("WORKER_FAILED", "internal", `worker ${index} did not prepare its ${what}`);
    const said = answer as Extract<StepAnswer, { kind: K }>;
    if (said.error === undefined) return said;
    const { code, message } = said.error;
    throw new ProxyError(code, "config", message.slice(code.length + 2));
  });
}
