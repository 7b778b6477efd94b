// A module as AssemblyScript builds it by default: a start section, console, abort, Math.random, no SDK.

console.log(`top level, seeded ${Math.random() < 1}`);

export function malloc(size: usize): usize {
  return heap.alloc(size);
}

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_request_headers(_id: u32, fields: u32, _endStream: u32): u32 {
  if (fields > 10) throw new Error(`${fields} fields are too many`);
  console.warn(`${fields} fields`);
  return 0;
}
