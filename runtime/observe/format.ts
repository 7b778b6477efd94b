/**
 * Envoy's format strings (`%COMMAND(ARGUMENT):LENGTH%`), compiled once: access logs, added headers, local
 * replies. What is rendered is a byte string (wire-text.ts). The commands are in format-commands.ts.
 */
import { ProxyError } from "../errors.ts";
import { commandFor, type Extract, type FormatValue } from "./format-commands.ts";
import type { StreamInfo } from "./stream-info.ts";
import { headerText, jsonText, lineText, wireText } from "./wire-text.ts";

export type Format = (info: StreamInfo) => string;

export interface FormatOptions {
  /** Absent values render as nothing instead of `-` (in JSON: their keys are left out). */
  readonly omitEmptyValues: boolean;
  /** Where the text goes, which says what has to be escaped in values; default `line`. */
  readonly target?: "line" | "header" | undefined;
}

/** What an access log without a format of its own prints. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ' +
  "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% " +
  '%RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQUEST_HEADER(X-FORWARDED-FOR)%" "%REQUEST_HEADER(USER-AGENT)%" ' +
  '"%REQUEST_HEADER(X-REQUEST-ID)%" "%REQUEST_HEADER(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

const ABSENT = "-";
const COMMAND = /%([A-Z][A-Z0-9_]*)(?:\((.*?)\))?(?::([0-9]+))?%/y;

/** Compiles a text format. Throws ProxyError `FORMAT_INVALID`. */
export function compileFormat(text: string, options: FormatOptions): Format {
  const parts = parse(text, options.target === "header" ? headerText : lineText);
  const absent = options.omitEmptyValues ? "" : ABSENT;
  const [only] = parts;
  if (only === undefined) return () => "";
  if (parts.length === 1 && typeof only === "string") return () => only;
  return (info) => render(parts, info, absent);
}

/** What is wrong with a text format; undefined when nothing is. */
export function checkFormat(text: string): string | undefined {
  return problemOf(() => parse(text, lineText));
}

/**
 * Compiles a JSON format: strings in it are formats, other values stand for themselves. The result ends
 * without a line break. Throws ProxyError `FORMAT_INVALID`.
 */
export function compileJsonFormat(json: unknown, options: FormatOptions): Format {
  const node = compileNode(json, options.omitEmptyValues);
  return (info) => node(info) ?? "{}";
}

/** What is wrong with a JSON format; undefined when nothing is. */
export function checkJsonFormat(json: unknown): string | undefined {
  return problemOf(() => compileNode(json, false));
}

function problemOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof ProxyError) return error.message.slice(error.code.length + 2);
    throw error;
  }
}

type Part = string | Extract;

function parse(text: string, clean: (text: string) => string): Part[] {
  const parts: Part[] = [];
  let literal = "";
  for (let at = 0; at < text.length;) {
    const percent = text.indexOf("%", at);
    if (percent === -1) {
      literal += text.slice(at);
      break;
    }
    literal += text.slice(at, percent);
    if (text[percent + 1] === "%") {
      literal += "%";
      at = percent + 2;
      continue;
    }
    COMMAND.lastIndex = percent;
    const match = COMMAND.exec(text);
    if (match === null) {
      throw new ProxyError("FORMAT_INVALID", "config", `no command at position ${percent} of "${text}"`);
    }
    if (literal !== "") parts.push(wireText(literal));
    literal = "";
    const extract = commandFor(match[1]!, match[2], clean);
    parts.push(match[3] === undefined ? extract : shortened(extract, Number(match[3])));
    at = COMMAND.lastIndex;
  }
  if (literal !== "") parts.push(wireText(literal));
  return parts;
}

function shortened(extract: Extract, length: number): Extract {
  return (info) => {
    const value = extract(info);
    return value === undefined ? undefined : asText(value).slice(0, length);
  };
}

function render(parts: readonly Part[], info: StreamInfo, absent: string): string {
  let out = "";
  for (const part of parts) {
    if (typeof part === "string") {
      out += part;
      continue;
    }
    const value = part(info);
    out += value === undefined ? absent : asText(value);
  }
  return out;
}

function asText(value: NonNullable<FormatValue>): string {
  if (typeof value === "string") return value;
  return typeof value === "object" ? wireText(JSON.stringify(value)) : String(value);
}

/** One value of a JSON format as JSON text; undefined when it is to be left out. */
type Node = (info: StreamInfo) => string | undefined;

function compileNode(json: unknown, omit: boolean): Node {
  if (typeof json === "string") return compileLeaf(json, omit);
  if (Array.isArray(json)) {
    const items = json.map((item) => compileNode(item, omit));
    return (info) => `[${items.map((item) => item(info) ?? "null").join(",")}]`;
  }
  if (typeof json === "object" && json !== null) {
    const members = Object.entries(json).map(([key, value]) => ({
      key: `${wireText(JSON.stringify(key))}:`,
      value: compileNode(value, omit),
    }));
    return (info) => {
      let out = "";
      for (const { key, value } of members) {
        const text = value(info);
        if (text !== undefined) out += out === "" ? key + text : `,${key}${text}`;
      }
      return `{${out}}`;
    };
  }
  const constant = JSON.stringify(json) ?? "null";
  return () => constant;
}

function compileLeaf(text: string, omit: boolean): Node {
  // Nothing is escaped inside: the JSON string around it does that.
  const parts = parse(text, (value) => value);
  const [only] = parts;
  if (parts.length === 1 && typeof only === "function") {
    return (info) => {
      const value = only(info);
      if (value === undefined) return omit ? undefined : "null";
      return typeof value === "string" ? jsonText(value) : wireText(JSON.stringify(value));
    };
  }
  const absent = omit ? "" : ABSENT;
  return (info) => jsonText(render(parts, info, absent));
}
