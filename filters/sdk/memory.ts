/**
 * Bytes across the boundary. Outgoing: text is laid into a static page, so that a host call makes no garbage.
 * Incoming: the host asks `allocate` for the exact size; short results land in a second static page, which
 * the SDK reads before it makes the next host call, and whoever wants to keep bytes gets them in an
 * ArrayBuffer that the host itself has filled (`expectBuffer`).
 */

const OUTGOING_SIZE: usize = 8192;
const LANDING_SIZE: usize = 8192;
const outgoing: usize = memory.data(8192, 16);
const landing: usize = memory.data(8192, 16);

/** Where host functions write the address and the size of what they return. */
export const resultP: usize = memory.data(8, 8);
export const resultSizeP: usize = resultP + 4;
/** Where host functions write numbers. */
export const scalarP: usize = memory.data(8, 8);

let outgoingTop: usize = 0;
/** Size in bytes of what the last `bytesOf` returned. */
export let bytesSize: usize = 0;

let wantsBuffer: bool = false;
let largeBlock: usize = 0;

/** Makes the next incoming bytes land in an ArrayBuffer of their own, for `takeBuffer`. */
export function expectBuffer(): void {
  wantsBuffer = true;
}

/** The memory for the host's next result: exactly `size` bytes, owned by the guest. */
export function allocate(size: usize): usize {
  if (wantsBuffer) {
    wantsBuffer = false;
    return __new(size, idof<ArrayBuffer>());
  }
  if (size <= LANDING_SIZE) return landing;
  releaseLanding();
  largeBlock = heap.alloc(size);
  return largeBlock;
}

/** Gives back a large result after it was read. */
export function releaseLanding(): void {
  if (largeBlock != 0) {
    heap.free(largeBlock);
    largeBlock = 0;
  }
}

/** The ArrayBuffer that the host filled after `expectBuffer`; empty when it returned nothing. */
export function takeBuffer(): ArrayBuffer {
  wantsBuffer = false;
  const address = load<usize>(resultP);
  if (address == 0) return new ArrayBuffer(0);
  return changetype<ArrayBuffer>(address);
}

/** Takes `expectBuffer` back when the host had nothing. */
export function expectNothing(): void {
  wantsBuffer = false;
}

/** The landed result as a string, one UTF-16 unit per byte: any header value survives the way there and back. */
export function takeLatin1(): string {
  const address = load<usize>(resultP);
  const size = load<usize>(resultSizeP);
  const text = latin1At(address, size);
  releaseLanding();
  return text;
}

/** The landed result as UTF-8 text. */
export function takeUtf8(): string {
  const text = String.UTF8.decodeUnsafe(load<usize>(resultP), load<usize>(resultSizeP));
  releaseLanding();
  return text;
}

/** The string of `size` bytes at `address`, one UTF-16 unit per byte. */
export function latin1At(address: usize, size: usize): string {
  const text = changetype<string>(__new(size << 1, idof<string>()));
  const start = changetype<usize>(text);
  for (let i: usize = 0; i < size; i++) store<u16>(start + (i << 1), load<u8>(address + i));
  return text;
}

/** Forgets the outgoing text of the host call before; every wrapper begins with it. */
export function beginCall(): void {
  outgoingTop = 0;
}

/**
 * Address of a value's bytes for one host call; their size is left in `bytesSize`. T is string, Text,
 * ArrayBuffer or Uint8Array. Strings go as Latin-1 (one byte per unit) unless a unit is above 0xFF: then as UTF-8.
 */
export function bytesOf<T>(value: T): usize {
  if (isString<T>()) return stringBytes(changetype<string>(value), false);
  if (idof<T>() == idof<ArrayBuffer>()) {
    bytesSize = <usize>changetype<ArrayBuffer>(value).byteLength;
    return changetype<usize>(value);
  }
  if (idof<T>() == idof<Uint8Array>()) {
    bytesSize = <usize>changetype<Uint8Array>(value).byteLength;
    return changetype<Uint8Array>(value).dataStart;
  }
  if (idof<T>() == idof<Text>()) {
    const bytes = changetype<Text>(value).bytes;
    bytesSize = <usize>bytes.length;
    return changetype<usize>(bytes);
  }
  ERROR("string, Text, ArrayBuffer or Uint8Array expected");
}

/** The same for text that is UTF-8 on the other side: bodies, logs, keys. */
export function utf8Of<T>(value: T): usize {
  if (isString<T>()) return stringBytes(changetype<string>(value), true);
  return bytesOf<T>(value);
}

function stringBytes(text: string, utf8: bool): usize {
  const units = <usize>text.length;
  const source = changetype<usize>(text);
  const target = room(units);
  const limit: u16 = utf8 ? 0x7f : 0xff;
  for (let i: usize = 0; i < units; i++) {
    const unit = load<u16>(source + (i << 1));
    if (unit > limit) return wideBytes(text);
    store<u8>(target + i, <u8>unit);
  }
  bytesSize = units;
  return target;
}

function wideBytes(text: string): usize {
  const size = <usize>String.UTF8.byteLength(text);
  const target = room(size);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, target);
  bytesSize = size;
  return target;
}

/** A place for `size` outgoing bytes: in the static page, or as garbage when it is full. */
function room(size: usize): usize {
  if (outgoingTop + size > OUTGOING_SIZE) return __new(size, idof<ArrayBuffer>());
  const place = outgoing + outgoingTop;
  outgoingTop += size;
  return place;
}

/** Text whose bytes are made once: header names, static values, keys. Passing it to the host costs no copy. */
export class Text {
  readonly bytes: StaticArray<u8>;

  constructor(text: string) {
    beginCall();
    const source = bytesOf<string>(text);
    const bytes = new StaticArray<u8>(<i32>bytesSize);
    memory.copy(changetype<usize>(bytes), source, bytesSize);
    this.bytes = bytes;
  }

  get length(): i32 {
    return this.bytes.length;
  }

  toString(): string {
    return latin1At(changetype<usize>(this.bytes), <usize>this.bytes.length);
  }
}
