/**
 * The guest's linear memory as host functions use it: every access is checked, and survives growth.
 *
 * Growing detaches the old ArrayBuffer, which leaves `bytes` with length 0. So the one bounds check that every
 * access needs anyway also notices growth: when it fails, the views are renewed and the check is repeated.
 * Addresses and sizes must be unsigned (`>>> 0`): guests hand over signed 32-bit integers.
 */
import * as Status from "../../../abi/status.ts";
import { copyOf } from "../../codec/copies.ts";
import { COPY_FUEL_PER_BYTE, FREE_COPY_BYTES, KEPT_COPY_FUEL_PER_BYTE } from "../../limits.ts";
import { GuestExit } from "./failure.ts";
import type { GuestStrings } from "./guest-strings.ts";
import { writeLatin1 } from "./latin1.ts";

const NOTHING = Buffer.alloc(0);
const NO_VIEW = new DataView(new ArrayBuffer(0));
export class GuestMemory {
  /** The whole memory. Only valid right after `has` returned true, and until the guest runs again. */
  bytes: Buffer = NOTHING;
  view: DataView = NO_VIEW;
  #memory: WebAssembly.Memory | null = null;
  #allocate: (size: number) => number = () => 0;
  #allocating = false;
  /** Takes fuel. */
  readonly #spend: (units: number) => void;
  readonly #strings: GuestStrings;

  constructor(strings: GuestStrings, spend: (units: number) => void) {
    this.#strings = strings;
    this.#spend = spend;
  }

  attach(memory: WebAssembly.Memory, allocate: (size: number) => number): void {
    this.#memory = memory;
    this.#allocate = allocate;
    this.#renew();
  }

  /** True when `size` bytes from `at` lie in the memory. Size 0 at address 0 always does. */
  has(at: number, size: number): boolean {
    return at + size <= this.bytes.length || (this.#renew() && at + size <= this.bytes.length);
  }

  /** Bytes of memory now. */
  get size(): number {
    return this.#memory === null ? 0 : this.#memory.buffer.byteLength;
  }

  /** False when the address is bad. */
  putU32(at: number, value: number): boolean {
    if (!this.has(at, 4)) return false;
    this.view.setUint32(at, value, true);
    return true;
  }

  putU64(at: number, value: bigint): boolean {
    if (!this.has(at, 8)) return false;
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return true;
  }

  // The caller of the next five has checked the range.

  /** One character per byte. */
  latin1(at: number, size: number): string {
    if (size > FREE_COPY_BYTES) this.#pay(size);
    return this.#strings.text(this.bytes, this.view, at, size);
  }
  /** A field name in lower case; undefined when it is none. */
  fieldName(at: number, size: number): string | undefined {
    return this.#strings.name(this.bytes, this.view, at, size);
  }
  /** A name to look up, in lower case. */
  lookupName(at: number, size: number): string {
    return this.#strings.key(this.bytes, this.view, at, size);
  }
  /** A field value; undefined when it holds NUL, CR or LF. */
  fieldValue(at: number, size: number): string | undefined {
    if (size > FREE_COPY_BYTES) this.#pay(size);
    return this.#strings.value(this.bytes, this.view, at, size);
  }
  utf8(at: number, size: number): string {
    if (size > FREE_COPY_BYTES) this.#pay(size);
    return this.bytes.utf8Slice(at, at + size);
  }

  /** A copy of its own, since guests reuse their memory at once. */
  copy(at: number, size: number): Buffer {
    if (size > FREE_COPY_BYTES) this.#pay(size, KEPT_COPY_FUEL_PER_BYTE);
    return size === 0 ? NOTHING : copyOf(this.bytes.subarray(at, at + size));
  }

  /** Takes the fuel of a copy that somebody else makes and keeps. */
  payForKept(size: number): void {
    if (size > FREE_COPY_BYTES) this.#pay(size, KEPT_COPY_FUEL_PER_BYTE);
  }

  /** Asks the guest for `size` bytes; 0 when it has none or answers nonsense. Traps pass through. */
  allocate(size: number): number {
    if (size > FREE_COPY_BYTES) this.#pay(size);
    // Calls through a table get past the check that hardening puts in front of direct ones.
    if (this.#allocating) throw new GuestExit("the allocator called a host function that allocates", "restricted");
    this.#allocating = true;
    const at = this.#allocate(size) >>> 0;
    this.#allocating = false;
    return at !== 0 && this.has(at, size) ? at : 0;
  }

  #pay(bytes: number, unitsPerByte = COPY_FUEL_PER_BYTE): void {
    this.#spend((bytes - FREE_COPY_BYTES) * unitsPerByte);
  }

  /** Gives a latin-1 string to the guest: allocates, copies, stores pointer and size. Returns a status. */
  giveText(text: string, pointerAt: number, sizeAt: number): number {
    const size = text.length;
    let at = 0;
    if (size !== 0) {
      at = this.allocate(size);
      if (at === 0) return Status.INVALID_MEMORY_ACCESS;
      writeLatin1(this.bytes, text, at);
    }
    return this.#give(at, size, pointerAt, sizeAt);
  }

  giveBytes(data: Uint8Array, pointerAt: number, sizeAt: number): number {
    const size = data.length;
    let at = 0;
    if (size !== 0) {
      at = this.allocate(size);
      if (at === 0) return Status.INVALID_MEMORY_ACCESS;
      this.bytes.set(data, at);
    }
    return this.#give(at, size, pointerAt, sizeAt);
  }

  #give(at: number, size: number, pointerAt: number, sizeAt: number): number {
    // Checked now, not before: the allocator may have grown the memory.
    if (!this.has(pointerAt, 4) || !this.has(sizeAt, 4)) return Status.INVALID_MEMORY_ACCESS;
    this.view.setUint32(pointerAt, at, true);
    this.view.setUint32(sizeAt, size, true);
    return Status.OK;
  }

  #renew(): boolean {
    if (this.#memory === null) return false;
    const buffer = this.#memory.buffer;
    if (this.bytes.buffer === buffer && this.bytes.length === buffer.byteLength) return false;
    this.bytes = Buffer.from(buffer);
    this.view = new DataView(buffer);
    return true;
  }
}
