/**
 * Differential fuzz of our HTTP/1 parsers against llhttp: accept or refuse, method, target, fields, body,
 * trailers, and where each message ends. Every disagreement must be of a class that is listed and
 * explained in `codec-classes.ts`.
 *
 * `npm run fuzz:codec -- --cases N --seed S` runs N cases; case i of a seed is always the same.
 */
import { parseArgs } from "node:util";
import { recordRequests, recordResponse } from "../codec/record.ts";
import { classes, responseClasses, type Case, type DisagreementClass } from "./codec-classes.ts";
import { compare } from "./codec-compare.ts";
import { cut, Dice, requests, responses } from "./codec-generator.ts";
import { expectedRequest, expectedResponse } from "./codec-model.ts";
import { llhttp, type LlhttpRecording } from "./llhttp.ts";

export interface Outcome {
  cases: number;
  /** Cases that both accept as a whole. */
  accepted: number;
  /** Cases that both refuse, or both find cut off, in the same message. */
  refused: number;
  /** Explained disagreements by class. */
  explained: Map<string, number>;
  unexplained: string[];
}

/** Bytes after a response end the connection for us, and are the next response for llhttp: the first one counts. */
function firstResponse(theirs: LlhttpRecording): LlhttpRecording {
  const final = theirs.messages.findIndex(
    (message) => message.status >= 200 || message.status < 100 || message.status === 101,
  );
  if (final < 0)
    return {
      messages: theirs.messages,
      error: theirs.error ?? "nothing",
      atEnd: theirs.error === null || theirs.atEnd,
    };
  const after = theirs.messages.length > final + 1 || theirs.error !== null;
  const whole = theirs.messages[final]!.ended && theirs.messages[final]!.status !== 101;
  return whole && after ? { messages: theirs.messages.slice(0, final + 1), error: null, atEnd: false } : theirs;
}

function runCase(dice: Dice): { seen: Case | null; accepted: boolean; explained: readonly DisagreementClass[] } {
  const asks = dice.once(2);
  const text = asks ? requests(dice) : responses(dice);
  const all = Buffer.from(text, "latin1");
  if (asks) {
    const theirs = llhttp(all, null);
    const ours = recordRequests(cut(dice, all));
    const disagreement = compare(ours, theirs, expectedRequest);
    const accepted = ours.error === null && ours.end === null;
    if (disagreement === null) return { seen: null, accepted, explained: classes };
    const heard = theirs.messages[disagreement.at];
    return { seen: { text, ours, theirs, disagreement, heard }, accepted, explained: classes };
  }
  const method = dice.once(6) ? "HEAD" : "GET";
  const theirs = firstResponse(llhttp(all, method));
  const ours = recordResponse(cut(dice, all), method, true);
  // Informational responses are messages to llhttp: put ours in front in the same way.
  const before = ours.informational.map((one) => ({
    status: one.status,
    fields: one.fields,
    flags: [],
    body: "",
    ended: true,
    trailers: null,
  }));
  // A whole response with bytes behind it was still a whole response.
  const whole = ours.messages.at(-1)?.ended ?? false;
  const merged = { ...ours, messages: [...before, ...ours.messages], ...(whole ? { error: null, end: null } : {}) };
  const disagreement = compare(merged, theirs, expectedResponse);
  const accepted = ours.error === null && ours.end === null;
  const explained = [...classes, ...responseClasses];
  if (disagreement === null) return { seen: null, accepted, explained };
  const heard = theirs.messages[disagreement.at];
  return { seen: { text, ours: merged, theirs, disagreement, heard }, accepted, explained };
}

/** Runs cases `0 … cases - 1` of a seed. Stops collecting after 20 unexplained ones. */
export function differential(cases: number, seed: number): Outcome {
  const outcome: Outcome = { cases, accepted: 0, refused: 0, explained: new Map(), unexplained: [] };
  for (let index = 0; index < cases; index++) {
    const { seen, accepted, explained } = runCase(new Dice(Math.imul(seed, 0x9e3779b1) + Math.imul(index, 0x85ebca6b)));
    if (seen === null) {
      if (accepted) outcome.accepted++;
      else outcome.refused++;
      continue;
    }
    const found = explained.find((one) => one.explains(seen));
    if (found !== undefined) outcome.explained.set(found.name, (outcome.explained.get(found.name) ?? 0) + 1);
    else if (outcome.unexplained.length < 20) outcome.unexplained.push(describe(index, seed, seen));
  }
  return outcome;
}

function describe(index: number, seed: number, { text, ours, theirs, disagreement }: Case): string {
  return [
    `case ${index} of seed ${seed}: ${disagreement.kind} in message ${disagreement.at}`,
    JSON.stringify(text),
    `  ours: ${ours.error?.code ?? ours.end?.code ?? "accepted"} ${JSON.stringify(ours.messages.at(disagreement.at) ?? null)}`,
    `  llhttp: ${theirs.error ?? "accepted"} ${JSON.stringify(theirs.messages.at(disagreement.at) ?? null)}`,
  ].join("\n");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { cases: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
  });
  const start = performance.now();
  const outcome = differential(Number(values.cases), Number(values.seed));
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${outcome.cases} cases, seed ${values.seed}, ${seconds.toFixed(0)} s: both accept ${outcome.accepted}, both refuse ${outcome.refused}`,
  );
  for (const [name, count] of [...outcome.explained].sort((a, b) => b[1] - a[1])) {
    const reason = [...classes, ...responseClasses].find((one) => one.name === name)!.reason;
    console.log(`${String(count).padStart(8)}  ${name}: ${reason}`);
  }
  for (const text of outcome.unexplained) console.log(`\nUNEXPLAINED ${text}`);
  console.log(`${outcome.unexplained.length} unexplained`);
  process.exitCode = outcome.unexplained.length === 0 ? 0 : 1;
}
