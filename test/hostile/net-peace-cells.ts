/** What the thread of peaceful clients and the one of the attackers have in common. */

export interface PeaceWanted {
  readonly plain: number;
  readonly secure: number;
  /** By {@link PeaceCell}. */
  readonly cells: SharedArrayBuffer;
}

/** `SLOWEST` is in microseconds, since the last look. */
export const PeaceCell = { ANSWERS: 0, SLOWEST: 1, STOP: 2 } as const;
export const PEACE_BYTES = 3 * Int32Array.BYTES_PER_ELEMENT;
