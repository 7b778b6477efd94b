/**
 * Short strings of a guest, remembered by address: header names and constants come from the same places over and over.
 * A remembered string is verified against memory word by word, so it is right whatever the guest wrote there since.
 * Shared by the instances of one module, whose constants lie at the same addresses.
 */
import { MAX_INTERNED_BYTES } from "../../limits.ts";
import { fieldName, isFieldValue, lowered } from "../values/header-text.ts";

/** A collision only costs a decode; a power of two. */
const SLOTS = 512;
const WORDS = MAX_INTERNED_BYTES / 4;

/** What is known of a slot's text beyond the text, as bits. */
const Known = { NAME: 1, VALUE: 2, LEGAL_VALUE: 4 } as const;

export class GuestStrings {
  readonly #texts: string[] = Array.from({ length: SLOTS }, () => "");
  /** The first words of each text, little-endian; the last one may overlap the one before. */
  readonly #words = new Uint32Array(SLOTS * WORDS);
  readonly #known = new Uint8Array(SLOTS);
  readonly #names: (string | undefined)[] = Array.from({ length: SLOTS }, () => "");

  /** One character per byte. The caller has checked the range. */
  text(bytes: Buffer, view: DataView, at: number, size: number): string {
    if (size > MAX_INTERNED_BYTES || size < 4) return size === 0 ? "" : bytes.latin1Slice(at, at + size);
    return this.#texts[this.#slot(bytes, view, at, size)]!;
  }

  /** A field name in lower case; undefined when it is none. */
  name(bytes: Buffer, view: DataView, at: number, size: number): string | undefined {
    if (size > MAX_INTERNED_BYTES || size < 4) return fieldName(bytes.latin1Slice(at, at + size));
    const slot = this.#slot(bytes, view, at, size);
    if ((this.#known[slot]! & Known.NAME) === 0) {
      this.#known[slot]! |= Known.NAME;
      this.#names[slot] = fieldName(this.#texts[slot]!);
    }
    return this.#names[slot];
  }

  /** A name to look up, in lower case, legal or not. */
  key(bytes: Buffer, view: DataView, at: number, size: number): string {
    return this.name(bytes, view, at, size) ?? lowered(bytes.latin1Slice(at, at + size));
  }

  /** A field value; undefined when it holds what would split the message. */
  value(bytes: Buffer, view: DataView, at: number, size: number): string | undefined {
    if (size > MAX_INTERNED_BYTES || size < 4) {
      const text = bytes.latin1Slice(at, at + size);
      return isFieldValue(text) ? text : undefined;
    }
    const slot = this.#slot(bytes, view, at, size);
    const text = this.#texts[slot]!;
    if ((this.#known[slot]! & Known.VALUE) === 0) {
      this.#known[slot]! |= Known.VALUE | (isFieldValue(text) ? Known.LEGAL_VALUE : 0);
    }
    return (this.#known[slot]! & Known.LEGAL_VALUE) === 0 ? undefined : text;
  }

  /** The slot that holds these `size` bytes, 4 to MAX_INTERNED_BYTES of them. */
  #slot(bytes: Buffer, view: DataView, at: number, size: number): number {
    const slot = (at ^ (size << 4) ^ (at >>> 9)) & (SLOTS - 1);
    if (this.#texts[slot]!.length === size && this.#same(view, at, size, slot * WORDS)) return slot;
    this.#texts[slot] = bytes.latin1Slice(at, at + size);
    this.#known[slot] = 0;
    let word = slot * WORDS;
    for (let n = 0; n < size - 4; n += 4) this.#words[word++] = view.getUint32(at + n, true);
    this.#words[word] = view.getUint32(at + size - 4, true);
    return slot;
  }

  #same(view: DataView, at: number, size: number, firstWord: number): boolean {
    const words = this.#words;
    let word = firstWord;
    for (let n = 0; n < size - 4; n += 4) if (view.getUint32(at + n, true) !== words[word++]) return false;
    return view.getUint32(at + size - 4, true) === words[word];
  }
}
