/**
 * What is wrong with an author's `.proto`, by file, line and column. protobufjs reads more than protoc does (missing imports,
 * numbers that are not allowed), and tells the rest without a place.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import protobuf from "protobufjs";
import { nearest } from "./nearest.ts";
import { ProtoText } from "./proto-places.ts";
import type { Declaration } from "./proto-places.ts";
import type { FilterSource } from "./source.ts";

/** A `.proto` that is wrong; the message has one `file:line:column: text` line per mistake. */
export class ProtoError extends Error {}

/** The largest number of a field, and those that protobuf keeps for itself. */
const MAX_FIELD_NUMBER = 536_870_911;
const KEPT_NUMBERS = { from: 19_000, to: 19_999 } as const;
const SCALARS =
  "double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string bytes".split(" ");

/** Reads an author's file and refuses what protoc would. `folders`: where imports are looked for. Throws {@link ProtoError}. */
export function checkedProto(path: string, folders: readonly string[]): ProtoText {
  const source = new ProtoText(relative(process.cwd(), path), readFileSync(path, "utf8"));
  const twice = source.declarations.filter(({ kind }) => kind === "message" || kind === "enum");
  const mistakes = twice.flatMap((one) => numberMistakes(source, one));
  if (mistakes.length === 0) {
    mistakes.push(...importMistakes(source, folders));
    for (const at of source.groups)
      mistakes.push(told(source, at, "groups are of proto2: declare a message and a field of it"));
    for (const one of source.declarations) mistakes.push(...numberMistakes(source, one));
  }
  // What was found already is found there as well, without a place.
  if (mistakes.length === 0) mistakes.push(...syntaxMistakes(source));
  if (mistakes.length > 0) throw new ProtoError(mistakes.join("\n"));
  return source;
}

/** Refuses `.proto` files of filter.json that are not there. Throws {@link ProtoError}. */
export function checkedNames({ folder, description }: FilterSource, folders: readonly string[]): void {
  const missing = (description.protos ?? []).filter((file) => !folders.some((one) => existsSync(join(one, file))));
  if (missing.length === 0) return;
  const file = relative(process.cwd(), join(folder, "filter.json"));
  throw new ProtoError(
    missing
      .map(
        (name) =>
          `${file}: "protos" names ${name}, which is neither beside the filter nor among Envoy's and Google's files`,
      )
      .join("\n"),
  );
}

function told(source: ProtoText, at: number, text: string): string {
  return `${source.place(at)}: ${text}`;
}

function importMistakes(source: ProtoText, folders: readonly string[]): string[] {
  const missing = source.imports
    .filter(
      ({ path }) => protobuf.common.get(path) === null && !folders.some((folder) => existsSync(join(folder, path))),
    )
    .map(({ path, at }) =>
      told(
        source,
        at,
        `there is no ${path}: imports are looked for beside the filter, and among Envoy's and Google's files`,
      ),
    );
  const rule = /\(validate\.\w+\)/.exec(withoutComments(source.text));
  if (rule !== null && !source.imports.some(({ path }) => path === "validate/validate.proto"))
    missing.push(told(source, source.text.indexOf(rule[0]), 'rules need: import "validate/validate.proto";'));
  return missing;
}

