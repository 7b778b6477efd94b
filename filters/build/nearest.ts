/** What was meant by a misspelt name. */

/** The candidate with the fewest changed letters, at most a third of the word's; undefined when none is that near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const changes = changedLetters(word.toLowerCase(), candidate.toLowerCase());
    if (changes < least) [best, least] = [candidate, changes];
  }
  return best;
}

function changedLetters(a: string, b: string): number {
  let last = [...b, ""].map((_letter, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const row = [i + 1];
    for (let j = 1; j <= b.length; j++)
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (letter === b[j - 1] ? 0 : 1)));
    last = row;
  }
  return last[b.length]!;
}
