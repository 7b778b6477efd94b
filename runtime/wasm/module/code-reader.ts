/** Reads parts of instructions of one function, and follows how high its operand stack is. */
import { ProxyError } from "../../errors.ts";
import { EMPTY_TYPE } from "./code-facts.ts";
import type { Arity } from "./code-facts.ts";
import { corrupted, Reader } from "./reader.ts";

const NOTHING: Arity = { params: 0, results: 0 };
const ONE_RESULT: Arity = { params: 0, results: 1 };

export class CodeReader extends Reader {
  /** Index of the function. */
  self = 0;
  /** Values on the operand stack, and the most there have been. */
  height = 0;
  deepest = 0;
  /** There are vectors. */
  wide = false;
  readonly #types: readonly Arity[];

  constructor(bytes: Uint8Array, at: number, end: number, types: readonly Arity[]) {
    super(bytes, at, end);
    this.#types = types;
  }

  /** A function begins. */
  begin(): void {
    this.height = this.deepest = 0;
    this.wide = false;
  }

  setHeight(height: number): void {
    this.height = height;
    if (height > this.deepest) this.deepest = height;
  }

  effect(change: number): void {
    const height = this.height + change;
    this.height = height < 0 ? 0 : height;
    if (height > this.deepest) this.deepest = height;
  }

  arity(index: number): Arity {
    const arity = this.#types[index];
    if (arity === undefined) throw corrupted(`refers to type ${index}, which it does not have`);
    return arity;
  }

  blockType(): Arity {
    const first = this.byte();
    if (first === EMPTY_TYPE) return NOTHING;
    this.at--;
    // A signed number: a single byte with bit 6 is negative, and so a type; indices are not.
    if (first > 0x40 && first < 0x80) {
      this.valueType();
      return ONE_RESULT;
    }
    return this.arity(this.u32());
  }

  memoryArgument(): void {
    const align = this.u32();
    // Bit 6 names another memory than the first: refused with the memory section already.
    if (align >= 64) throw corrupted(`uses a second memory in function ${this.self}`);
    this.unsigned();
  }

  valueType(): void {
    const byte = this.byte();
    if (byte < 0x69 || byte > 0x7f) throw this.unsupported(byte, this.at - 1, undefined, "value type");
    if (byte === 0x7b) this.wide = true;
  }

  unsupported(opcode: number, offset: number, second?: number, what = "instruction"): ProxyError {
    const hex = `0x${opcode.toString(16)}${second === undefined ? "" : ` 0x${second.toString(16)}`}`;
    const where = `in function ${this.self} at byte 0x${offset.toString(16)}`;
    return new ProxyError("MODULE_UNSUPPORTED", "config", `${what} ${hex} ${where}: not known to this host`);
  }
}
