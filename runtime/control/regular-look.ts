/** A look that is taken again and again, each some time after the one before is over; it keeps no process alive. */
export class RegularLook {
  readonly #look: () => Promise<void>;
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  /** A `look` that rejects is a fault of ours, and ends the process. */
  constructor(look: () => Promise<void>, everyMs: number) {
    this.#look = look;
    this.#everyMs = everyMs;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#look().finally(() => this.start()), this.#everyMs);
    this.#timer.unref();
  }

  /** A look under way goes on to its end, or to where it asks for {@link stopped}. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}
