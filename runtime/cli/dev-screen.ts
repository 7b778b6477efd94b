/** What `sluice dev` shows: one screen on a terminal, lines elsewhere. */
import colors from "picocolors";
import { MAX_DEV_LOG_LINES } from "../limits.ts";

/** A request or connection whose answer is another one than before; `lines` begin with - and +. */
export interface Difference {
  readonly what: string;
  readonly lines: readonly string[];
}

/** What the recorder has told, to be sent again. */
export interface Replays {
  /** One of them, for people. */
  readonly what: string;
  /** How many are kept. */
  readonly size: number;
  /** Reads a line of the recorder's; true when there is something new without an answer. */
  take(message: string): boolean;
  /** Sends what has no answer yet to the version that serves, so that there is something to compare with. */
  prime(origin: string): Promise<void>;
  /** Sends everything again; where the answers are others than those of the version before. */
  compare(origin: string): Promise<Difference[]>;
}

export interface DevState {
  readonly name: string;
  /** Where the filter's listener listens, and the admin interface; "" until they do. */
  origin: string;
  admin: string;
  /** Of the version that serves; 0 before the first. */
  version: number;
  size: number;
  /** What the last save has come to. */
  news: DevNews;
  replayed: number;
  /** What one of those is called; "" when nothing is sent again, since the listener's connections are encrypted. */
  unit: string;
  differences: readonly Difference[];
  readonly log: string[];
}

export type DevNews =
  | { readonly kind: "starting" }
  | { readonly kind: "compiling" }
  | { readonly kind: "serving" }
  | { readonly kind: "live"; readonly compileMs: number; readonly swapMs: number; readonly totalMs: number }
  | { readonly kind: "unchanged" }
  /** It does not compile, or the proxy refuses it: the version before serves on. */
  | { readonly kind: "refused"; readonly what: string; readonly why: string };

/** Keeps the newest lines. */
export function addLogLine(state: DevState, line: string): void {
  state.log.push(line);
  if (state.log.length > MAX_DEV_LOG_LINES) state.log.splice(0, state.log.length - MAX_DEV_LOG_LINES);
}

/** Splits a text between words so that no line is longer than `width`; what follows the first is indented like it. */
function wrapped(text: string, width: number): string[] {
  const indent = /^ */.exec(text)![0];
  const room = Math.max(width, indent.length + 10);
  const lines: string[] = [];
  let line = indent;
  for (const word of text.trimStart().split(" ")) {
    const longer = line === indent ? indent + word : `${line} ${word}`;
    if (longer.length > room && line !== indent) {
      lines.push(line);
      line = indent + word;
    } else line = longer;
  }
  return [...lines, line];
}

/** The screen's lines, at most `height` of them, each of at most `width` characters: what is wrong is wrapped, the rest is cut. */
export function screenLines(state: DevState, width: number, height: number, colored: boolean): string[] {
  const { bold, dim, green, red, yellow, cyan } = colors.createColors(colored);
  const cut = (text: string): string => (text.length > width ? `${text.slice(0, width - 1)}…` : text);
  const rule = dim("─".repeat(Math.min(width, 100)));
  const version = state.version === 0 ? "" : `version ${state.version}, ${(state.size / 1024).toFixed(1)} KiB`;
  const head = [
    `${bold(cyan("sluice dev"))}  ${bold(state.name)}  ${dim(version)}`,
    state.origin === "" ? dim("starting …") : dim(cut(`${state.origin}   admin ${state.admin}`)),
    rule,
  ];
  const [headline = "", ...reasons] = newsLines(state.news);
  const paint =
    state.news.kind === "refused" ? red : state.news.kind === "live" || state.news.kind === "serving" ? green : yellow;
  const news = [paint(cut(headline)), ...reasons.flatMap((line) => wrapped(line, width)).map((line) => cut(line))];
  const replays = replayLines(state).map((line) => {
    const text = cut(line);
    if (/^ *\+ /.test(line)) return green(text);
    return /^ *- /.test(line) ? red(text) : text;
  });
  const encrypted = state.version > 0 && state.unit === "" ? " · nothing is sent again over TLS" : "";
  const foot = [rule, dim(cut(`save to compile and swap · ctrl-c to end${encrypted}`))];
  const room = height - head.length - news.length - replays.length - foot.length - 3;
  const log = room > 0 && state.log.length > 0 ? ["", ...state.log.slice(-room).map((line) => dim(cut(line)))] : [];
  return [...head, ...news, ...(replays.length > 0 ? ["", ...replays] : []), ...log, ...foot].slice(0, height);
}

function newsLines(news: DevNews): string[] {
  switch (news.kind) {
    case "starting":
      return ["compiling for the first time …"];
    case "compiling":
      return ["compiling …"];
    case "serving":
      return ["✓ serving"];
    case "unchanged":
      return ["nothing has changed"];
    case "live":
      return [
        `✓ live ${Math.round(news.totalMs)} ms after the save (compiled in ${Math.round(news.compileMs)}, swapped in ${Math.round(news.swapMs)})`,
      ];
    case "refused":
      return [`✗ ${news.what}; the version before goes on serving`, ...news.why.split("\n").map((line) => `  ${line}`)];
  }
}

function replayLines({ replayed, unit, differences }: DevState): string[] {
  if (replayed === 0) return [];
  const count = `${replayed} ${unit}${replayed === 1 ? "" : "s"}`;
  if (differences.length === 0) return [`sent ${count} again: the same answers`];
  return [
    `sent ${count} again: ${differences.length === 1 ? "one answer differs" : `${differences.length} answers differ`}`,
    ...differences.flatMap(({ what, lines }) => [`  ${what}`, ...lines.map((line) => `    ${line}`)]),
  ];
}
