/** Functions of AssemblyScript's runtime that its type declarations leave out; for the type checker only. */
declare function __new(size: usize, id: u32): usize;
declare function __collect(): void;
interface Number {
  toString(radix?: i32): string;
}
