/** Which response callbacks a filter has said that it does not want: http/filter-slot.ts, where two share a slot. */
export class Skips {
  head = false;
  body = false;

  /** StreamView.skipResponse. */
  skip(): void {
    this.head = true;
    this.body = true;
  }

  /** StreamView.joinResponse. */
  join(): void {
    this.head = false;
  }
}
