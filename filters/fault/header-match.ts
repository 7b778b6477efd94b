/** Envoy's `HeaderMatcher` against the current request. Several values are joined with a comma, as Envoy does. */
import { matchRegex } from "../sdk/extensions.ts";
import { requestHeaders } from "../sdk/headers.ts";
import { Text } from "../sdk/memory.ts";
import { HeaderMatcher, StringMatcher } from "./fault.pb.ts";

/** Field numbers of `header_match_specifier`. */
const EXACT: i32 = 4;
const RANGE: i32 = 6;
const PRESENT: i32 = 7;
const PREFIX: i32 = 9;
const SUFFIX: i32 = 10;
const REGEX: i32 = 11;
const CONTAINS: i32 = 12;
const STRING: i32 = 13;

export class HeaderMatch {
  private readonly matcher: HeaderMatcher;
  private readonly name: Text;
  private readonly text: string;
  private readonly regex: Text;
  /** One of the field numbers above, string_match resolved to the older ones. */
  private readonly kind: i32;
  private readonly ignoreCase: bool;

  constructor(matcher: HeaderMatcher) {
    this.matcher = matcher;
    this.name = new Text(matcher.name.toLowerCase());
    let kind = matcher.headerMatchSpecifierCase;
    let text = "";
    let regex = "";
    let ignoreCase: bool = false;
    const string = matcher.stringMatch;
    if (kind == STRING && string !== null) {
      kind = kindOf(string);
      text = textOf(string);
      ignoreCase = string.ignoreCase;
      const expression = string.safeRegex;
      if (expression !== null) regex = expression.regex;
    } else if (kind == EXACT) {
      text = matcher.exactMatch;
    } else if (kind == PREFIX) {
      text = matcher.prefixMatch;
    } else if (kind == SUFFIX) {
      text = matcher.suffixMatch;
    } else if (kind == CONTAINS) {
      text = matcher.containsMatch;
    } else if (kind == REGEX) {
      const expression = matcher.safeRegexMatch;
      if (expression !== null) regex = expression.regex;
    }
    this.kind = kind;
    this.ignoreCase = ignoreCase;
    this.text = ignoreCase ? text.toLowerCase() : text;
    this.regex = new Text(regex);
  }

  holds(): bool {
    const matcher = this.matcher;
    let value = this.joined();
    if (value === null && matcher.treatMissingHeaderAsEmpty) value = "";
    if (this.kind == 0 || this.kind == PRESENT) {
      const wanted = this.kind == 0 || matcher.presentMatch;
      return ((value !== null) == wanted) != matcher.invertMatch;
    }
    // Envoy: a value matcher does not match a missing header, not even an inverted one.
    if (value === null) return false;
    return this.test(value) != matcher.invertMatch;
  }

  private test(given: string): bool {
    const value = this.ignoreCase ? given.toLowerCase() : given;
    switch (this.kind) {
      case EXACT:
        return value == this.text;
      case PREFIX:
        return value.startsWith(this.text);
      case SUFFIX:
        return value.endsWith(this.text);
      case CONTAINS:
        return value.includes(this.text);
      case REGEX:
        return matchRegex<Text>(this.regex, given);
      case RANGE:
        return this.inRange(value);
      default:
        return false;
    }
  }

  private inRange(value: string): bool {
    const range = this.matcher.rangeMatch;
    if (range === null || value.length == 0 || value.length > 19) return false;
    const negative = value.charCodeAt(0) == 45;
    let number: i64 = 0;
    const start = negative ? 1 : 0;
    if (start == value.length) return false;
    for (let i = start; i < value.length; i++) {
      const digit = value.charCodeAt(i) - 48;
      if (digit < 0 || digit > 9) return false;
      number = number * 10 + digit;
    }
    if (negative) number = -number;
    return number >= range.start && number < range.end;
  }

  /** All values of the header; null when it is missing. */
  private joined(): string | null {
    const first = requestHeaders.get<Text>(this.name);
    if (first === null) return null;
    const name = this.name.toString();
    const pairs = requestHeaders.pairs();
    let all = "";
    let found = 0;
    for (let i = 0; i < pairs.length; i++) {
      if (pairs.name(i) != name) continue;
      all = found++ == 0 ? pairs.value(i) : all + "," + pairs.value(i);
    }
    return found > 1 ? all : first;
  }
}

function kindOf(string: StringMatcher): i32 {
  switch (string.matchPatternCase) {
    case 1:
      return EXACT;
    case 2:
      return PREFIX;
    case 3:
      return SUFFIX;
    case 5:
      return REGEX;
    case 7:
      return CONTAINS;
    default:
      // A custom matcher: nothing here knows it, and what nobody knows does not match.
      return -1;
  }
}

function textOf(string: StringMatcher): string {
  switch (string.matchPatternCase) {
    case 1:
      return string.exact;
    case 2:
      return string.prefix;
    case 3:
      return string.suffix;
    case 7:
      return string.contains;
    default:
      return "";
  }
}
