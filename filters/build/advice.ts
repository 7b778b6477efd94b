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
    message: /^Property '(?:match|matchAll|search|normalize|localeCompare)' does not exist on type '~lib\/string/,
    advice:
      "AssemblyScript has no regular expressions. Use `indexOf`, `startsWith` and `split`, or the host's linear-time expressions: `matchRegex` of sluice/filters/sdk/extensions.ts.",
  },
  {
    message: /^Property '(?:from|of)' does not exist on type '~lib\/array/,
    advice:
      "Arrays are written down, `[1, 2]`, copied with `slice()`, or filled in a loop: `new Array<i32>()` and `push`.",
  },
  {
    message: /^Not implemented: Block-scoped class/,
    advice: "AssemblyScript has no classes inside of functions. Declare the class at the top of the file.",
  },
  {
    message: /^Expression cannot be represented by a type/,
    after: /^[[{]/,
    advice:
      "AssemblyScript has no plain objects. Declare a `class` with fields and make it with `new`; a `Map<string, T>` holds keys that are not known before.",
  },
  {
    message: /^Expected \d+ type arguments?, but got 0/,
    advice: "Say of which types it is: `new Map<string, i32>()`, `new Array<i32>()`.",
  },
  {
    message: /^Type argument expected/,
    before: /\bnew \w+$/,
    advice: "Say of which types it is: `new Map<string, i32>()`, `new Array<i32>()`.",
  },
  {
    message: /^Type expected/,
    before: /[(,]\s*\w+\s*$/,
    after: /^[,)]/,
    advice: "Each parameter has a type: `x: i32`.",
  },
  {
    message: /^Type expected/,
    before: /\)\s*$/,
    after: /^\s*\{/,
    advice: "Each function says what it returns: `f(x: i32): i32 {`, or `: void` for nothing.",
  },
  {
    message: /^Type expected/,
    before: /:\s*$/,
    after: /^\{/,
    advice: "AssemblyScript has no object types. Declare a `class` with those fields.",
  },
  {
    message: /^Index signature is missing in type 'filters\/sdk\/headers/,
    advice: "Fields are asked for by name: `get(name)`, which is null when there is none.",
  },
  {
    message: /is not assignable to type '\(\) => filters\/sdk\/context\/RootContext'/,
    advice: "`register` takes a function that makes one: `register((): RootContext => new …)`.",
  },
  {
    message: /^Expression does not compile to a value at runtime/,
    before: /\bregister\(\s*$/,
    advice: "`register` takes a function that makes one: `register((): RootContext => new …)`.",
  },
  {
    message: /^Function implementation is missing/,
    after: /^\s*is\s+\w/,
    advice: "AssemblyScript has no type guards of one's own. Answer `bool`; `instanceof` narrows where it stands.",
  },
  {
    message: /^'abstract' modifier cannot be used here/,
    advice: "Only methods are abstract. Give the field a value, or make it a method that answers it.",
  },
  {
    message: PARSING,
    before: /(?:^|[;{}])\s*[A-Za-z_]\w*$/,
    after: /^:\s*(?:for|while|do)\b/,
    advice: "AssemblyScript has no labels. Put the inner loop into a function of its own, and `return` from it.",
  },
  {
    message: /^Type '(?!~lib\/|\()[^' ]+\/\w+' is not assignable to type '~lib\/string\/String'/,
    advice: "Make it a text: give the class a method `toString(): string`, and call it.",
  },
  {
    message: /^File '.*\.(?:json|wasm|txt|yaml|css|html)\.ts' not found/,
    advice:
      "Only sources can be imported. What a filter must know stands in its configuration, or in a constant of a .ts file.",
  },
  {
    message: PARSING,
    after: /^(?:const|let|var)\s+\[.*\]\s+of\b/,
    advice:
      "AssemblyScript has no `for … of` and no destructuring. A Map has `keys()` and `values()`, which are arrays: `const keys = map.keys(); for (let i = 0; i < keys.length; i++) …`.",
  },
  {
    message: PARSING,
    before: /(?:\|\||&&)$/,
    after: /^=/,
    advice: "AssemblyScript has no `||=` and no `&&=`. Write `x = x || y`, or `x = x && y`.",
  },
  {
    message: PARSING,
    before: /\bimport\s*$/,
    after: /^type\s/,
    advice: "AssemblyScript has no `import type`. Leave `type` out: what is only a type costs nothing.",
  },
  {
    message: PARSING,
    after: /^await\b/,
    advice:
      "AssemblyScript has no `await`. A call's answer comes to a method: extend HttpCallback or GrpcCallback, answer PAUSE, and go on from there.",
  },
  {
    message: PARSING,
    before: /\bvoid\s*$/,
    advice:
      "AssemblyScript has no `undefined`. Use `null` with a type `T | null`; numbers and booleans are always there.",
  },
  {
    message: PARSING,
    after: /^\(\s*[[{]/,
    advice: "AssemblyScript has no destructuring. Give the parameter a name and a class, and read its fields.",
  },
  {
    message: /^An identifier or keyword cannot immediately follow a numeric literal/,
    advice: "AssemblyScript has no `1n`. Integers of 64 bits are plain: `const x: i64 = 1;`.",
  },
  {
    message: /^Cannot assign to '~lib\/array\/Array<.*> because|^Cannot assign to '~lib\/array\/Array<[^']*>'/,
    after: /^\[/,
    advice:
      "AssemblyScript has no destructuring. Write one line for each name: `const n = x.n;`, `const first = x[0];`.",
  },
  {
    message: /^Expected \d+ arguments, but got \d+/,
    after: /^[\w.]+\([^)]*\.\.\./,
    advice: "AssemblyScript has no spread. Pass the values one by one, or loop over the list.",
  },
  {
    message: /^Expected \d+ arguments, but got \d+/,
    after: /^new Date\(/,
    advice: "Guests have no local time. `nowNanoseconds()` of sluice/filters/sdk/time.ts is the host's clock.",
  },
  {
    message: /^Expected 0 arguments, but got \d+/,
    after: /^new (?:Map|Set)\b/,
    advice: "A Map or Set begins empty. Fill it with `set(key, value)` or `add(value)`.",
  },
  {
    message: /^Property '\w+' does not exist on type '[^'#]*#[^']*'/,
    before: /\bthis\.$/,
    advice:
      "AssemblyScript has no closures: `this` in a function is not the object around it. Use a method, or pass the object as a parameter.",
  },
  {
    message: /^Property '\w+' does not exist on type '(?:[\w.-]+\/)+[a-z][\w.-]*'/,
    before: /\bthis\.$/,
    advice: "There is no `this` outside of a class. Use a method, or pass the object as a parameter.",
  },
  {
    message: /^Property 'forEach' does not exist on type '~lib\/(?:map|set)\//,
    advice: "A Map has `keys()` and `values()`, a Set `values()`: arrays, to loop over by index.",
  },
  {
    message:
      /^Property '(?:find|flat|flatMap|at|entries|values|toSorted|toReversed)' does not exist on type '~lib\/array\//,
    advice:
      "Arrays have `findIndex`, `indexOf`, `includes`, `map`, `filter`, `sort`, `slice`; for others write a loop.",
  },
  {
    message: /^Property 'to(?:Fixed|Precision|LocaleString)' does not exist/,
    advice: "Numbers have `toString()` only. Round before: `(Math.round(x * 10) / 10).toString()`.",
  },
  {
    message: /^Property '\w+' does not exist on type '~lib\/(?:map\/Map|process)/,
    before: /\bprocess\.(?:env\.)?$/,
    advice: "A filter has no process. What it must know stands in its configuration: describe it in its .proto.",
  },
  {
    message: /^Property '\w+' does not exist on type '~lib\/crypto/,
    advice: "Random bits come from `random()` of sluice/filters/sdk/random.ts.",
  },
  {
    message: /^Type '([^']+) \| null' is not assignable to type '\1'/,
    advice:
      "It may be null: look first, `const v = …; if (v !== null) …`. What a `const` or parameter holds is remembered, a field is not; `v!` says that you know.",
  },
  {
    message: /is not assignable to type 'usize'/,
    before: /\?\s*null\s*:\s*$/,
    advice: "AssemblyScript takes the type from the first value, and `null` has none. Write an `if`.",
  },
  {
    message: /^Type '(?:[iuf]\d+|[iu]size|bool)' is not assignable to type '~lib\/string\/String'/,
    advice: "Make it a text: `x.toString()`, or `${x}` in a template.",
  },
  {
    message: /^This overload signature is not compatible|^Type '\(this: [^']*' is not assignable to type '\(this: /,
    advice:
      "A method that overrides another has its parameters and its result, type by type: sluice/filters/sdk/context.ts has those of all callbacks.",
  },
  {
    message: /^Type '(?!~lib\/)[^' |]+\/\w+' is not assignable to type '(?!~lib\/)[^' |]+\/\w+'/,
    advice:
      "Classes are told apart by their names, not by their fields. Let one extend the other, or both implement an interface.",
  },
  {
    message: /^Type '\w+' cannot be nullable/,
    advice: "Numbers and booleans are never null. Keep a `bool` beside, or a value that means none (`-1`).",
  },
  {
    message: /^Optional properties are not supported/,
    advice: "Give the field a value: `a: i32 = 0;`, or for an object `a: T | null = null;`.",
  },
  {
    message: /has no initializer and is not assigned in the constructor/,
    advice: 'Give it a value where it is declared (`a: string = "";`); `a!: T` says that it is set before it is read.',
  },
  {
    message: /^Not implemented: Tagged template literals/,
    advice: "AssemblyScript has no tagged templates. Call the function with the text.",
  },
  {
    message: /^Not implemented: 'in' operator/,
    advice: "AssemblyScript has no `in`. A Map, a Set and the header maps have `has(name)`.",
  },
  {
    message: /^Not implemented: Const assertion/,
    advice: "AssemblyScript has no `as const`. Leave it out: a `const` is constant already.",
  },
  {
    message: /^Cannot find name 'delete'/,
    advice: "AssemblyScript has no `delete`. A Map has `delete(key)`.",
  },
  {
    message: /^Expression does not compile to a value at runtime/,
    after: /^(?:Number|String|Boolean|BigInt|Object|Array)\(/,
    advice:
      "Types are no functions here. A text of a number is `x.toString()`, a number of a text `i32(parseInt(text))` or `parseFloat(text)`.",
  },
  {
    message: /^Function implementation is missing/,
    advice: "AssemblyScript has no overloads. Give each function its own name, or one a type parameter.",
  },
  {
    message:
      /^Cannot find name '(?:Record|Partial|Required|Readonly|Pick|Omit|Exclude|Extract|ReturnType|Parameters|NonNullable)'/,
    advice:
      "AssemblyScript has no types made of other types. Declare a `class` with the fields; for any keys use a `Map<string, T>`.",
  },
  {
    message: /^Cannot find name '(?:Readonly(?:Array|Map|Set)|Iterable|Iterator|Generator|ArrayLike|PropertyKey)'/,
    advice:
      "AssemblyScript has `Array<T>`, `StaticArray<T>`, `Map<K, V>` and `Set<T>`; there is no read-only view of them.",
  },
  {
    message: /^Type expected/,
    after: /^(?:keyof|typeof|infer|asserts|unique)\b/,
    advice: "AssemblyScript has no types made of other types. Write the class or the number type itself.",
  },
  {
    message: /^File '.*\.pb\.ts' not found/,
    advice:
      "This file is made from the .proto of the same name beside the filter, which is not there: write it, its first message is the configuration.",
  },
  {
    message: /^File '.*\.(?:js|mjs|cjs)\.ts' not found/,
    advice: "Import the source itself: `./name.ts`.",
  },
  {
    message: /^File '~lib\/sluice/,
    advice: 'The SDK is imported file by file: `import { Filter } from "sluice/filters/sdk/context.ts";`.',
  },
  {
    message: /^Operator '[^']+' cannot be applied to types '[iuf]\w+' and '[iuf]\w+'/,
    advice: "Numbers have a size and a sign here. Convert one of them: `x as u32`, or `u32(x)`.",
  },
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
    message:
      /^Cannot find name '(?:require|window|globalThis|global|Intl|Proxy|Reflect|WeakMap|WeakRef|URL|structuredClone)'/,
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
