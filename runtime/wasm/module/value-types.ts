/** Types of values in globals: what the host may remember of a guest's, and how it says that. */

export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;

/** Zero of each type that the host may remember, as a constant. */
export const ZERO: Readonly<Record<number, readonly number[]>> = {
  [I32]: [0x41, 0],
  [I64]: [0x42, 0],
  0x7d: [0x43, 0, 0, 0, 0],
  0x7c: [0x44, 0, 0, 0, 0, 0, 0, 0, 0],
  [V128]: [0xfd, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};
/** Letters of abi/functions.ts. */
export const LETTERS: Readonly<Record<number, string>> = { [I32]: "i", [I64]: "I", 0x7d: "f", 0x7c: "F", [V128]: "v" };
