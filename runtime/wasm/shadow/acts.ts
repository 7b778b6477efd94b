/** What a filter does beside its stream, in a form that two versions can be compared by. */
import { hash } from "node:crypto";
import { HeaderMap } from "../../codec/headers.ts";
import { SHADOW_ACTS } from "../../limits.ts";
import type { ActNotes, Question } from "../values/stream-properties.ts";

export class Acts implements ActNotes {
  /** Calls in their order, the first SHADOW_ACTS of them. */
  readonly calls: { readonly cluster: string; readonly digest: string }[] = [];
  /** Names of metadata and filter state, the first SHADOW_ACTS of them, with a digest of all that was written there. */
  readonly written = new Map<string, string>();

  wrote(name: string, value: Uint8Array): void {
    const before = this.written.get(name);
    if (before === undefined && this.written.size >= SHADOW_ACTS) return;
    this.written.set(name, hash("sha256", `${before ?? ""}${hash("sha256", value)}`));
  }

  called(cluster: string, question: Question): void {
    if (this.calls.length < SHADOW_ACTS) this.calls.push({ cluster, digest: digestOf(question) });
  }
}

/** Of what a call asks. */
function digestOf(question: Question): string {
  const parts = question.map((part) => {
    if (part === null) return "";
    if (typeof part === "string") return part;
    return part instanceof HeaderMap ? JSON.stringify(part.list) : hash("sha256", part);
  });
  return hash("sha256", JSON.stringify(parts));
}
