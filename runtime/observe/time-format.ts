/** Times in access logs and headers: strftime as START_TIME takes it, with Envoy's `%s`, `%f` and `%1f` to `%9f`. */
import { ProxyError } from "../errors.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** A moment, taken apart in the zone that was asked for. `epochMs` may have a fraction. */
interface Moment {
  readonly epochMs: number;
  /** A date whose UTC fields are the fields to print. */
  readonly date: Date;
  readonly offsetMinutes: number;
}
type Field = (moment: Moment) => string;

const two = (value: number): string => (value < 10 ? `0${value}` : String(value));
const padded = (value: number): string => String(value).padStart(2, " ");
const hour12 = (date: Date): number => date.getUTCHours() % 12 || 12;
const dayOfYear = (date: Date): number =>
  Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000);
const clock = (date: Date): string =>
  `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
const isoDay = (date: Date): string =>
  `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
const american = (date: Date): string =>
  `${two(date.getUTCMonth() + 1)}/${two(date.getUTCDate())}/${two(date.getUTCFullYear() % 100)}`;
const short = (name: string): string => name.slice(0, 3);
const zone = (minutes: number): string => {
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}${two(size % 60)}`;
};

const FIELDS: Readonly<Record<string, Field>> = {
  a: ({ date }) => short(DAYS[date.getUTCDay()]!),
  A: ({ date }) => DAYS[date.getUTCDay()]!,
  b: ({ date }) => short(MONTHS[date.getUTCMonth()]!),
  B: ({ date }) => MONTHS[date.getUTCMonth()]!,
  c: ({ date }) =>
    `${short(DAYS[date.getUTCDay()]!)} ${short(MONTHS[date.getUTCMonth()]!)} ${padded(date.getUTCDate())} ${clock(date)} ${date.getUTCFullYear()}`,
  C: ({ date }) => two(Math.floor(date.getUTCFullYear() / 100)),
  d: ({ date }) => two(date.getUTCDate()),
  D: ({ date }) => american(date),
  e: ({ date }) => padded(date.getUTCDate()),
  F: ({ date }) => isoDay(date),
  h: ({ date }) => short(MONTHS[date.getUTCMonth()]!),
  H: ({ date }) => two(date.getUTCHours()),
  I: ({ date }) => two(hour12(date)),
  j: ({ date }) => String(dayOfYear(date) + 1).padStart(3, "0"),
  k: ({ date }) => padded(date.getUTCHours()),
  l: ({ date }) => padded(hour12(date)),
  m: ({ date }) => two(date.getUTCMonth() + 1),
  M: ({ date }) => two(date.getUTCMinutes()),
  n: () => "\n",
  p: ({ date }) => (date.getUTCHours() < 12 ? "AM" : "PM"),
  r: ({ date }) =>
    `${two(hour12(date))}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} ${date.getUTCHours() < 12 ? "AM" : "PM"}`,
  R: ({ date }) => `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`,
  s: ({ epochMs }) => String(Math.floor(epochMs / 1000)),
  S: ({ date }) => two(date.getUTCSeconds()),
  t: () => "\t",
  T: ({ date }) => clock(date),
  u: ({ date }) => String(date.getUTCDay() || 7),
  U: ({ date }) => two(Math.floor((dayOfYear(date) + 7 - date.getUTCDay()) / 7)),
  w: ({ date }) => String(date.getUTCDay()),
  W: ({ date }) => two(Math.floor((dayOfYear(date) + 7 - ((date.getUTCDay() + 6) % 7)) / 7)),
  x: ({ date }) => american(date),
  X: ({ date }) => clock(date),
  y: ({ date }) => two(date.getUTCFullYear() % 100),
  Y: ({ date }) => String(date.getUTCFullYear()),
  z: ({ offsetMinutes }) => zone(offsetMinutes),
  Z: ({ offsetMinutes }) => (offsetMinutes === 0 ? "UTC" : zone(offsetMinutes)),
  "%": () => "%",
};

/** Compiles a strftime text; the result takes milliseconds since the epoch. Throws ProxyError `FORMAT_INVALID`. */
export function compileTime(text: string, local: boolean): (epochMs: number) => string {
  const parts: (string | Field)[] = [];
  for (let at = 0; at < text.length;) {
    if (text[at] !== "%") {
      const next = text.indexOf("%", at);
      const end = next === -1 ? text.length : next;
      parts.push(text.slice(at, end));
      at = end;
      continue;
    }
    const digits = /[1-9]/.test(text[at + 1] ?? "") ? Number(text[at + 1]) : 0;
    const letter = text[at + (digits === 0 ? 1 : 2)] ?? "";
    const field = letter === "f" ? fraction(digits === 0 ? 9 : digits) : digits === 0 ? FIELDS[letter] : undefined;
    if (field === undefined || letter === "") {
      throw new ProxyError("FORMAT_INVALID", "config", `"${text.slice(at, at + 3)}" is no time field`);
    }
    parts.push(field);
    at += digits === 0 ? 2 : 3;
  }
  return (epochMs) => {
    const offsetMinutes = local ? -new Date(epochMs).getTimezoneOffset() : 0;
    const moment = { epochMs, offsetMinutes, date: new Date(epochMs + offsetMinutes * 60_000) };
    let out = "";
    for (const part of parts) out += typeof part === "string" ? part : part(moment);
    return out;
  };
}

function fraction(digits: number): Field {
  return ({ epochMs }) => {
    const nanoseconds = Math.floor((epochMs - Math.floor(epochMs / 1000) * 1000) * 1e6);
    return String(nanoseconds).padStart(9, "0").slice(0, digits);
  };
}

let cachedSecond = NaN;
let cachedText = "";

/** Envoy's default, `2016-04-15T20:17:00.310Z`. */
export function isoTime(epochMs: number): string {
  const second = Math.floor(epochMs / 1000);
  if (second !== cachedSecond) {
    cachedSecond = second;
    cachedText = new Date(second * 1000).toISOString().slice(0, 20);
  }
  const ms = Math.floor(epochMs) - second * 1000;
  return `${cachedText}${ms < 10 ? "00" : ms < 100 ? "0" : ""}${ms}Z`;
}
