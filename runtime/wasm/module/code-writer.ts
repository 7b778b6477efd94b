/** Instructions as bytes: those that the host puts into a guest's code. */
import { ByteWriter } from "./byte-writer.ts";

/** Type of a block without values. */
export const EMPTY_BLOCK = 0x40;
/** What the host writes into guests. */
export const CODE = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  END: 0x0b,
  BR: 0x0c,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  GLOBAL_GET: 0x23,
  GLOBAL_SET: 0x24,
  I32_LOAD: 0x28,
  I32_STORE: 0x36,
  I32_CONST: 0x41,
  I32_EQ: 0x46,
  I32_LT_S: 0x48,
  I32_GT_S: 0x4a,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_AND: 0x71,
  I32_OR: 0x72,
  I32_SHL: 0x74,
  I32_SHR_U: 0x76,
} as const;

export class CodeWriter extends ByteWriter {
  constant(value: number): void {
    this.byte(CODE.I32_CONST);
    this.signed(value);
  }

  /** Adds 1 to the 32-bit number `n` of memory `memory`. */
  countRun(memory: number, n: number): void {
    const access = (code: number): void => {
      // Bit 6 says that a memory's index follows; 2 is the alignment.
      this.list([code, 0x42]);
      this.unsigned(memory);
      this.unsigned(n * 4);
    };
    this.constant(0);
    this.constant(0);
    access(CODE.I32_LOAD);
    this.constant(1);
    this.byte(CODE.I32_ADD);
    access(CODE.I32_STORE);
  }

  local(code: number, index: number): void {
    this.byte(code);
    this.unsigned(index);
  }

  global(code: number, index: number): void {
    this.byte(code);
    this.unsigned(index);
  }
}
