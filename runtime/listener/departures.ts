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
