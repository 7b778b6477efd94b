/** The walk that enforces protoc-gen-validate's rules on a decoded message and everything in it. */
import { Message, type Single, type Slot } from "../document/message.ts";
import { isWrapper } from "../document/well-known.ts";
import { durationText } from "../document/dump.ts";
import type { Problems, Spot } from "../problem.ts";
import type { Rules } from "../schema/rule-shape.ts";
import type { Field, MessageType, Schema } from "../schema/schema.ts";
import {
  type Broken,
  checkBool,
  checkBytes,
  checkEnum,
  checkNumber,
  checkRange,
  checkString,
  members,
  ruleSet,
  type RuleSet,
} from "./values.ts";

/** Where a value stands, for the report. */
interface Place {
  readonly at: Spot;
  readonly path: string;
}

/** Enforces the rules of one schema; messages inside an Any may be of another. */
export class RuleChecker {
  readonly #schemaOf: (type: MessageType) => Schema;
  readonly #problems: Problems;

  constructor(problems: Problems, schemaOf: (type: MessageType) => Schema) {
    this.#problems = problems;
    this.#schemaOf = schemaOf;
  }

  message(message: Message): void {
    if (message.any !== undefined) this.message(message.any);
    const { type } = message;
    if (type.rulesDisabled) return;
    for (const field of type.fields) {
      const slot = message.slots.get(field.name);
      if (slot !== undefined) this.#slot(message, slot);
      else if (!message.hasFailed(field.name)) this.#unset(message, field);
    }
    for (const oneof of type.requiredOneofs) {
      if (message.which(oneof) !== undefined) continue;
      const names = type.fields.filter((field) => field.oneof === oneof).map((field) => field.name);
      if (names.some((name) => message.hasFailed(name))) continue;
      this.#problems.error(message.at, message.path, "oneof.required", `one of ${names.join(", ")} must be set`);
    }
  }

  /** Scalars without presence are checked as their default value, which is what they are. */
  #unset(message: Message, field: Field): void {
    const { rules } = field;
    if (rules === undefined || field.oneof !== undefined) return;
    const place: Place = { at: message.at, path: message.pathOf(field.name) };
    if (field.mapKey !== undefined) this.#report(place, sizeRules(ruleSet(rules, "map"), "map", 0), true);
    else if (field.repeated) this.#report(place, sizeRules(ruleSet(rules, "repeated"), "repeated", 0), true);
    else if (field.kind === "message") {
      const kind = ["message", "duration", "timestamp", "any"].find(
        (name) => ruleSet(rules, name)?.["required"] === true,
      );
      if (kind !== undefined)
        this.#problems.error(place.at, place.path, `${kind}.required`, "the field is required; add it");
    } else if (!field.presence)
      this.#report(place, this.#scalar(message.type, field, rules, defaultValue(field)), true);
  }

  #slot(message: Message, slot: Slot): void {
    const { field, value } = slot;
    const place: Place = { at: slot.at, path: message.pathOf(field.name) };
    if (value instanceof Map) this.#map(message.type, slot, value, place);
    else if (Array.isArray(value)) this.#list(message.type, slot, value, place);
    else this.#value(message.type, field, field.rules, { value, place });
  }

  #list(type: MessageType, slot: Slot, values: readonly Single[], place: Place): void {
    const rules = ruleSet(slot.field.rules, "repeated");
    if (!(rules?.["ignore_empty"] === true && values.length === 0))
      this.#report(place, sizeRules(rules, "repeated", values.length), false);
    const items = rules?.["items"] as Rules | undefined;
    const seen = rules?.["unique"] === true ? new Set<Single>() : undefined;
    for (const [index, value] of values.entries()) {
      const at: Place = { at: slot.spots[index] ?? slot.at, path: `${place.path}[${index}]` };
      const key = value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
      if (seen?.has(key) === true) {
        this.#problems.error(at.at, at.path, "repeated.unique", "the value stands in the list twice; remove one");
      }
      seen?.add(key);
      this.#value(type, slot.field, items, { value, place: at });
    }
  }

  #map(type: MessageType, slot: Slot, values: ReadonlyMap<string, Single>, place: Place): void {
    const rules = ruleSet(slot.field.rules, "map");
    if (!(rules?.["ignore_empty"] === true && values.size === 0))
      this.#report(place, sizeRules(rules, "map", values.size), false);
    const keyKind = slot.field.mapKey ?? "string";
    const keyField: Field = { ...slot.field, kind: keyKind, typeName: "", mapKey: undefined };
    let index = 0;
    for (const [key, value] of values) {
      const at: Place = { at: slot.spots[index] ?? slot.at, path: `${place.path}[${JSON.stringify(key)}]` };
      index += 1;
      const keyRules = rules?.["keys"] as Rules | undefined;
      const keyValue = keyKind === "string" ? key : keyKind === "bool" ? key === "true" : Number(key);
      if (keyRules !== undefined) this.#report(at, this.#scalar(type, keyField, keyRules, keyValue), false);
      this.#value(type, slot.field, rules?.["values"] as Rules | undefined, { value, place: at });
    }
  }

  #value(owner: MessageType, field: Field, rules: Rules | undefined, given: { value: Single; place: Place }): void {
    const { value, place } = given;
    if (!(value instanceof Message)) {
      if (rules !== undefined) this.#report(place, this.#scalar(owner, field, rules, value), false);
      return;
    }
    if (rules !== undefined) this.#report(place, this.#messageRules(owner, value, rules), false);
    if (ruleSet(rules, "message")?.["skip"] !== true) this.message(value);
  }

  #messageRules(owner: MessageType, value: Message, rules: Rules): Broken | undefined {
    const name = value.type.name;
    if (name === "google.protobuf.Duration") return checkTime(ruleSet(rules, "duration"), "duration", value);
    if (name === "google.protobuf.Timestamp") return checkTime(ruleSet(rules, "timestamp"), "timestamp", value);
    if (name === "google.protobuf.Any") return checkAny(ruleSet(rules, "any"), value);
    if (!isWrapper(name)) return undefined;
    const inner = value.type.byName.get("value");
    const slot = value.slots.get("value");
    if (inner === undefined || slot === undefined || typeof slot.value === "object") {
      return inner !== undefined && slot?.value instanceof Uint8Array
        ? this.#scalar(owner, inner, rules, slot.value)
        : undefined;
    }
    return this.#scalar(owner, inner, rules, slot.value);
  }

  #scalar(owner: MessageType, field: Field, rules: Rules, value: Exclude<Single, Message>): Broken | undefined {
    const set = ruleSet(rules, field.kind);
    if (set === undefined) return undefined;
    if (typeof value === "string") return checkString(set, value);
    if (typeof value === "boolean") return checkBool(set, value);
    if (value instanceof Uint8Array) return checkBytes(set, value);
    if (field.kind !== "enum") return checkNumber(set, field.kind, value);
    const type = this.#schemaOf(owner).enum(field.typeName);
    return checkEnum(set, Number(value), {
      has: (n) => type?.byNumber.has(n) === true,
      name: (n) => type?.byNumber.get(n) ?? String(n),
    });
  }

  #report(place: Place, broken: Broken | undefined, unset: boolean): void {
    if (broken === undefined) return;
    this.#problems.error(
      place.at,
      place.path,
      broken.rule,
      unset ? `${broken.message}; the field is not set` : broken.message,
    );
  }
}

