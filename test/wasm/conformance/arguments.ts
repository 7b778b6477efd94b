/** How the tables of host functions say what a function is called with, and what it answers. */
import type { FailureReason } from "../../../runtime/wasm/instance/failure.ts";

/** One argument of the ABI; some are two numbers. */
export type Arg =
  /** Bytes in guest memory: address and size. */
  | { readonly kind: "in"; readonly bytes: Uint8Array; readonly name: string }
  /** The same, where the ABI takes the address alone. */
  | { readonly kind: "at"; readonly bytes: Uint8Array }
  /** A stretch of guest memory as it is. */
  | { readonly kind: "span"; readonly at: number; readonly size: number }
  /** Where the host writes a number. What it writes is `held` under the name. */
  | { readonly kind: "out"; readonly bytes: number; readonly name: string }
  /** Where the host writes pointer and size of what it gives. */
  | { readonly kind: "result" }
  /** A member of a closed set, and what is none. */
  | { readonly kind: "set"; readonly value: number; readonly bad: readonly number[]; readonly status: number }
  | { readonly kind: "value"; readonly value: number | bigint }
  | { readonly kind: "held"; readonly name: string };

export function text(content: string | Uint8Array, name = ""): Arg {
  return { kind: "in", bytes: typeof content === "string" ? Buffer.from(content, "latin1") : content, name };
}
export function at(content: Uint8Array): Arg {
  return { kind: "at", bytes: content };
}
export function span(at: number, size: number): Arg {
  return { kind: "span", at, size };
}
export function out(name = "out", bytes = 4): Arg {
  return { kind: "out", bytes, name };
}
export const RESULT: Arg = { kind: "result" };
/** A closed set of Proxy-Wasm: from 0 to `last`. */
export function upTo(last: number, value = 0): Arg {
  return { kind: "set", value, bad: [last + 1, 99, -1], status: 2 };
}
export function value(number: number | bigint): Arg {
  return { kind: "value", value: number };
}
export function held(name: string): Arg {
  return { kind: "held", name };
}

/** A function and what it is called with. */
export type Row = readonly [name: string, ...args: readonly Arg[]];

/** Where in the life of a stream a call is made. */
export type Phase = "headers" | "body" | "full body" | "log" | "tick";

/** The arguments that work with some changed, and what the function answers then. */
export interface Case {
  readonly name: string;
  /** By index of the argument. */
  readonly change: Readonly<Record<number, Arg>>;
  readonly status: number;
  readonly phase?: Phase;
  /** Calls in front of it, in place of the function's own. */
  readonly before?: readonly Row[];
}

export function differs(name: string, change: Readonly<Record<number, Arg>>, status: number): Case {
  return { name, change, status };
}

/** A test in another file shows it: a case needs more than a call. */
export interface Elsewhere {
  readonly file: string;
  readonly test: string;
}

/** One host function. Bad pointers and bad members of sets are made from the arguments. */
export interface FunctionCases {
  /** What works in `phase`. */
  readonly args: readonly Arg[];
  readonly phase?: Phase;
  /** What it answers to them; OK unless it is said. */
  readonly status?: number;
  /** Calls that are made before each. */
  readonly before?: readonly Row[];
  /** Answers in a root context, and in the log phase. */
  readonly root: number;
  readonly log: number;
  readonly others?: readonly Case[];
  /** What goes over a limit; or why there is none to go over; or the test that does. */
  readonly limit: readonly Case[] | string | Elsewhere;
  /** Answer to a bad address. */
  readonly outside?: number;
  /** Answer to a good address with 4 GiB behind it, where a limit comes first. */
  readonly huge?: number;
  /** The result is empty, so that no allocator is asked. */
  readonly emptyResult?: true;
}

/** A function without a status: what it does to the instance when it is called with nonsense. */
export interface QuietFunction {
  readonly ends: FailureReason | null;
}
