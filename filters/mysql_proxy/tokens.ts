/** SQL text to tokens, as MySQL reads it. Never fails: what is not closed ends with the text. */
import { latin1At } from "../sdk/memory.ts";

// Kinds of token.
export const END: i32 = 0;
/** A keyword or a name without quotes. */
export const WORD: i32 = 1;
/** A name in backticks. */
export const NAME: i32 = 2;
/** Text in double quotes, which may be a name as well. */
export const QUOTED: i32 = 3;
/** Text in single quotes, a number, a variable. */
export const VALUE: i32 = 4;
/** One character that stands for itself. */
export const SIGN: i32 = 5;

const MAX_WORD: usize = 16;

/** A word as a number: the same for every spelling in capital and small letters; 0 for what is longer than any keyword. */
export function word(text: string): u64 {
  let value: u64 = 0;
  for (let n = 0; n < text.length; n++) value = wordWith(value, <u8>text.charCodeAt(n), n);
  return value;
}

/** Exact for up to 8 letters; longer ones are mixed. */
function wordWith(value: u64, letter: u8, index: i32): u64 {
  const capital: u64 = letter >= 0x61 && letter <= 0x7a ? letter - 32 : letter;
  return index < 8 ? (value << 8) | capital : (value * 0x9e3779b1) ^ capital;
}

export class Tokens {
  kind: i32 = END;
  /** Of a WORD: `word` of its text. */
  word: u64 = 0;
  /** Of a SIGN. */
  sign: u8 = 0;
  /** A quotation or a comment was not closed. */
  broken: bool = false;
  private at: usize;
  private readonly end: usize;
  private start: usize = 0;
  private stop: usize = 0;
  /** Inside of a comment whose text MySQL runs. */
  private inComment: bool = false;

  constructor(at: usize, size: usize) {
    this.at = at;
    this.end = at + size;
    this.next();
  }

  isWord(wanted: u64): bool {
    return this.kind == WORD && this.word == wanted;
  }
  isSign(wanted: i32): bool {
    return this.kind == SIGN && <i32>this.sign == wanted;
  }
  /** True when a name may stand here and does. */
  get isName(): bool {
    return this.kind == WORD || this.kind == NAME || this.kind == QUOTED;
  }

  /** Moves on when this word is here. */
  accept(wanted: u64): bool {
    if (!this.isWord(wanted)) return false;
    this.next();
    return true;
  }

  /** The name that is here, without its quotes, one UTF-16 unit per byte. */
  name(): string {
    const text = latin1At(this.start, this.stop - this.start);
    if (this.kind == NAME) return text.replaceAll("``", "`");
    return this.kind == QUOTED ? text.replaceAll('""', '"') : text;
  }

  /** Goes to the next token. */
  next(): void {
    this.skipBlank();
    if (this.at >= this.end) {
      this.kind = END;
      return;
    }
    const first = load<u8>(this.at);
    this.start = this.at;
    if (first == 0x60) this.quotation(first, NAME);
    else if (first == 0x22) this.quotation(first, QUOTED);
    else if (first == 0x27) this.quotation(first, VALUE);
    else if (isWordByte(first)) this.readWord();
    else if (first == 0x40) this.variable();
    else {
      this.at++;
      this.kind = SIGN;
      this.sign = first;
    }
  }

  private readWord(): void {
    let value: u64 = 0;
    let digits: usize = 0;
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      if (!isWordByte(byte)) break;
      if (byte >= 0x30 && byte <= 0x39) digits++;
      value = wordWith(value, byte, <i32>(this.at - this.start));
      this.at++;
    }
    this.stop = this.at;
    const length = this.stop - this.start;
    // `2024_sales` is a name, 2024, 1e5 and 0xff are numbers.
    const first = load<u8>(this.start);
    const number = first >= 0x30 && first <= 0x39 && (digits == length || isNumber(this.start, length));
    this.kind = number ? VALUE : WORD;
    this.word = length > MAX_WORD ? 0 : value;
  }

  private variable(): void {
    while (this.at < this.end && load<u8>(this.at) == 0x40) this.at++;
    if (this.at < this.end) {
      const first = load<u8>(this.at);
      if (first == 0x60 || first == 0x22 || first == 0x27) this.quotation(first, VALUE);
      else while (this.at < this.end && (isWordByte(load<u8>(this.at)) || load<u8>(this.at) == 0x2e)) this.at++;
    }
    this.kind = VALUE;
  }

  /** From one quote to the other; a doubled one stands for itself, and behind a backslash every byte does, but in names. */
  private quotation(quote: u8, kind: i32): void {
    this.kind = kind;
    this.start = ++this.at;
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      if (byte == 0x5c && quote != 0x60) this.at++;
      else if (byte == quote) {
        if (this.at + 1 >= this.end || load<u8>(this.at + 1) != quote) {
          this.stop = this.at++;
          return;
        }
        this.at++;
      }
      this.at++;
    }
    this.broken = true;
    this.at = this.stop = this.end;
  }

  private skipBlank(): void {
    while (this.at < this.end) {
      const byte = load<u8>(this.at);
      const second: u8 = this.at + 1 < this.end ? load<u8>(this.at + 1) : 0;
      if (byte <= 0x20) this.at++;
      else if (byte == 0x23) this.skipLine();
      else if (byte == 0x2d && second == 0x2d && this.blankAt(this.at + 2)) this.skipLine();
      else if (byte == 0x2f && second == 0x2a) this.skipComment();
      else if (this.inComment && byte == 0x2a && second == 0x2f) {
        this.inComment = false;
        this.at += 2;
      } else return;
    }
  }

  private blankAt(at: usize): bool {
    return at >= this.end || load<u8>(at) <= 0x20;
  }

  private skipLine(): void {
    while (this.at < this.end && load<u8>(this.at) != 0x0a) this.at++;
  }

  /** At `/*`. MySQL runs what stands in `/*!` and MariaDB in `/*M!`, perhaps with a version in front. */
  private skipComment(): void {
    this.at += 2;
    let mark = this.at;
    if (mark < this.end && load<u8>(mark) == 0x4d) mark++;
    if (mark < this.end && load<u8>(mark) == 0x21) {
      this.inComment = true;
      this.at = mark + 1;
      while (this.at < this.end && load<u8>(this.at) >= 0x30 && load<u8>(this.at) <= 0x39) this.at++;
      return;
    }
    while (this.at + 1 < this.end) {
      if (load<u8>(this.at) == 0x2a && load<u8>(this.at + 1) == 0x2f) {
        this.at += 2;
        return;
      }
      this.at++;
    }
    this.broken = true;
    this.at = this.end;
  }
}

function isWordByte(byte: u8): bool {
  if (byte >= 0x61 && byte <= 0x7a) return true;
  if (byte >= 0x41 && byte <= 0x5a) return true;
  return (byte >= 0x30 && byte <= 0x39) || byte == 0x5f || byte == 0x24 || byte >= 0x80;
}

/** Hexadecimal, binary, or with an exponent. */
function isNumber(at: usize, length: usize): bool {
  const mark: u8 = length > 1 ? load<u8>(at + 1) | 0x20 : 0;
  if (load<u8>(at) == 0x30 && (mark == 0x78 || mark == 0x62)) return true;
  let exponent: usize = 0;
  for (let n: usize = 0; n < length; n++) {
    const byte = load<u8>(at + n);
    if ((byte | 0x20) == 0x65) exponent++;
    else if (byte < 0x30 || byte > 0x39) return false;
  }
  return exponent == 1;
}
