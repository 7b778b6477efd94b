/** What two versions of a filter did to a stream or connection, and in what that differs. */
import type { HeaderMap } from "../../codec/headers.ts";
import type { LocalReply } from "../../http/filter.ts";
import { SHADOW_EXAMPLE_NAMES, SHADOW_NAME_CHARS } from "../../limits.ts";
import type { DifferenceKind } from "../trial.ts";
import { Acts } from "./acts.ts";
import { Passage } from "./passage.ts";

export class Decision {
  /** The response that the filter gave itself; null: none. */
  reply: LocalReply | null = null;
  /** It ended the stream or the connection. */
  reset = false;
  /** Of a connection: what comes from downstream. */
  readonly request = new Passage();
  readonly response = new Passage();
  readonly acts = new Acts();
}

export interface Difference {
  readonly kinds: readonly DifferenceKind[];
  /** The second one has not come as far as the first one, so that not everything could be compared. */
  readonly undecided: boolean;
  /** In what they differ, for people: names, numbers and lengths, never values. */
  readonly text: string;
}

export function compare(live: Decision, shadow: Decision): Difference {
  const found = new Findings();
  const one = answerOf(live);
  const other = answerOf(shadow);
  // The peer may have left while the live one waited.
  const waits = !answered(live) && live.request.begun && live.request.head === null;
  const decided = !waits && (one === other || answered(shadow) || passedWhere(live, shadow));
  if (decided && one !== other) found.add("local_replies", `${one}, shadow ${other}`);
  let undecided = !decided;
  const headHeld = compareHeads(found, "request", live.request, shadow.request);
  undecided ||= headHeld && !answered(shadow);
  if (live.reply !== null && shadow.reply !== null) {
    if (one === other) compareReplies(found, live.reply, shadow.reply);
  } else if (one === other) {
    undecided = compareBodies(found, "request", live.request, shadow.request) || undecided;
    undecided = compareHeads(found, "response", live.response, shadow.response) || undecided;
    undecided = compareBodies(found, "response", live.response, shadow.response) || undecided;
  }
  compareActs(found, live.acts, shadow.acts, undecided || one !== other);
  return found.difference(undecided);
}

/** The same of connections. `waits`: the shadow held something, or was not shown all, when the connection ended. */
export function compareConnections(live: Decision, shadow: Decision, waits: boolean): Difference {
  const found = new Findings();
  if (live.reset !== shadow.reset && !waits)
    found.add("local_replies", live.reset ? "closes it, shadow does not" : "does not close it, shadow does");
  const partly = waits || live.reset !== shadow.reset;
  if (!partly) {
    for (const [direction, one, other] of [
      ["from", live.request, shadow.request],
      ["to", live.response, shadow.response],
    ] as const)
      if (!one.sameBody(other))
        found.add("bodies", `${one.bytes} bytes ${direction} downstream, shadow ${other.bytes} bytes`);
  }
  compareActs(found, live.acts, shadow.acts, partly);
  return found.difference(waits);
}

class Findings {
  readonly kinds = new Set<DifferenceKind>();
  readonly texts: string[] = [];

  add(kind: DifferenceKind, text: string): void {
    this.kinds.add(kind);
    this.texts.push(text);
  }

  difference(undecided: boolean): Difference {
    return { kinds: [...this.kinds], undecided, text: this.texts.join("; ") };
  }
}

function answered({ reply, reset }: Decision): boolean {
  return reply !== null || reset;
}

function answerOf({ reply, reset }: Decision): string {
  if (reply !== null) return `answers ${reply.status}`;
  return reset ? "ends it" : "lets it go on";
}

/** The shadow let go on what the live one answered. */
function passedWhere(live: Decision, shadow: Decision): boolean {
  const inRequest = live.request.begun && live.request.head === null;
  return inRequest ? shadow.request.head !== null : shadow.response.head !== null;
}

type Direction = "request" | "response";

/** The same names with the same values in the same order of each name. True: the shadow has not let its head go. */
function compareHeads(found: Findings, direction: Direction, live: Passage, shadow: Passage): boolean {
  if (live.head === null) return false;
  if (shadow.head === null) return true;
  const status = live.head.get(":status");
  const other = shadow.head.get(":status");
  if (status !== other) found.add("status", `status ${status}, shadow ${other}`);
  const names = differentNames(live.head, shadow.head);
  names.delete(":status");
  if (names.size > 0) found.add("headers", `${direction} headers ${listed(names)}`);
  return false;
}