function defaultValue(field: Field): Exclude<Single, Message> {
  if (field.kind === "string") return "";
  if (field.kind === "bytes") return new Uint8Array(0);
  return field.kind === "bool" ? false : 0;
}

function sizeRules(rules: RuleSet | undefined, kind: "repeated" | "map", size: number): Broken | undefined {
  if (rules === undefined || (rules["ignore_empty"] === true && size === 0)) return undefined;
  const unit = kind === "repeated" ? "items" : "pairs";
  const least = rules[`min_${unit}`];
  const most = rules[`max_${unit}`];
  if (least !== undefined && size < Number(least))
    return { rule: `${kind}.min_${unit}`, message: `needs at least ${Number(least)} ${unit}, has ${size}` };
  if (most !== undefined && size > Number(most))
    return { rule: `${kind}.max_${unit}`, message: `takes at most ${Number(most)} ${unit}, has ${size}` };
  return undefined;
}

function checkAny(rules: RuleSet | undefined, value: Message): Broken | undefined {
  return rules === undefined
    ? undefined
    : members({ in: rules["in"], not_in: rules["not_in"] }, "any", `type.googleapis.com/${value.anyType}`);
}

function checkTime(rules: RuleSet | undefined, kind: "duration" | "timestamp", value: Message): Broken | undefined {
  if (rules === undefined) return undefined;
  const own = nanoseconds(value.number("seconds"), value.number("nanos"));
  const show = (nanos: bigint): string => `${Number(nanos) / 1e9}s`;
  const wanted = rules["const"] === undefined ? undefined : ruleNanoseconds(rules["const"]);
  if (wanted !== undefined && wanted !== own) return { rule: `${kind}.const`, message: `must be ${show(wanted)}` };
  const bounds: Record<string, bigint> = {};
  for (const name of ["gt", "gte", "lt", "lte"])
    if (rules[name] !== undefined) bounds[name] = ruleNanoseconds(rules[name]);
  const list = (name: string): unknown =>
    Array.isArray(rules[name]) ? (rules[name] as unknown[]).map((item) => show(ruleNanoseconds(item))) : undefined;
  const range = checkRange(bounds, kind, own, kind === "duration" ? show : timestampShow);
  if (range !== undefined)
    return kind === "duration"
      ? { ...range, message: range.message.replace(/, is .*$/, `, is ${durationText(value)}`) }
      : range;
  return (
    members({ in: list("in"), not_in: list("not_in") }, kind, show(own)) ??
    (kind === "timestamp" ? checkNow(rules, own) : undefined)
  );
}

function checkNow(rules: RuleSet, own: bigint): Broken | undefined {
  const now = BigInt(Date.now()) * 1_000_000n;
  if (rules["lt_now"] === true && own >= now) return { rule: "timestamp.lt_now", message: "must lie in the past" };
  if (rules["gt_now"] === true && own <= now) return { rule: "timestamp.gt_now", message: "must lie in the future" };
  if (rules["within"] === undefined) return undefined;
  const distance = own > now ? own - now : now - own;
  return distance <= ruleNanoseconds(rules["within"])
    ? undefined
    : { rule: "timestamp.within", message: "must lie nearer to the present" };
}

function timestampShow(nanos: bigint): string {
  return new Date(Number(nanos / 1_000_000n)).toISOString();
}

function ruleNanoseconds(rule: unknown): bigint {
  const { seconds, nanos } = rule as { seconds?: unknown; nanos?: unknown };
  return nanoseconds(Number(seconds ?? 0), Number(nanos ?? 0));
}

function nanoseconds(seconds: number, nanos: number): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
}
