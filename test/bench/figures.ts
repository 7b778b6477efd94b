/**
 * How the tables of costs are measured and printed: wall time of this thread, the least of many short rounds, which is
 * what it takes when nothing else runs for a moment.
 */

const ROUNDS = 25;
/** Of one round: far above what the clock can tell, and short enough to be left alone. */
const ROUND_MS = 2;
/** Until compilers have compiled what is hot. */
const WARM_UP_MS = 150;

/** Milliseconds of `times` runs. */
function timed(run: () => void, times: number): number {
  const startMs = performance.now();
  for (let n = 0; n < times; n++) run();
  return performance.now() - startMs;
}

/** Warms up, and answers how many runs make a round. */
function runsOfRound(run: () => void): number {
  const endMs = performance.now() + WARM_UP_MS;
  let leastMs = Infinity;
  while (performance.now() < endMs) leastMs = Math.min(leastMs, timed(run, 10) / 10);
  return Math.max(1, Math.ceil(ROUND_MS / leastMs));
}

/** Nanoseconds of one of the `units` that each run does. */
export function nanoseconds(run: () => void, units: number): number {
  const runs = runsOfRound(run);
  let leastMs = Infinity;
  for (let n = 0; n < ROUNDS; n++) leastMs = Math.min(leastMs, timed(run, runs) / runs);
  return (leastMs * 1e6) / units;
}

/** Of two that do the same, in turn: milliseconds of one run of `one`, and how many times as long `other` takes. */
export function compared(one: () => void, other: () => void): { readonly ms: number; readonly ratio: number } {
  const runs = Math.max(runsOfRound(one), runsOfRound(other));
  const least = [Infinity, Infinity] as [number, number];
  for (let n = 0; n < 2 * ROUNDS; n++) {
    least[0] = Math.min(least[0], timed(one, runs));
    least[1] = Math.min(least[1], timed(other, runs));
  }
  return { ms: least[0] / runs, ratio: least[1] / least[0] };
}

export function heading(title: string, unit: string): void {
  console.log(`\n${title.padEnd(64)} ${unit.padStart(10)}`);
  console.log("-".repeat(75));
}

export function line(label: string, figure: string, note = ""): void {
  console.log(`${label.padEnd(64)} ${figure.padStart(10)}${note === "" ? "" : `  ${note}`}`);
}