/** And trailers. True: the shadow's have not ended where the live one's have. */
function compareBodies(found: Findings, direction: Direction, live: Passage, shadow: Passage): boolean {
  if (!live.ended) return false;
  if (!shadow.ended) return true;
  if (!live.sameBody(shadow))
    found.add("bodies", `${direction} body of ${live.bytes} bytes, shadow ${shadow.bytes} bytes`);
  const names = differentNames(live.trailers, shadow.trailers);
  if (names.size > 0) found.add("trailers", `${direction} trailers ${listed(names)}`);
  return false;
}

/** Of the same status. */
function compareReplies(found: Findings, live: LocalReply, shadow: LocalReply): void {
  if (live.grpcStatus !== shadow.grpcStatus)
    found.add("local_replies", `answers gRPC status ${live.grpcStatus}, shadow ${shadow.grpcStatus}`);
  const [body, other] = [Buffer.from(live.body), Buffer.from(shadow.body)];
  if (!body.equals(other)) found.add("bodies", `answer of ${body.length} bytes, shadow ${other.length} bytes`);
  const names = differentFields(live.headers ?? [], shadow.headers ?? []);
  if (names.size > 0) found.add("headers", `headers of the answer ${listed(names)}`);
}

/** `partly`: one of them did not come as far as the other, so that what it has not done yet says nothing. */
function compareActs(found: Findings, live: Acts, shadow: Acts, partly: boolean): void {
  const [fewer, more] = [live.calls, shadow.calls].sort((a, b) => a.length - b.length) as [Calls, Calls];
  const compared = partly ? fewer.length : more.length;
  for (let n = 0; n < compared; n++) {
    const [one, other] = [live.calls[n], shadow.calls[n]];
    if (one?.digest === other?.digest && one?.cluster === other?.cluster) continue;
    found.add("calls", `call ${n + 1} to ${nameOf(one?.cluster)}, shadow ${nameOf(other?.cluster)}`);
    break;
  }
  if (partly) return;
  const names = new Set<string>();
  for (const name of [...live.written.keys(), ...shadow.written.keys()])
    if (live.written.get(name) !== shadow.written.get(name)) names.add(name);
  if (names.size > 0) found.add("metadata", `metadata ${listed(names)}`);
}

type Calls = Acts["calls"];

function differentNames(a: HeaderMap | null, b: HeaderMap | null): Set<string> {
  return differentFields(a?.list ?? [], b?.list ?? []);
}

/** `a` and `b`: name, value, … */
function differentFields(a: readonly string[], b: readonly string[]): Set<string> {
  // As it is with most streams.
  if (a.length === b.length && a.every((text, at) => text === b[at])) return new Set();
  const left = new Map<string, string[]>();
  for (let at = 0; at < a.length; at += 2) (left.get(a[at]!) ?? put(left, a[at]!)).push(a[at + 1]!);
  const right = new Map<string, string[]>();
  for (let at = 0; at < b.length; at += 2) (right.get(b[at]!) ?? put(right, b[at]!)).push(b[at + 1]!);
  const names = new Set<string>();
  for (const name of [...left.keys(), ...right.keys()])
    if (JSON.stringify(left.get(name)) !== JSON.stringify(right.get(name))) names.add(name);
  return names;
}

function put(map: Map<string, string[]>, name: string): string[] {
  const values: string[] = [];
  map.set(name, values);
  return values;
}

function nameOf(name: string | undefined): string {
  if (name === undefined) return "none";
  return printable(name);
}

function listed(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, SHADOW_EXAMPLE_NAMES).map(printable);
  return `${shown.join(", ")}${names.size > shown.length ? `, and ${names.size - shown.length} more` : ""}`;
}

/** Guests choose names. */
function printable(name: string): string {
  const clean = name.replace(/[^\x21-\x7e]/g, "?");
  return clean.length > SHADOW_NAME_CHARS ? `${clean.slice(0, SHADOW_NAME_CHARS)}…` : clean;
}