/** Comments as blanks, so that offsets stay. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\/[^\n]*|\/\*[^]*?\*\//g, (comment) => " ".repeat(comment.length));
}

function numberMistakes(source: ProtoText, one: Declaration): string[] {
  const { path, kind, number, numberAt } = one;
  const name = path.slice(path.lastIndexOf(".") + 1);
  const siblings = source.declarations.filter((other) => other.kind === kind && parent(other) === parent(one));
  const before = siblings.slice(0, siblings.indexOf(one));
  if (kind === "value") {
    if (before.length > 0 || source.syntax !== "proto3" || number === 0) return [];
    return [
      told(
        source,
        numberAt,
        `the first value of an enum is 0 in proto3: ${name.replace(/_?$/, "_UNSPECIFIED")} = 0 is usual`,
      ),
    ];
  }
  const twin = before.find((other) => other.path === path);
  if (twin !== undefined)
    return [told(source, one.at, `${name} is declared twice; the first is at ${source.place(twin.at)}`)];
  if (kind !== "field" || Number.isNaN(number)) return [];
  const same = before.find((other) => other.number === number);
  if (same !== undefined)
    return [
      told(source, numberAt, `number ${number} is taken by ${same.path.slice(same.path.lastIndexOf(".") + 1)} already`),
    ];
  if (number < 1 || number > MAX_FIELD_NUMBER)
    return [told(source, numberAt, `a field's number is from 1 to ${MAX_FIELD_NUMBER}, not ${number}`)];
  if (number >= KEPT_NUMBERS.from && number <= KEPT_NUMBERS.to)
    return [told(source, numberAt, `numbers from ${KEPT_NUMBERS.from} to ${KEPT_NUMBERS.to} are protobuf's own`)];
  return [];
}

function parent({ path }: Declaration): string {
  return path.slice(0, Math.max(0, path.lastIndexOf(".")));
}

function syntaxMistakes(source: ProtoText): string[] {
  try {
    protobuf.parse(source.text, new protobuf.Root(), { keepCase: true });
    return [];
  } catch (error) {
    return [placedMistake(error instanceof Error ? error.message : String(error), [source])];
  }
}

/** A message of protobufjs' or of our own about a type or field, with its place. */
export function placedMistake(message: string, sources: readonly ProtoText[]): string {
  for (const source of sources) {
    const text = placed(message, source);
    if (text !== undefined) return text;
  }
  return sources[0] === undefined ? message : `${sources[0].path}: ${message.replace(/^\S+\.proto: /, "")}`;
}

function placed(message: string, source: ProtoText): string | undefined {
  const [, what, token = "", wanted, line] =
    /^(illegal [\w ]+|illegal) '(.*?)'(, .*? expected)? \((?:.*, )?line (\d+)\)$/.exec(message) ?? [];
  if (what !== undefined && line !== undefined)
    return `${source.placeInLine(Number(line), token)}: ${wanted === undefined ? `${what} "${token}"` : `"${token}" stands where ${wanted.slice(2).replace(" expected", "")} is expected`}`;
  const [, kind, value = "", type = ""] = /^(id|name) '?(\w+)'? is reserved in Type (\S+)$/.exec(message) ?? [];
  if (kind !== undefined) {
    const field = source.declarations.find(
      (one) =>
        one.kind === "field" &&
        `.${type}`.endsWith(`.${parent(one)}`) &&
        (kind === "id" ? one.number === Number(value) : one.path.endsWith(`.${value}`)),
    );
    return field === undefined
      ? undefined
      : told(
          source,
          kind === "id" ? field.numberAt : field.at,
          `${kind === "id" ? `number ${value}` : value} is reserved in ${type}`,
        );
  }
  const [, named] = /^no such Type or Enum '([^']+)' in Root/.exec(message) ?? [];
  if (named !== undefined)
    return `${join(dirname(source.path), "filter.json")}: there is no message ${named}; ${source.path} declares ${source.declarations
      .filter((one) => one.kind === "message")
      .map(({ path }) => path)
      .join(", ")}`;
  const [, missing] =
    /^no such (?:Type or Enum|type): '?([^'\s]+)'?/.exec(message) ??
    /^no such Type or Enum '([^']+)'/.exec(message) ??
    [];
  if (missing !== undefined) {
    const field = source.declarations.find(
      (one) => one.kind === "field" && (one.type === missing || one.type.endsWith(`,${missing}>`)),
    );
    if (field === undefined) return undefined;
    const types = source.declarations.filter(({ kind: one }) => one === "message" || one === "enum");
    const meant = nearest(missing, [...SCALARS, ...types.map(({ path }) => path)]);
    return told(
      source,
      field.at,
      `there is no type ${missing}${meant === undefined ? "; declare it, or import the file that does" : `; did you mean ${meant}?`}`,
    );
  }
  const [, path, rest = ""] = /^([\w.]+): (.*)$/.exec(message) ?? [];
  const declared = path === undefined ? undefined : source.find(path);
  return declared === undefined ? undefined : told(source, declared.at, rest);
}
