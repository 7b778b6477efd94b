/**
 * A decoded message: values by field name, each with its place in the text. Everything after the decoding
 * (merge, rules, builders, wire format, dump) reads this form.
 */
import type { Spot } from "../problem.ts";
import type { Field, MessageType } from "../schema/schema.ts";

export type Scalar = string | number | bigint | boolean | Uint8Array;
export type Single = Scalar | Message;
export interface Slot {
  readonly field: Field;
  /** Enums are numbers; 64-bit numbers are bigint where a number cannot hold them. */
  readonly value: Single | Single[] | Map<string, Single>;
  readonly at: Spot;
  /** Places of the members of a list or of the values of a map. */
  readonly spots: readonly Spot[];
}

/** One decoded message; `path` is its place in the field tree, `at` its place in the text. */
export class Message {
  readonly type: MessageType;
  readonly at: Spot;
  readonly path: string;
  readonly slots = new Map<string, Slot>();
  /** Struct, Value and ListValue: the plain JSON value. */
  json: unknown = undefined;
  /** Any: the full name in `@type`, and its message; undefined message: a type we know of but do not support. */
  anyType = "";
  any: Message | undefined = undefined;

  /** Fields that the text means to set, but wrongly: reported already, so that their absence is no second problem. */
  #failed: Set<string> | undefined;

  constructor(type: MessageType, at: Spot, path: string) {
    this.type = type;
    this.at = at;
    this.path = path;
  }

  markFailed(name: string): void {
    this.#failed ??= new Set();
    this.#failed.add(name);
  }

  hasFailed(name: string): boolean {
    return this.#failed?.has(name) === true;
  }

  has(name: string): boolean {
    return this.slots.has(name);
  }

  /** The place of a field's value, else of the message. */
  spot(name: string): Spot {
    return this.slots.get(name)?.at ?? this.at;
  }

  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  text(name: string): string {
    const value = this.slots.get(name)?.value;
    return typeof value === "string" ? value : "";
  }

  number(name: string): number {
    const value = this.slots.get(name)?.value;
    return typeof value === "number" || typeof value === "bigint" ? Number(value) : 0;
  }

  flag(name: string): boolean {
    return this.slots.get(name)?.value === true;
  }

  bytes(name: string): Uint8Array | undefined {
    const value = this.slots.get(name)?.value;
    return value instanceof Uint8Array ? value : undefined;
  }

  message(name: string): Message | undefined {
    const value = this.slots.get(name)?.value;
    return value instanceof Message ? value : undefined;
  }

  messages(name: string): Message[] {
    const value = this.slots.get(name)?.value;
    return Array.isArray(value) ? value.filter((item) => item instanceof Message) : [];
  }

  texts(name: string): string[] {
    const value = this.slots.get(name)?.value;
    return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
  }

  numbers(name: string): number[] {
    const value = this.slots.get(name)?.value;
    return Array.isArray(value) ? value.filter((item) => typeof item === "number") : [];
  }

  map(name: string): Map<string, Single> {
    const value = this.slots.get(name)?.value;
    return value instanceof Map ? value : new Map<string, Single>();
  }

  /** The value inside a wrapper message (UInt32Value, BoolValue …), or the default when it is unset. */
  wrappedNumber(name: string, unset: number): number {
    const wrapper = this.message(name);
    return wrapper === undefined ? unset : wrapper.number("value");
  }

  wrappedFlag(name: string, unset: boolean): boolean {
    const wrapper = this.message(name);
    return wrapper === undefined ? unset : wrapper.flag("value");
  }

  /** Milliseconds of a Duration field. */
  millis(name: string, unset: number): number {
    const duration = this.message(name);
    return duration === undefined ? unset : durationMillis(duration);
  }

  /** The name of the member that is set in a oneof, or undefined. */
  which(oneof: string): string | undefined {
    for (const slot of this.slots.values()) if (slot.field.oneof === oneof) return slot.field.name;
    return undefined;
  }
}

/** A Duration in milliseconds, sub-millisecond parts rounded up so that a small timeout does not become "off". */
export function durationMillis(duration: Message): number {
  return Math.ceil(duration.number("seconds") * 1000 + duration.number("nanos") / 1e6);
}
