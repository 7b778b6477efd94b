/** The standard functions and operators of CEL, by name: each takes values and yields one, or says why not. */
import {
  durationPart,
  isTimePart,
  readDuration,
  readTimestamp,
  timePart,
  writeDuration,
  writeTimestamp,
} from "./time.ts";
import {
  compare,
  duration,
  Duration,
  equal,
  Failure,
  int,
  isList,
  isMapping,
  NS_PER_SECOND,
  timestamp,
  Timestamp,
  TypeName,
  typeName,
  TYPES,
  Uint,
  uint,
} from "./values.ts";
import type { Result, Spend, Value } from "./values.ts";

/** What an evaluation lends to its functions. */
export interface Surroundings {
  /** Takes the price of work that depends on the size of values. */
  readonly spend: Spend;
  /** Whether an RE2 expression matches some part of a text; undefined when it is no expression, or too big. */
  matches(expression: string, text: string): boolean | undefined;
}

type Operation = (a: Value, b: Value, around: Surroundings) => Result;

/** What looking up the clock of a time zone costs. */
const ZONE_STEPS = 500;
const NO_OVERLOAD = new Failure("no such overload");
const DIVISION = new Failure("division by zero");

/** Calls function, method or operator `name`; the receiver of a method is the first of `args`. */
export function apply(name: string, method: boolean, args: readonly Value[], around: Surroundings): Result {
  const [a, b] = args;
  if (a === undefined || args.length > 2) return NO_OVERLOAD;
  if (b !== undefined) {
    const operation = (method ? METHODS : OPERATORS).get(name);
    if (operation !== undefined) return operation(a, b, around);
    if (!method || !isTimePart(name) || !(a instanceof Timestamp) || typeof b !== "string") return NO_OVERLOAD;
    around.spend(ZONE_STEPS);
    return timePart(name, a, b);
  }
  if (name === "size") return size(a, around);
  if (method) {
    if (!isTimePart(name)) return NO_OVERLOAD;
    if (a instanceof Timestamp) return timePart(name, a, "");
    return a instanceof Duration ? durationPart(name, a) : NO_OVERLOAD;
  }
  return FUNCTIONS.get(name)?.(a, around) ?? NO_OVERLOAD;
}

/** Whether there is any function of that name. */
export function isFunction(name: string, method: boolean): boolean {
  if (name === "size") return true;
  return method ? METHODS.has(name) || isTimePart(name) : FUNCTIONS.has(name) || OPERATORS.has(name);
}

function ordered(holds: (order: number) => boolean): Operation {
  return (a, b, { spend }) => {
    const order = compare(a, b, spend);
    return order === undefined ? NO_OVERLOAD : holds(order);
  };
}

/** Arithmetic of two values of one type. */
function arithmetic(
  ints: (a: bigint, b: bigint) => bigint | Failure,
  doubles: ((a: number, b: number) => number) | null,
  others: Operation = () => NO_OVERLOAD,
): Operation {
  return (a, b, around) => {
    if (typeof a === "bigint" && typeof b === "bigint") {
      const result = ints(a, b);
      return result instanceof Failure ? result : int(result);
    }
    if (a instanceof Uint && b instanceof Uint) {
      const result = ints(a.value, b.value);
      return result instanceof Failure ? result : uint(result);
    }
    if (doubles !== null && typeof a === "number" && typeof b === "number") return doubles(a, b);
    return others(a, b, around);
  };
}

const matches: Operation = (text, expression, around) => {
  if (typeof text !== "string" || typeof expression !== "string") return NO_OVERLOAD;
  return around.matches(expression, text) ?? new Failure("not a regular expression, or too big a one");
};

const OPERATORS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["==", (a, b, { spend }) => equal(a, b, spend)],
  ["!=", (a, b, { spend }) => !equal(a, b, spend)],
  ["<", ordered((order) => order < 0)],
  ["<=", ordered((order) => order <= 0)],
  [">", ordered((order) => order > 0)],
  [">=", ordered((order) => order >= 0)],
  ["in", contained],
  [
    "+",
    arithmetic(
      (a, b) => a + b,
      (a, b) => a + b,
      sum,
    ),
  ],
  [
    "-",
    arithmetic(
      (a, b) => a - b,
      (a, b) => a - b,
      difference,
    ),
  ],
  [
    "*",
    arithmetic(
      (a, b) => a * b,
      (a, b) => a * b,
    ),
  ],
  [
    "/",
    arithmetic(
      (a, b) => (b === 0n ? DIVISION : a / b),
      (a, b) => a / b,
    ),
  ],
  ["%", arithmetic((a, b) => (b === 0n ? DIVISION : a % b), null)],
  ["matches", matches],
]);

function textTest(test: (text: string, part: string) => boolean): Operation {
  return (text, part, { spend }) => {
    if (typeof text !== "string" || typeof part !== "string") return NO_OVERLOAD;
    spend(text.length >> 5);
    return test(text, part);
  };
}

const METHODS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["contains", textTest((text, part) => text.includes(part))],
  ["startsWith", textTest((text, part) => text.startsWith(part))],
  ["endsWith", textTest((text, part) => text.endsWith(part))],
  ["matches", matches],
]);

function contained(value: Value, within: Value, { spend }: Surroundings): Result {
  if (isMapping(within)) {
    return typeName(value) === "null_type" ? NO_OVERLOAD : within.get(value) !== undefined;
  }
  return isList(within) ? within.some((one) => equal(one, value, spend)) : NO_OVERLOAD;
}

