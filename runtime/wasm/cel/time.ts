/** Texts of CEL's timestamps and durations, and the parts of a timestamp. */
import { MAX_TIME_ZONES } from "../../limits.ts";
import { duration, Failure, NS_PER_SECOND, timestamp } from "./values.ts";
import type { Duration, Result, Timestamp } from "./values.ts";

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;
const UNITS: Readonly<Record<string, bigint>> = {
  h: 3600n * NS_PER_SECOND,
  m: 60n * NS_PER_SECOND,
  s: NS_PER_SECOND,
  ms: 1_000_000n,
  us: 1000n,
  ns: 1n,
};
const DURATION = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|µs|ns))+$/;
const LONGEST = 64;

export function readTimestamp(text: string): Result {
  const parts = RFC3339.exec(text);
  if (parts === null) return new Failure("not a timestamp of RFC 3339");
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  // Date.UTC would take years below 100 for 19xx.
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || hour > 23 || minute > 59 || second > 59) return new Failure("no such time");
  date.setUTCHours(hour, minute, second);
  const offset = zoneOffset(parts[8]!);
  if (offset === undefined) return new Failure("no such offset");
  const seconds = BigInt(date.getTime() / 1000 - offset * 60);
  return timestamp(seconds * NS_PER_SECOND + BigInt((parts[7] ?? "").padEnd(9, "0")));
}

/** Minutes east of Greenwich; undefined when this is no offset. */
function zoneOffset(text: string): number | undefined {
  if (/^(?:[Zz]|UTC|)$/.test(text)) return 0;
  const parts = /^([+-]?)(\d\d):(\d\d)$/.exec(text);
  if (parts === null || Number(parts[2]) > 23 || Number(parts[3]) > 59) return undefined;
  const minutes = Number(parts[2]) * 60 + Number(parts[3]);
  return parts[1] === "-" ? -minutes : minutes;
}

export function writeTimestamp({ ns }: Timestamp): string {
  const rest = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  const date = new Date(Number((ns - rest) / 1_000_000n)).toISOString().slice(0, 19);
  return `${date}${fraction(rest)}Z`;
}

/** `1h2.5s`: a sum of numbers with units. */
export function readDuration(text: string): Result {
  if (text === "0") return duration(0n);
  if (text.length > LONGEST || !DURATION.test(text)) return new Failure("not a duration");
  let sum = 0n;
  for (const [, whole, part, unit] of text.matchAll(/(\d*)\.?(\d*)(h|ms|m|s|us|µs|ns)/g)) {
    const scale = UNITS[unit === "µs" ? "us" : unit!]!;
    sum += BigInt(whole || 0) * scale + (BigInt(part || 0) * scale) / 10n ** BigInt(part!.length);
  }
  return duration(text.startsWith("-") ? -sum : sum);
}

/** In seconds, as protobuf's JSON has it. */
export function writeDuration({ ns }: Duration): string {
  const size = ns < 0n ? -ns : ns;
  return `${ns < 0n ? "-" : ""}${size / NS_PER_SECOND}${fraction(size % NS_PER_SECOND)}s`;
}

function fraction(ns: bigint): string {
  return ns === 0n ? "" : `.${String(ns).padStart(9, "0").replace(/0+$/, "")}`;
}

const PARTS: Readonly<Record<string, (date: Date, ns: bigint) => number>> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDate: (date) => date.getUTCDate(),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDayOfWeek: (date) => date.getUTCDay(),
  getDayOfYear: dayOfYear,
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
  getMilliseconds: (date) => date.getUTCMilliseconds(),
};

function dayOfYear(date: Date): number {
  const first = new Date(date);
  first.setUTCMonth(0, 1);
  return Math.round((date.getTime() - first.getTime()) / 86_400_000);
}

export function isTimePart(name: string): boolean {
  return Object.hasOwn(PARTS, name);
}

/** Part `name` of a timestamp, in UTC or the zone named: an offset or a name of the time zone database. */
export function timePart(name: string, { ns }: Timestamp, zone: string): Result {
  let floor = ns / 1_000_000n;
  if (ns % 1_000_000n < 0n) floor--;
  const ms = Number(floor);
  const offset = zoneOffset(zone);
  const local = offset === undefined ? zoneClock(zone, ms) : ms + offset * 60_000;
  return local === undefined ? new Failure("no such time zone") : BigInt(PARTS[name]!(new Date(local), ns));
}

const DURATION_PARTS: Readonly<Record<string, bigint>> = {
  getHours: 3600n * NS_PER_SECOND,
  getMinutes: 60n * NS_PER_SECOND,
  getSeconds: NS_PER_SECOND,
};

/** The whole duration in that unit; its milliseconds are those beyond the seconds. */
export function durationPart(name: string, { ns }: Duration): Result {
  if (name === "getMilliseconds") return (ns % NS_PER_SECOND) / 1_000_000n;
  const unit = DURATION_PARTS[name];
  return unit === undefined ? new Failure("no such overload") : ns / unit;
}

/** Making a formatter takes some ten microseconds and memory. */
const clocks = new Map<string, Intl.DateTimeFormat | undefined>();

/** The time that clocks of `zone` show, as if it were UTC; undefined when there is no such zone. */
function zoneClock(zone: string, ms: number): number | undefined {
  if (zone.length > LONGEST) return undefined;
  let clock = clocks.get(zone);
  if (clock === undefined && !clocks.has(zone)) {
    if (clocks.size >= MAX_TIME_ZONES) clocks.clear();
    clocks.set(zone, (clock = zoneFormat(zone)));
  }
  if (clock === undefined) return undefined;
  const part = new Map(clock.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  const local = new Date(0);
  local.setUTCFullYear(part.get("year")!, part.get("month")! - 1, part.get("day"));
  local.setUTCHours(part.get("hour")!, part.get("minute"), part.get("second"), ((ms % 1000) + 1000) % 1000);
  return local.getTime();
}

function zoneFormat(timeZone: string): Intl.DateTimeFormat | undefined {
  const numeric = "numeric" as const;
  const fields = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric };
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", calendar: "iso8601", ...fields });
  } catch {
    // A RangeError: the guest named a zone that there is not.
    return undefined;
  }
}
