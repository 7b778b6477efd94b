/** What `sluice dev` shows: one screen on a terminal, lines elsewhere. */
import colors from "picocolors";
import { MAX_DEV_LOG_LINES } from "../limits.ts";
import { excerptLines } from "./source-excerpt.ts";
import type { Excerpt } from "./source-excerpt.ts";

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
  /** How many will be sent again. */
  kept: number;
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
  | { readonly kind: "refused"; readonly what: string; readonly why: string; readonly excerpt?: Excerpt | undefined };

/** Keeps the newest lines. One of several lines is so many. */
export function addLogLine(state: DevState, line: string): void {
  state.log.push(...line.split("\n"));
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
  const paint =
    state.news.kind === "refused" ? red : state.news.kind === "live" || state.news.kind === "serving" ? green : yellow;
  const { headline, reasons } = newsLines(state.news, width);
  const news = [
    ...wrapped(headline, width).map((line) => paint(cut(line))),
    ...reasons.flatMap((line) => (line.includes(" | ") ? [line] : wrapped(line, width))).map((line) => cut(line)),
  ];
  const encrypted = state.version > 0 && state.unit === "" ? " · nothing is sent again over TLS" : "";
  const foot = [rule, dim(cut(`save to compile and swap · ctrl-c to end${encrypted}`))];
  // What has gone wrong is told in full, then what has changed as far as there is room, then the log.
  const room = height - head.length - news.length - foot.length - 1;
  const replays = replayLines(state, room).flatMap((line) => {
    if (/^ *\+ /.test(line)) return green(cut(line));
    if (/^ *- /.test(line)) return red(cut(line));
    return line.startsWith(" ") ? cut(line) : wrapped(line, width);
  });
  const rest = room - replays.length - 2;
  const painted = (line: string): string[] => {
    if (/^(?:error|critical) /.test(line)) return wrapped(line, width).map((part) => red(cut(part)));
    return [line.startsWith("warning ") ? yellow(cut(line)) : dim(cut(line))];
  };
  const log = rest > 0 && state.log.length > 0 ? ["", ...state.log.flatMap(painted).slice(-rest)] : [];
  const middle = [...news, ...(replays.length > 0 ? ["", ...replays] : []), ...log];
  return [...head, ...middle.slice(0, Math.max(height - head.length - foot.length, 1)), ...foot].slice(0, height);
}

/** What the last save has come to, for people. */
export function newsLines(
  news: DevNews,
  width: number,
): { readonly headline: string; readonly reasons: readonly string[] } {
  if (news.kind !== "refused") return { headline: headlineOf(news), reasons: [] };
  const [first = "", ...more] = news.why.split("\n").map((line) => `  ${line}`);
  const excerpt = news.excerpt === undefined ? [] : excerptLines(news.excerpt, width);
  return { headline: `✗ ${news.what}; the version before goes on serving`, reasons: [first, ...excerpt, ...more] };
}

function headlineOf(news: Exclude<DevNews, { readonly kind: "refused" }>): string {
  switch (news.kind) {
    case "starting":
      return "compiling for the first time …";
    case "compiling":
      return "compiling …";
    case "serving":
      return "✓ serving";
    case "unchanged":
      return "nothing has changed";
    case "live":
      return `✓ live ${Math.round(news.totalMs)} ms after the save (compiled in ${Math.round(news.compileMs)}, swapped in ${Math.round(news.swapMs)})`;
  }
}

/** What is sent again, or will be, and what that has shown; at most `room` lines, the last of which says what is left out. */
export function replayLines(state: DevState, room = Infinity): string[] {
  const { replayed, kept, unit, version, differences } = state;
  const counted = (count: number): string => `${count} ${unit}${count === 1 ? "" : "s"}`;
  if (unit === "" || version === 0) return [];
  if (replayed === 0) {
    if (kept > 0) return [`${counted(kept)} kept, and sent again to each new version`];
    return [
      `no ${unit}s yet; those that come are sent again after each save, and what they show otherwise stands here`,
    ];
  }
  if (differences.length === 0) return [`sent ${counted(replayed)} again: the same answers`];
  const many = differences.length === 1 ? "one answer differs" : `${differences.length} answers differ`;
  const groups = grouped(differences).map(({ whats, lines }) => [
    `  ${whats[0]}${whats.length > 1 ? `, and ${whats.length - 1} more in the same way` : ""}`,
    ...lines.map((line) => `    ${line}`),
  ]);
  const lines = [`sent ${counted(replayed)} again: ${many}`, ...groups.flat()];
  return lines.length <= room ? lines : [...lines.slice(0, Math.max(room - 1, 1)), "  …"].slice(0, Math.max(room, 0));
}

/** Those that differ in the same way together. */
function grouped(
  differences: readonly Difference[],
): { readonly whats: readonly string[]; readonly lines: readonly string[] }[] {
  const groups = new Map<string, { readonly whats: string[]; readonly lines: readonly string[] }>();
  for (const { what, lines } of differences) {
    const key = lines.join("\n");
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { whats: [what], lines });
    else group.whats.push(what);
  }
  return [...groups.values()];
}