function sum(a: Value, b: Value, { spend }: Surroundings): Result {
  if (typeof a === "string" && typeof b === "string") {
    spend((a.length + b.length) >> 5);
    return a + b;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    spend((a.length + b.length) >> 5);
    return Buffer.concat([a, b]);
  }
  if (isList(a) && isList(b)) {
    spend(a.length + b.length);
    return [...a, ...b];
  }
  if (a instanceof Duration && b instanceof Duration) return duration(a.ns + b.ns);
  if (a instanceof Timestamp && b instanceof Duration) return timestamp(a.ns + b.ns);
  return a instanceof Duration && b instanceof Timestamp ? timestamp(a.ns + b.ns) : NO_OVERLOAD;
}

function difference(a: Value, b: Value): Result {
  if (a instanceof Duration && b instanceof Duration) return duration(a.ns - b.ns);
  if (a instanceof Timestamp && b instanceof Timestamp) return duration(a.ns - b.ns);
  return a instanceof Timestamp && b instanceof Duration ? timestamp(a.ns - b.ns) : NO_OVERLOAD;
}

function size(value: Value, { spend }: Surroundings): Result {
  if (typeof value === "string") {
    spend(value.length >> 4);
    let count = 0;
    // Characters, not the halves that UTF-16 makes of some.
    for (const _ of value) count++;
    return BigInt(count);
  }
  if (value instanceof Uint8Array || isList(value)) return BigInt(value.length);
  return isMapping(value) ? BigInt(value.size) : NO_OVERLOAD;
}

// ---- conversions --------------------------------------------------------------------------------

const RANGE = new Failure("out of range");
const FORMAT = new Failure("not the text of such a value");

const FUNCTIONS: ReadonlyMap<string, (value: Value, around: Surroundings) => Result> = new Map([
  ["!", (value) => (typeof value === "boolean" ? !value : NO_OVERLOAD)],
  ["neg", negated],
  ["dyn", (value: Value): Result => value],
  ["type", (value: Value): Result => TYPES.get(typeName(value)) ?? new TypeName(typeName(value))],
  ["bool", toBool],
  ["int", toInt],
  ["uint", toUint],
  ["double", toDouble],
  ["string", toText],
  ["bytes", toBytes],
  ["timestamp", toTimestamp],
  ["duration", toDuration],
]);

function negated(value: Value): Result {
  if (typeof value === "bigint") return int(-value);
  return typeof value === "number" ? -value : NO_OVERLOAD;
}

function toBool(value: Value): Result {
  if (typeof value === "boolean") return value;
  if (typeof value !== "string") return NO_OVERLOAD;
  if (["1", "t", "T", "true", "TRUE", "True"].includes(value)) return true;
  return ["0", "f", "F", "false", "FALSE", "False"].includes(value) ? false : FORMAT;
}

function toInt(value: Value): Result {
  if (typeof value === "bigint") return value;
  if (value instanceof Uint) return int(value.value);
  // The ends of the range are no doubles: what rounds to one is out.
  if (typeof value === "number") return Math.abs(value) < 2 ** 63 ? BigInt(Math.trunc(value)) : RANGE;
  if (typeof value === "string") return /^[+-]?\d{1,19}$/.test(value) ? int(BigInt(value.replace(/^\+/, ""))) : FORMAT;
  if (!(value instanceof Timestamp)) return NO_OVERLOAD;
  const rest = value.ns % NS_PER_SECOND;
  return (value.ns - (rest < 0n ? rest + NS_PER_SECOND : rest)) / NS_PER_SECOND;
}

function toUint(value: Value): Result {
  if (value instanceof Uint) return value;
  if (typeof value === "bigint") return uint(value);
  if (typeof value === "number") return value > -1 && value < 2 ** 64 ? uint(BigInt(Math.trunc(value))) : RANGE;
  if (typeof value === "string") return /^\d{1,20}$/.test(value) ? uint(BigInt(value)) : FORMAT;
  return NO_OVERLOAD;
}

function toDouble(value: Value): Result {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint) return Number(value.value);
  if (typeof value !== "string") return NO_OVERLOAD;
  if (/^[+-]?(?:inf|infinity)$/i.test(value)) return value.startsWith("-") ? -Infinity : Infinity;
  if (/^nan$/i.test(value)) return Number.NaN;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value) ? Number(value) : FORMAT;
}

function toText(value: Value, { spend }: Surroundings): Result {
  if (typeof value === "string") return value;
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (typeof value === "number") return doubleText(value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return writeTimestamp(value);
  if (value instanceof Duration) return writeDuration(value);
  if (!(value instanceof Uint8Array)) return NO_OVERLOAD;
  spend(value.length >> 4);
  try {
    return STRICT_UTF8.decode(value);
  } catch {
    // A TypeError: not UTF-8.
    return new Failure("invalid UTF-8");
  }
}

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function doubleText(value: number): string {
  if (Number.isFinite(value)) return String(value).replace(/e([+-])(\d)$/, "e$10$2");
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

function toBytes(value: Value, { spend }: Surroundings): Result {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") return NO_OVERLOAD;
  spend(value.length >> 4);
  return Buffer.from(value);
}

function toTimestamp(value: Value): Result {
  if (value instanceof Timestamp) return value;
  if (typeof value === "bigint") return timestamp(value * NS_PER_SECOND);
  return typeof value === "string" ? readTimestamp(value) : NO_OVERLOAD;
}

function toDuration(value: Value): Result {
  if (value instanceof Duration) return value;
  if (typeof value === "bigint") return duration(value * NS_PER_SECOND);
  return typeof value === "string" ? readDuration(value) : NO_OVERLOAD;
}
