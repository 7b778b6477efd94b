// Ways to fail, each in a line of its own; the number of header fields chooses. The test reads the lines from the marks.

import { proxy_call_foreign_function } from "../../../filters/sdk/env.ts";

class Box {
  next: Box | null = null;
  value: i32 = 1;
}

let zero: i32 = 0;

export function malloc(size: usize): usize {
  return heap.alloc(size);
}

export function proxy_abi_version_0_2_1(): void {}

function small(n: i32): i32 {
  return n / zero; // inlined
}

function endless(n: i32): i32 {
  return endless(n + 1) + 1; // recursion
}

function spin(): i32 {
  let n = 0;
  while (zero == 0) n++; // loop
  return n;
}

export function proxy_on_request_headers(_id: u32, choice: u32, _endStream: u32): u32 {
  const list: i32[] = [1, 2, 3];
  const box = new Box();
  if (choice == 1) unreachable(); // unreachable
  if (choice == 2) throw new Error("broken on purpose"); // abort
  if (choice == 3) return list[choice]; // range
  if (choice == 4) return box.next!.value; // null
  if (choice == 5) return 7 / zero; // division
  if (choice == 6) return endless(zero); // recursion caller
  if (choice == 7) return spin(); // spin caller
  if (choice == 8) return load<i32>(0xfffffff0); // pointer
  if (choice == 9) return small(3); // small caller
  if (choice == 10) {
    proxy_call_foreign_function(0xfffffff0, 100, 0, 0, 0, 0);
    proxy_call_foreign_function(16, 4, 0, 0, 0, 0);
  }
  if (choice == 11) zero = 1;
  return 0;
}
