/** How what is not in force any more ends: connections go on until they are over, or until they have taken too long. */

/** How connections of what is gone end. */
export interface ListenerDrain {
  /** Answers ask downstream to leave, the more of them the more of this time is over; after it all do. 0: all do. */
  readonly overMs: number;
  /** Those that are left then are ended. */
  readonly endMs: number;
}

/** Chains that are not in force any more. */
export interface Departure {
  /** Numbers of the plugins that they have. */
  readonly plugins: ReadonlySet<number>;
  /** Resolves when nobody uses them any more. */
  readonly gone: Promise<void>;
}

/** Who waits until some sockets are gone, and looks whenever one goes. */
export class Departures {
  readonly #waits = new Set<() => void>();

  /** One is gone. */
  note(): void {
    for (const look of this.#waits) look();
  }

  /** Resolves once `gone` says so, at the latest in `ms`. */
  async until(gone: () => boolean, ms: number): Promise<void> {
    if (gone()) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waits.delete(look);
        resolve();
      };
      const look = (): void => {
        if (gone()) done();
      };
      const timer = setTimeout(done, ms).unref();
      this.#waits.add(look);
    });
  }
}
