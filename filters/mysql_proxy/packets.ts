/**
 * MySQL packets from bytes that arrive in pieces of any size. A packet is 3 bytes of length (little endian), 1 of
 * sequence and the payload; a payload of 0xffffff bytes goes on in the next packet. Of a payload only the first bytes
 * that somebody wants are kept, so that memory is bounded whatever a peer sends.
 */

/** Bytes of payload after which another packet goes on with it. */
const FULL: u32 = 0xffffff;
const HEADER_BYTES: u32 = 4;
/** The buffer of one side while it holds little. */
const SMALL_BYTES: i32 = 128;
/** What each side may have whatever others have: enough for a greeting, and for a login up to its database. */
const FREE_BYTES: i32 = 512;
/** Bytes of payloads that all connections together may have waiting; over it, payloads are cut where they are. */
const MAX_WAITING_BYTES: i32 = 8 * 1024 * 1024;

const NOTHING = new StaticArray<u8>(0);
/** Of all connections. */
let waitingBytes: i32 = 0;

/** Who looks at the packets of both sides. */
export interface PacketReader {
  /** A header: its length and its sequence number. `goesOn`: it continues the payload before. False: do not decode this one. */
  onHeader(fromClient: bool, length: u32, sequence: i32, goesOn: bool): bool;
  /** Bytes that are wanted of the payload that begins with `first`. */
  wanted(fromClient: bool, first: u8): u32;
  /** A payload is complete; `size` bytes of its `total` are at `address` until this returns. */
  onPayload(fromClient: bool, address: usize, size: u32, total: u64): void;
}

/** The packets of one side. */
export class Packets {
  private readonly fromClient: bool;
  private readonly reader: PacketReader;
  private header: u32 = 0;
  private headerBytes: u32 = 0;
  /** Bytes of the packet that have not come yet. */
  private left: u32 = 0;
  private inPayload: bool = false;
  /** The packet is full: the next one goes on with its payload. */
  private goesOn: bool = false;
  private ignored: bool = false;
  private total: u64 = 0;
  private wanted: u32 = 0;
  private kept: StaticArray<u8> = NOTHING;
  private size: u32 = 0;

  constructor(fromClient: bool, reader: PacketReader) {
    this.fromClient = fromClient;
    this.reader = reader;
  }

  /** Of the next `available` bytes, those that nobody wants: they need not be read at all. */
  unwanted(available: u32): u32 {
    // The last byte ends the packet, which `take` handles.
    if (!this.inPayload || this.left <= 1 || (this.total == 0 && !this.ignored) || this.size < this.wanted) return 0;
    const count = min<u32>(this.left - 1, available);
    this.left -= count;
    this.total += count;
    return count;
  }

  /** Takes bytes in. */
  take(address: usize, count: u32): void {
    let at = address;
    const end = address + count;
    while (at < end) at += this.inPayload ? this.takePayload(at, <u32>(end - at)) : this.takeHeader(at);
  }

  private takeHeader(at: usize): usize {
    this.header |= (<u32>load<u8>(at)) << (8 * this.headerBytes);
    if (++this.headerBytes < HEADER_BYTES) return 1;
    const length = this.header & FULL;
    const sequence = this.header >>> 24;
    this.header = this.headerBytes = 0;
    const goesOn = this.goesOn;
    this.goesOn = length == FULL;
    this.left = length;
    if (!goesOn) {
      this.total = 0;
      this.size = this.wanted = 0;
    }
    const wanted = this.reader.onHeader(this.fromClient, length, <i32>sequence, goesOn);
    this.ignored = goesOn ? this.ignored : !wanted;
    if (length == 0) this.end();
    else this.inPayload = true;
    return 1;
  }

  private takePayload(at: usize, available: u32): usize {
    const count = min<u32>(this.left, available);
    if (this.total == 0 && !this.ignored) this.wanted = this.reader.wanted(this.fromClient, load<u8>(at));
    if (this.size < this.wanted) this.keep(at, min<u32>(count, this.wanted - this.size));
    this.left -= count;
    this.total += count;
    if (this.left == 0) this.end();
    return count;
  }

  private keep(at: usize, count: u32): void {
    const size = this.size + count;
    if (size > <u32>this.kept.length) {
      const larger = <i32>max<u32>(max<u32>(size, SMALL_BYTES), <u32>this.kept.length * 2);
      if (larger > FREE_BYTES && waitingBytes + larger - this.kept.length > MAX_WAITING_BYTES) {
        this.wanted = this.size;
        return;
      }
      const grown = new StaticArray<u8>(larger);
      memory.copy(changetype<usize>(grown), changetype<usize>(this.kept), this.size);
      this.release();
      this.kept = grown;
      waitingBytes += larger;
    }
    memory.copy(changetype<usize>(this.kept) + this.size, at, count);
    this.size = size;
  }

  private end(): void {
    this.inPayload = false;
    if (this.goesOn) return;
    const kept = this.kept;
    if (!this.ignored) this.reader.onPayload(this.fromClient, changetype<usize>(kept), this.size, this.total);
    // A large one is not kept for the small ones that follow.
    memory.fill(changetype<usize>(kept), 0, this.size);
    if (kept.length > SMALL_BYTES) this.release();
  }

  /** Gives the buffer back: nothing more comes, or not soon. It may have held a password. */
  release(): void {
    memory.fill(changetype<usize>(this.kept), 0, this.kept.length);
    waitingBytes -= this.kept.length;
    this.kept = NOTHING;
  }
}
