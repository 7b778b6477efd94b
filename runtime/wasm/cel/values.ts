/**
 * Values of CEL, the Common Expression Language. int is a bigint, double a number, bytes a Uint8Array, null null;
 * the other kinds have a class. Failures are values too, since `&&` and `||` may do without their operand.
 */

export class Uint {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}

/** Nanoseconds since 1970. */
export class Timestamp {
  readonly ns: bigint;
  constructor(ns: bigint) {
    this.ns = ns;
  }
}

/** Nanoseconds. */
export class Duration {
  readonly ns: bigint;
  constructor(ns: bigint) {
    this.ns = ns;
  }
}

export class TypeName {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Why there is no value. */
export class Failure {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** A map; attributes implement it to read their parts only when they are asked for. */
export interface Mapping {
  readonly kind: "map";
  readonly size: number;
  get(key: Value): Value | undefined;
  entries(): Iterable<readonly [Value, Value]>;
  /** The message that it stands for. */
  readonly serialized?: () => Uint8Array;
}

/** A map that reads its parts when they are asked for; `names` may hold some that have no value. */
export function lazyMap(
  names: () => Iterable<string>,
  read: (name: string) => Value | undefined,
  serialized?: () => Uint8Array,
): Mapping {
  function* entries(): Iterable<readonly [Value, Value]> {
    for (const name of names()) {
      const value = read(name);
      if (value !== undefined) yield [name, value];
    }
  }
  return {
    kind: "map",
    get size() {
      return [...entries()].length;
    },
    get: (key) => (typeof key === "string" ? read(key) : undefined),
    entries,
    ...(serialized === undefined ? {} : { serialized }),
  };
}

export type Value =
  | bigint
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | Uint
  | Timestamp
  | Duration
  | TypeName
  | Mapping
  | readonly Value[];
/** What evaluating yields. */
export type Result = Value | Failure;

export function isMapping(value: Result): value is Mapping {
  return typeof value === "object" && value !== null && "kind" in value;
}
export function isList(value: Result): value is readonly Value[] {
  return Array.isArray(value);
}

/** Numbers that are equal are one key, whatever their type. Undefined: this cannot be a key. */
function keyOf(value: Value): string | undefined {
  if (typeof value === "string") return `s${value}`;
  if (typeof value === "bigint") return `n${value}`;
  if (typeof value === "boolean") return value ? "true" : "false";
  if (value instanceof Uint) return `n${value.value}`;
  return typeof value === "number" && Number.isInteger(value) ? `n${BigInt(value)}` : undefined;
}

/** A map with all its entries. */
export class EntryMap implements Mapping {
  readonly kind = "map";
  readonly #entries = new Map<string, readonly [Value, Value]>();
  get size(): number {
    return this.#entries.size;
  }
  get(key: Value): Value | undefined {
    const name = keyOf(key);
    return name === undefined ? undefined : this.#entries.get(name)?.[1];
  }
  entries(): Iterable<readonly [Value, Value]> {
    return this.#entries.values();
  }
  /** False when this is no key, or is there already. */
  add(key: Value, value: Value): boolean {
    const name = typeof key === "number" ? undefined : keyOf(key);
    if (name === undefined || this.#entries.has(name)) return false;
    this.#entries.set(name, [key, value]);
    return true;
  }
}

const INT_MIN = -(2n ** 63n);
const INT_MAX = 2n ** 63n - 1n;
const UINT_MAX = 2n ** 64n - 1n;

export function int(value: bigint): Result {
  return value < INT_MIN || value > INT_MAX ? new Failure("integer overflow") : value;
}
export function uint(value: bigint): Result {
  return value < 0n || value > UINT_MAX ? new Failure("unsigned integer overflow") : new Uint(value);
}

export const NS_PER_SECOND = 1_000_000_000n;
/** From 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z. */
const FIRST_NS = -62_135_596_800n * NS_PER_SECOND;
const LAST_NS = 253_402_300_800n * NS_PER_SECOND - 1n;

export function timestamp(ns: bigint): Result {
  return ns < FIRST_NS || ns > LAST_NS ? new Failure("timestamp out of range") : new Timestamp(ns);
}
/** CEL's durations have 64 bits of nanoseconds. */
export function duration(ns: bigint): Result {
  return ns < INT_MIN || ns > INT_MAX ? new Failure("duration out of range") : new Duration(ns);
}

export function typeName(value: Value): string {
  switch (typeof value) {
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "string":
      return "string";
    case "boolean":
      return "bool";
    default:
      return classType(value);
  }
}

function classType(value: Exclude<Value, bigint | number | string | boolean>): string {
  if (value === null) return "null_type";
  if (value instanceof Uint) return "uint";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Timestamp) return "google.protobuf.Timestamp";
  if (value instanceof Duration) return "google.protobuf.Duration";
  if (value instanceof TypeName) return "type";
  return isList(value) ? "list" : "map";
}

/** Type names that stand for themselves in an expression. */
export const TYPES: ReadonlyMap<string, TypeName> = new Map(
  [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
  ].map((name) => [name, new TypeName(name)]),
);

// ---- comparing ----------------------------------------------------------------------------------

/** Takes the price of work that depends on the size of values. */
export type Spend = (units: number) => void;

/** Equality of CEL: numbers by value, values of other types never equal. */
export function equal(a: Value, b: Value, spend: Spend): boolean {
  spend(1);
  const order = compareNumbers(a, b);
  if (order !== undefined) return order === 0;
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array) {
    spend(a.length >> 5);
    return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  }
  if (a instanceof Timestamp) return b instanceof Timestamp && a.ns === b.ns;
  if (a instanceof Duration) return b instanceof Duration && a.ns === b.ns;
  if (a instanceof TypeName) return b instanceof TypeName && a.name === b.name;
  if (isList(a)) return isList(b) && a.length === b.length && a.every((one, n) => equal(one, b[n]!, spend));
  if (!isMapping(a) || !isMapping(b) || a.size !== b.size) return false;
  for (const [key, value] of a.entries()) {
    const other = b.get(key);
    if (other === undefined || !equal(value, other, spend)) return false;
  }
  return true;
}

/** Below 0, 0 or above 0, as doubles when one is; NaN when one is not a number to order; undefined when these are not two numbers. */
function compareNumbers(a: Value, b: Value): number | undefined {
  const left = a instanceof Uint ? a.value : a;
  const right = b instanceof Uint ? b.value : b;
  if (typeof left !== "bigint" && typeof left !== "number") return undefined;
  if (typeof right !== "bigint" && typeof right !== "number") return undefined;
  if (typeof left !== typeof right) return compareNumbers(Number(left), Number(right));
  if (left < right) return -1;
  if (left > right) return 1;
  return left === right ? 0 : Number.NaN;
}

/** The order of two values of one kind; NaN when they have none; undefined for kinds without order. */
export function compare(a: Value, b: Value, spend: Spend): number | undefined {
  const numbers = compareNumbers(a, b);
  if (numbers !== undefined) return numbers;
  if (typeof a === "string" && typeof b === "string") {
    spend(Math.min(a.length, b.length) >> 5);
    return compareTexts(a, b);
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    spend(Math.min(a.length, b.length) >> 5);
    return Buffer.compare(a, b);
  }
  if (a instanceof Timestamp && b instanceof Timestamp) return compareNumbers(a.ns, b.ns);
  return a instanceof Duration && b instanceof Duration ? compareNumbers(a.ns, b.ns) : undefined;
}

/** By code points: UTF-16 puts the characters beyond the first plane before some of it. */
function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  if (!/[\ud800-\udfff]/.test(a) && !/[\ud800-\udfff]/.test(b)) return a < b ? -1 : 1;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
