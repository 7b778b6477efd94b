/**
 * What TypeScript has and AssemblyScript lacks, and how to write it instead: the compiler's own messages name a token or
 * nothing that an author of TypeScript would recognise.
 */

/** One mistake of the compiler's: its message, and the line's text before and from the place it points at. */
export interface Mistake {
  readonly message: string;
  readonly before: string;
  readonly after: string;
}

interface Lack {
  /** The compiler's message. */
  readonly message: RegExp;
  /** Text that ends where the message points at. */
  readonly before?: RegExp;
  /** Text that begins there. */
  readonly after?: RegExp;
  /** A sentence: what is missing, and the way to write it. */
  readonly advice: string;
}

const PARSING = /expected\.|Unexpected token|Invalid character|must be initialized/;

/** The first that fits is told. */
export const LACKS: readonly Lack[] = [
  {
    message: /^Not implemented: Closures/,
    advice:
      "AssemblyScript has no closures: a function sees its own variables and globals only. Write a loop, pass the value as a parameter, or keep it in a field of your filter and use a method.",
  },
  {
    message: PARSING,
    before: /\?$/,
    after: /^\./,
    advice: "AssemblyScript has no `?.`. Write `const b = x.b; if (b !== null) …` and use `b`.",
  },
  {
    message: PARSING,
    before: /\?$/,
    after: /^\?/,
    advice: "AssemblyScript has no `??`. Write `const v = x; if (v !== null) …`, or `x === null ? other : x!`.",
  },
  {
    message: PARSING,
    after: /^(?:const|let|var)\s+[[{]/,
    advice:
      "AssemblyScript has no destructuring. Write one line for each name: `const n = x.n;`, `const first = x[0];`.",
  },
  {
    message: /^Not implemented: union types/,
    advice:
      "AssemblyScript has no union types other than `T | null`. Use one type, an `enum` for a set of values, or a base class with a subclass for each case.",
  },
  {
    message: /^Not implemented: Regular expressions|RegExp/,
    advice:
      "AssemblyScript has no regular expressions. Use `indexOf`, `startsWith` and `split`, or the host's linear-time expressions: `matchRegex` of sluice/filters/sdk/extensions.ts.",
  },
  {
    message: /^Not implemented: Exceptions/,
    advice:
      "AssemblyScript cannot catch: a `throw` ends the instance. Answer `null`, `false` or a status and let the caller look at it.",
  },
  {
    message: PARSING,
    after: /^(?:export\s+)?async\b/,
    advice:
      "AssemblyScript has no `async`. A call's answer comes to a method: extend HttpCallback or GrpcCallback, answer PAUSE, and go on from there.",
  },
  {
    message: /^Cannot find name '(?:Promise|async|await)'/,
    advice:
      "AssemblyScript has no promises. A call's answer comes to a method: extend HttpCallback or GrpcCallback, answer PAUSE, and go on from there.",
  },
  {
    message: /^Cannot find name '(?:any|unknown|never)'/,
    advice: "Every value has one concrete type in AssemblyScript: write it (`i32`, `string`, a class of yours).",
  },
  {
    message: /^Cannot find name 'undefined'/,
    advice:
      "AssemblyScript has no `undefined`. Use `null` with a type `T | null`; numbers and booleans are always there.",
  },
  {
    message: /^Not implemented: Spread operator/,
    advice: "AssemblyScript has no spread. Use `a.concat(b)` or `slice()`, or push in a loop.",
  },
  {
    message: /^Type '<object>' is not assignable|^Not implemented: Interface hidden classes/,
    advice:
      "AssemblyScript has no plain objects. Declare a `class` with fields and make it with `new`; a `Map<string, T>` holds keys that are not known before.",
  },
  {
    message: PARSING,
    before: /\bfunction$|\bfunction\s*$/,
    after: /^\*/,
    advice: "AssemblyScript has no generators. Collect the values in an array.",
  },
  {
    message: /^Not implemented: Iterators/,
    advice:
      "AssemblyScript has no `for … of`. Write `for (let i = 0; i < list.length; i++)`; a Map has `keys()` and `values()`, which are arrays.",
  },
  {
    message: PARSING,
    before: /\bfor\s*\(\s*(?:const|let)\s+$/,
    advice: "AssemblyScript has no `for … in`. A Map has `keys()`, which is an array.",
  },
  {
    message: PARSING,
    before: /\btype\s+\w+\s*=?\s*$/,
    after: /^=?\s*\{/,
    advice: "AssemblyScript has no object types. Declare a `class` with those fields.",
  },
  {
    message: /^Type expected/,
    after: /^\[/,
    advice: "AssemblyScript has no tuples. Declare a `class` with a field for each member.",
  },
  {
    message: PARSING,
    before: /(?:^|[^\w])$/,
    after: /^#\w/,
    advice: "AssemblyScript has no `#` names. Write `private`.",
  },
  {
    message: PARSING,
    before: /\bstatic\s*$|\bclass\b.*\{\s*$/,
    after: /^(?:static\s*)?\{/,
    advice: "AssemblyScript has no static blocks. Give the static field its value where it is declared.",
  },
  {
    message: PARSING,
    after: /^satisfies\b/,
    advice: "AssemblyScript has no `satisfies`. Leave it out, or declare the variable's type.",
  },
  {
    message: /^Optional parameter must have an initializer/,
    advice: "Give the parameter its default: `y: i32 = 0`, or for an object `y: T | null = null`.",
  },
  {
    message: /^Type argument expected/,
    advice: "AssemblyScript does not infer this type argument. Write it: `list.map<i32>((item) => item.length)`.",
  },
  {
    message: /^Type '~lib\/string\/String' is not assignable to type 'i32'/,
    before: /\benum\b.*$/,
    advice: 'Members of an AssemblyScript `enum` are numbers. Write constants for texts: `const GET = "GET";`.',
  },
  {
    message: /^Cannot find name 'JSON'/,
    advice:
      "AssemblyScript has no JSON. Describe the configuration in the filter's .proto and read it with its class; build small JSON answers as text.",
  },
  {
    message: /^Cannot find name '(?:setTimeout|setInterval|queueMicrotask)'/,
    advice:
      "Guests have no timers of their own. Override `onTick` and call `setTickPeriod`, or use a stream's timer (sluice/filters/sdk/extensions.ts).",
  },
  {
    message: /^Cannot find name '(?:fetch|XMLHttpRequest|WebSocket)'/,
    advice: "Guests reach the network through the host: `httpCall` and `grpcCall` to a configured cluster.",
  },
  {
    message: /^Cannot find name '(?:Buffer|TextEncoder|TextDecoder)'/,
    advice: "Use `String.UTF8.encode(text)` and `String.UTF8.decode(bytes)`, and `Uint8Array` for bytes.",
  },
  {
    message: /^Cannot find name '(?:require|window|Intl|Proxy|Reflect|WeakMap)'/,
    advice:
      "This belongs to Node or to JavaScript's own runtime; a filter has the SDK and AssemblyScript's standard library.",
  },
  {
    message: /^Cannot find name '(?:bigint|object)'/,
    advice: "AssemblyScript has `i64` and `u64` for large integers, and classes for objects.",
  },
  {
    message: /^File '~lib\/(?!sluice).*' not found/,
    advice:
      "Modules from npm and from Node cannot be imported. Import files of your own by their path (`./name.ts`) and the SDK as `sluice/filters/sdk/…`.",
  },
  {
    message: /^Property '(?:keys|values|entries|assign|freeze)' does not exist on type '~lib\/object/,
    advice: "AssemblyScript objects have no keys at run time. Use a `Map`, or name the fields.",
  },
  {
    message: /^Conversion from type '\w+' to '\w+' requires an explicit cast/,
    advice: "Numbers have a size and a sign here. Convert in so many words: `x as i32`, or `i32(x)`.",
  },
];

/** The sentence for a mistake; undefined when the compiler's own message says what is wrong. */
export function adviceFor({ message, before, after }: Mistake): string | undefined {
  for (const lack of LACKS) {
    if (!lack.message.test(message)) continue;
    if (lack.before !== undefined && !lack.before.test(before)) continue;
    if (lack.after !== undefined && !lack.after.test(after)) continue;
    return lack.advice;
  }
  return undefined;
}
