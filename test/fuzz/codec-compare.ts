/** Holds one recording of ours against one of llhttp: null when they agree, else what they disagree about. */
import { isDeepStrictEqual } from "node:util";
import type { Message, Recording } from "../codec/record.ts";
import type { Expected } from "./codec-model.ts";
import type { Heard, LlhttpRecording } from "./llhttp.ts";

export interface Disagreement {
  /** `we refuse`, `they refuse`, or `differ`, and the code or the part. */
  kind: string;
  /** Index of the message. */
  at: number;
}

/** How one side ended: the message it was in, and why it is not content. */
interface Verdict {
  at: number;
  /** "" when content, "end" when only the bytes ran out, else a code. */
  code: string;
}

function same(ours: Message, theirs: Heard, expected: Expected): string {
  if (!isDeepStrictEqual(ours.fields, expected.fields)) return "fields";
  // What follows an upgrade is another protocol to llhttp, also where we read on by HTTP's rules.
  if (theirs.upgrade) return "";
  if (ours.ended && theirs.ended) {
    if (ours.body !== theirs.body) return "body";
    if (!isDeepStrictEqual(ours.trailers, expected.trailers)) return "trailers";
    return "";
  }
  return ours.body.startsWith(theirs.body) || theirs.body.startsWith(ours.body) ? "" : "body";
}

function verdictOf(messages: readonly { ended: boolean }[], code: string): Verdict {
  const open = messages.length > 0 && !messages.at(-1)!.ended;
  return { at: open ? messages.length - 1 : messages.length, code };
}

/** Compares message by message, and where and how each side stopped. */
export function compare(
  ours: Recording,
  theirs: LlhttpRecording,
  expected: (heard: Heard) => Expected,
): Disagreement | null {
  const count = Math.min(ours.messages.length, theirs.messages.length);
  for (let at = 0; at < count; at++) {
    const part = same(ours.messages[at]!, theirs.messages[at]!, expected(theirs.messages[at]!));
    if (part !== "") return { kind: `differ: ${part}`, at };
  }
  if (count > 0 && theirs.messages[count - 1]!.upgrade) return null;
  const we = verdictOf(ours.messages, ours.error?.code ?? (ours.end === null ? "" : "end"));
  const they = verdictOf(
    theirs.messages,
    theirs.error === null || theirs.error === "HPE_CLOSED_CONNECTION" ? "" : theirs.atEnd ? "end" : theirs.error,
  );
  if (we.code === "" && they.code === "") return we.at === they.at ? null : { kind: "differ: count", at: count };
  const weFirst = we.code !== "" && (they.code === "" || we.at < they.at);
  const theyFirst = they.code !== "" && (we.code === "" || they.at < we.at);
  if (weFirst) return { kind: `we refuse: ${we.code}`, at: we.at };
  if (theyFirst) return { kind: `they refuse: ${they.code}`, at: they.at };
  // Both stopped in the same message. One of them may only have waited for bytes that never came.
  if (we.code === "end" && they.code !== "end") return { kind: `they refuse early: ${they.code}`, at: we.at };
  if (they.code === "end" && we.code !== "end") return { kind: `we refuse early: ${we.code}`, at: we.at };
  return null;
}
