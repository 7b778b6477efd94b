/**
 * Standard output and standard error of a guest, cut into lines. Rust writes a panic in many small pieces, and each
 * piece alone would be a line of the log; so what has no newline yet waits, until the callback returns at the latest.
 */
import { MAX_GUEST_LOG_BYTES } from "../../limits.ts";

export class GuestOutput {
  readonly #line: (descriptor: number, text: string) => void;
  /** By descriptor, 1 and 2; one character per byte, since a piece may end inside of a character. */
  readonly #waiting = ["", "", ""];
  /** Something waits for its newline. */
  waits = false;

  /** `line` gets each whole line, without its newline. */
  constructor(line: (descriptor: number, text: string) => void) {
    this.#line = line;
  }

  /** Takes what the guest wrote, one character per byte. Returns how many lines that were. */
  write(descriptor: number, piece: string): number {
    let lines = 0;
    let text = this.#waiting[descriptor]!;
    let from = 0;
    // What waits holds no newline: looking through it again with each piece would cost its square.
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", from)) {
      this.#tell(descriptor, text + piece.slice(from, end));
      text = "";
      from = end + 1;
      lines++;
    }
    text += piece.slice(from);
    if (text.length >= MAX_GUEST_LOG_BYTES) {
      this.#tell(descriptor, text.slice(0, MAX_GUEST_LOG_BYTES));
      text = "";
    }
    this.#waiting[descriptor] = text;
    this.waits = this.#waiting[1] !== "" || this.#waiting[2] !== "";
    return lines;
  }

  /** No more comes for now: what waits is a line too. */
  flush(): void {
    this.waits = false;
    for (const descriptor of [1, 2]) {
      const text = this.#waiting[descriptor]!;
      this.#waiting[descriptor] = "";
      if (text !== "") this.#tell(descriptor, text);
    }
  }

  #tell(descriptor: number, text: string): void {
    if (text !== "") this.#line(descriptor, Buffer.from(text, "latin1").toString("utf8"));
  }
}
