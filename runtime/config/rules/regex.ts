/** Regular expressions of configuration and schemas: RE2, so that no text can make them slow. */
import { RE2JS } from "re2js";

import { MAX_CHECKED_REGEXES } from "../../limits.ts";

const compiled = new Map<string, RE2JS | Error>();

/** True when the whole rule accepts the text (anywhere in it, as PGV does); a rule that cannot be read accepts nothing. */
export function regexAccepts(pattern: string, text: string): boolean {
  if (isPlain(pattern)) return new RegExp(pattern, "u").test(text);
  const regex = compile(pattern);
  return regex instanceof Error ? false : regex.matcher(text).find();
}

/** What is wrong with a regular expression, or undefined. */
export function regexProblem(pattern: string): string | undefined {
  const regex = compile(pattern);
  return regex instanceof Error ? regex.message : undefined;
}

function compile(pattern: string): RE2JS | Error {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  let result: RE2JS | Error;
  try {
    result = RE2JS.compile(pattern);
  } catch (error) {
    result = error instanceof Error ? error : new Error(String(error));
  }
  if (compiled.size >= MAX_CHECKED_REGEXES) compiled.clear();
  compiled.set(pattern, result);
  return result;
}

/**
 * True for an anchored row of characters and classes with one repetition at most, e.g. `^[^?#]+[^?#/]$`: the
 * built-in engine reads these alike, in linear time, and without the 10 ms that the first use of RE2 costs a start.
 */
function isPlain(pattern: string): boolean {
  const repetitions = pattern.split(/[+*]/).length - 1;
  return repetitions <= 1 && pattern.length < 200 && /^\^(?:(?:\[\^?[\w?#/ .:%]+\]|[\w/-])[+*]?)+\$$/.test(pattern);
}
