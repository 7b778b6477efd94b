/**
 * How large a regular expression (RE2) gets once its repetitions are written out, as compiling does: `(a{100}){10}` is a
 * thousand instructions. Found out before it is compiled, since that is what takes the time and the memory.
 */

const REPEAT = /\{(\d{1,5})(?:,(\d{0,5}))?\}/y;
/** A class of characters: brackets, a first `]` that closes nothing, escapes, and classes by name inside. */
const CLASS = /\[\^?\]?(?:\\[\s\S]|\[:\^?\w+:\]|[^\\\]])*\]/y;
/** An escape with what belongs to it. */
const ESCAPE = /\\(?:[pPx]\{[^}]*\}|[\s\S]|$)/y;

/** Instructions, roughly and rather too many than too few. */
export function regexSize(expression: string): number {
  /** Sizes of the open groups, and of what has been read last in the present one. */
  const groups: number[] = [];
  let size = 0;
  let last = 0;
  const matchAt = (pattern: RegExp, at: number): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(expression);
  };
  const add = (amount: number): void => {
    last = amount;
    size += amount;
  };
  for (let at = 0; at < expression.length;) {
    const rest = expression[at]!;
    if (expression.startsWith("\\Q", at)) {
      const end = expression.indexOf("\\E", at);
      const literal = (end < 0 ? expression.length : end) - at - 2;
      size += literal;
      last = 1;
      at += literal + (end < 0 ? 2 : 4);
      continue;
    }
    const found =
      rest === "\\"
        ? matchAt(ESCAPE, at)
        : rest === "["
          ? matchAt(CLASS, at)
          : rest === "{"
            ? matchAt(REPEAT, at)
            : null;
    if (rest === "{" && found !== null) {
      const times = Math.max(Number(found[1]), Number(found[2] ?? 0), 1);
      size += last * (times - 1);
      last *= times;
    } else if (rest === "(") {
      groups.push(size);
      size = 0;
    } else if (rest === ")" && groups.length > 0) {
      const inside = size + 2;
      size = groups.pop()!;
      add(inside);
    } else if (rest === "*" || rest === "+" || rest === "?") size++;
    else add(1);
    at += found === null ? 1 : found[0].length;
  }
  return groups.reduce((sum, one) => sum + one, size);
}
