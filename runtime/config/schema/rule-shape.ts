/**
 * The one shape that validation rules have here, whether they were read from .proto text or decoded from
 * a descriptor: the JSON of `validate.FieldRules`, with names for enum values.
 */

/** `{ string: { min_len: 8, max_len: 25 } }`. */
export type Rules = Readonly<Record<string, unknown>>;

const WELL_KNOWN_REGEX = ["UNKNOWN", "HTTP_HEADER_NAME", "HTTP_HEADER_VALUE"];

/** Two option statements of one field are one rule: members join, lists append. */
export function mergeRules(a: unknown, b: unknown): unknown {
  if (Array.isArray(a)) return [...a, ...(Array.isArray(b) ? b : [b])];
  if (!isRecord(a) || !isRecord(b)) return b;
  const merged: Record<string, unknown> = { ...a };
  for (const [name, value] of Object.entries(b))
    merged[name] = name in merged ? mergeRules(merged[name], value) : value;
  return merged;
}

/** Drops empty rules and gives enum members their names; undefined when nothing is left to check. */
export function canonicalRules(rules: unknown): Rules | undefined {
  if (!isRecord(rules)) return undefined;
  const result: Record<string, unknown> = {};
  for (const [kind, value] of Object.entries(rules)) {
    if (!isRecord(value)) continue;
    const copy: Record<string, unknown> = { ...value };
    for (const list of ["in", "not_in"]) if (list in copy && !Array.isArray(copy[list])) copy[list] = [copy[list]];
    const regex = copy["well_known_regex"];
    if (typeof regex === "number") copy["well_known_regex"] = WELL_KNOWN_REGEX[regex] ?? "UNKNOWN";
    if (kind === "repeated" && "items" in copy) copy["items"] = canonicalRules(copy["items"]);
    for (const side of kind === "map" ? ["keys", "values"] : [])
      if (side in copy) copy[side] = canonicalRules(copy[side]);
    result[kind] = copy;
  }
  return Object.keys(result).length === 0 ? undefined : result;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
