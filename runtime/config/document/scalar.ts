/**
 * Scalars by the rules of protobuf's JSON mapping: what is accepted for each kind, and nothing more.
 * A failure is an {@link Mismatch} that says what was expected.
 */
import type { ScalarType } from "../schema/schema.ts";
import type { Scalar } from "./message.ts";
import type { ScalarTree, Tree } from "./tree.ts";

/** Why a value does not fit its field. */
export class Mismatch {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

interface IntegerRange {
  readonly least: bigint;
  readonly most: bigint;
}
const SIGNED_32: IntegerRange = { least: -(2n ** 31n), most: 2n ** 31n - 1n };
const UNSIGNED_32: IntegerRange = { least: 0n, most: 2n ** 32n - 1n };
const SIGNED_64: IntegerRange = { least: -(2n ** 63n), most: 2n ** 63n - 1n };
const UNSIGNED_64: IntegerRange = { least: 0n, most: 2n ** 64n - 1n };
const RANGES: Partial<Record<ScalarType, IntegerRange>> = {
  int32: SIGNED_32,
  sint32: SIGNED_32,
  sfixed32: SIGNED_32,
  uint32: UNSIGNED_32,
  fixed32: UNSIGNED_32,
  int64: SIGNED_64,
  sint64: SIGNED_64,
  sfixed64: SIGNED_64,
  uint64: UNSIGNED_64,
  fixed64: UNSIGNED_64,
};
const LARGEST_FLOAT = 3.402_823_466_385_288_6e38;

/** The value of a scalar field. */
export function readScalar(tree: ScalarTree, kind: ScalarType): Scalar | Mismatch {
  const { value } = tree;
  if (kind === "string")
    return typeof value === "string"
      ? value
      : new Mismatch(`expected a text, found ${describe(tree)}; put it in quotes`);
  if (kind === "bool")
    return typeof value === "boolean" ? value : new Mismatch(`expected true or false, found ${describe(tree)}`);
  if (kind === "bytes")
    return typeof value === "string"
      ? readBase64(value)
      : new Mismatch(`expected base64 text, found ${describe(tree)}`);
  if (kind === "double" || kind === "float") return readFloat(tree, kind);
  return readInteger(tree, kind, RANGES[kind] ?? SIGNED_32);
}

/** `a text "x"`, `the number 5`: for messages. */
export function describe(tree: Tree): string {
  if (tree.kind !== "scalar") return `a ${tree.kind}`;
  if (tree.value === null) return "null";
  if (typeof tree.value === "string") return `the text ${JSON.stringify(shorten(tree.value))}`;
  return `${typeof tree.value === "number" ? "the number " : ""}${shorten(tree.text === "" ? String(tree.value) : tree.text)}`;
}

/** Long texts are cut in messages. */
export function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function readInteger(tree: ScalarTree, kind: ScalarType, range: IntegerRange): Scalar | Mismatch {
  const whole = exactInteger(tree);
  if (whole === undefined) return new Mismatch(`expected a whole number (${kind}), found ${describe(tree)}`);
  if (whole < range.least || whole > range.most)
    return new Mismatch(`${shorten(tree.text)} is out of range for ${kind} (${range.least} to ${range.most})`);
  return whole >= BigInt(Number.MIN_SAFE_INTEGER) && whole <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(whole) : whole;
}

/** Exact beyond 2^53, where the text must be asked; 1.0 and 1e3 are whole. */
function exactInteger(tree: ScalarTree): bigint | undefined {
  const { value } = tree;
  const text = typeof value === "string" ? value : tree.text;
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  if (/^[-+]?\d{1,40}$/.test(text))
    return text.startsWith("+") && typeof value === "string" ? undefined : BigInt(text.replace("+", ""));
  const number = typeof value === "number" ? value : decimal(value);
  return number !== undefined && Number.isInteger(number) ? BigInt(number) : undefined;
}

function decimal(text: string): number | undefined {
  return text.length <= 400 && /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text) ? Number(text) : undefined;
}

function readFloat(tree: ScalarTree, kind: "double" | "float"): Scalar | Mismatch {
  const { value } = tree;
  const special = value === "NaN" || value === "Infinity" || value === "-Infinity";
  const number =
    typeof value === "number"
      ? value
      : special
        ? Number(value)
        : typeof value === "string"
          ? decimal(value)
          : undefined;
  if (number === undefined) return new Mismatch(`expected a number (${kind}), found ${describe(tree)}`);
  const tooLarge = kind === "float" && Number.isFinite(number) && Math.abs(number) > LARGEST_FLOAT;
  if (tooLarge || (!Number.isFinite(number) && typeof value === "string" && !special))
    return new Mismatch(`${shorten(tree.text)} is out of range for ${kind}`);
  return number;
}

function readBase64(text: string): Uint8Array | Mismatch {
  const standard = text.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
  if (!/^[A-Za-z0-9+/]*$/.test(standard) || standard.length % 4 === 1)
    return new Mismatch(`expected base64 text, found ${JSON.stringify(shorten(text))}`);
  return new Uint8Array(Buffer.from(standard, "base64"));
}

const LARGEST_SECONDS = 315_576_000_000;

/** `"1.5s"`: at most nine digits after the point. */
export function readDuration(tree: ScalarTree): { seconds: number; nanos: number } | Mismatch {
  const match = typeof tree.value === "string" ? /^(-?)(\d{1,18})(?:\.(\d{1,9}))?s$/.exec(tree.value) : null;
  if (match === null) return new Mismatch(`expected a duration such as "1.5s", found ${describe(tree)}`);
  const sign = match[1] === "-" ? -1 : 1;
  const seconds = Number(match[2]);
  const nanos = Number((match[3] ?? "").padEnd(9, "0"));
  if (seconds > LARGEST_SECONDS)
    return new Mismatch(`${String(tree.value)} is out of range for a duration (${LARGEST_SECONDS}s)`);
  return { seconds: unsignedZero(sign * seconds), nanos: unsignedZero(sign * nanos) };
}

/** RFC 3339, years 1 to 9999. */
export function readTimestamp(tree: ScalarTree): { seconds: number; nanos: number } | Mismatch {
  const match =
    typeof tree.value === "string"
      ? /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[-+]\d{2}:\d{2})$/.exec(tree.value)
      : null;
  const millis = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(millis) || match[1]?.startsWith("0000") === true) {
    return new Mismatch(`expected a time such as "2026-01-02T03:04:05Z", found ${describe(tree)}`);
  }
  return { seconds: millis / 1000, nanos: Number((match[2] ?? "").padEnd(9, "0")) };
}

function unsignedZero(value: number): number {
  return value === 0 ? 0 : value;
}
