/** Names of generated classes and fields: short where that is clear, and never a word that the language keeps. */
import type protobuf from "protobufjs";
import { nameInPackage, packageOf } from "./proto.ts";

/** Globals of AssemblyScript that generated code uses or that a class must not hide. */
const TAKEN = new Set(
  "Reader Writer Array ArrayBuffer Map Set String Number Boolean Object Error Symbol Date Math JSON Function Atomics DataView RegExp StaticArray".split(
    " ",
  ),
);
const KEYWORDS = new Set(
  "abstract as async await break case catch class const constructor continue debugger declare default delete do else encode enum export extends false finally for from function get if implements import in instanceof interface is keyof let module namespace new null of package private protected public read readonly return set static super switch this throw true try type typeof var void while with write yield".split(
    " ",
  ),
);

export class Names {
  private readonly names = new Map<string, string>();

  /** Messages and enums of the same short name get their package's last words in front. */
  constructor(types: readonly (protobuf.Type | protobuf.Enum)[]) {
    const byName = new Map<string, (protobuf.Type | protobuf.Enum)[]>();
    for (const type of types) {
      const name = short(type);
      byName.set(name, [...(byName.get(name) ?? []), type]);
    }
    for (const [name, same] of byName) {
      for (const type of same) {
        this.names.set(type.fullName, same.length === 1 && !TAKEN.has(name) ? name : prefixed(type, name));
      }
    }
  }

  of(type: protobuf.Type | protobuf.Enum): string {
    return this.names.get(type.fullName)!;
  }
  field(field: { readonly name: string }): string {
    const name = camelCase(field.name);
    return KEYWORDS.has(name) ? `${name}_` : name;
  }
  hasField(field: { readonly name: string }): string {
    return `has${upperFirst(camelCase(field.name))}`;
  }
  /** Name of the enum that lists a oneof's members. */
  caseOf(oneof: protobuf.OneOf): string {
    return `${this.of(oneof.parent as protobuf.Type)}${upperFirst(camelCase(oneof.name))}Case`;
  }
  caseField(oneof: protobuf.OneOf): string {
    return `${camelCase(oneof.name)}Case`;
  }
}

function short(type: protobuf.ReflectionObject): string {
  return nameInPackage(type).split(".").join("");
}

/** `envoy.config.core.v3` + `Address` → `ConfigCoreV3Address`. */
function prefixed(type: protobuf.ReflectionObject, name: string): string {
  return packageOf(type).split(".").slice(-3).map(upperFirst).map(camelCase).map(upperFirst).join("") + name;
}

function camelCase(name: string): string {
  return name.replaceAll(/_+([a-zA-Z0-9])/g, (_all, letter: string) => letter.toUpperCase());
}

function upperFirst(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
