/** Generates AssemblyScript classes from messages: fields with their defaults, `decode` and `encode`. */
import protobuf from "protobufjs";
import { Names } from "./message-names.ts";
import { type ProtoDefinition } from "./proto.ts";
import { isScalar, scalar, tag, WIRE_LENGTH } from "./scalars.ts";

/** The source of a module with one class per message and one enum per enum. `sdk` is the import path of the SDK's folder. */
export function generateMessages(definitions: readonly ProtoDefinition[], source: string, sdk: string): string {
  const names = new Names(definitions.map((definition) => definition.type));
  const parts = [
    `// Generated from ${source} by filters/build. Changes are overwritten.`,
    `import { Reader } from "${sdk}/wire-reader.ts";\nimport { Writer } from "${sdk}/wire-writer.ts";`,
  ];
  for (const { type } of definitions) {
    parts.push(type instanceof protobuf.Enum ? enumSource(type, names) : classSource(type, names));
  }
  return parts.join("\n\n") + "\n";
}

function enumSource(type: protobuf.Enum, names: Names): string {
  const lines = Object.entries(type.values).map(([name, value]) => `  ${name} = ${value},`);
  return `export enum ${names.of(type)} {\n${lines.join("\n")}\n}`;
}

/** What one field contributes to its class. */
interface FieldSource {
  readonly declaration: string;
  readonly read: string;
  readonly write: string;
}

function classSource(type: protobuf.Type, names: Names): string {
  const name = names.of(type);
  const oneofs = type.oneofsArray.filter((oneof) => !isOptional(oneof));
  const fields = type.fieldsArray.map((field) => fieldSource(field, names));
  const cases = oneofs.map((oneof) => {
    const members = oneof.fieldsArray.map((field) => `  ${field.name.toUpperCase()} = ${field.id},`);
    return `/** Which field of \`${oneof.name}\` is set. */\nexport enum ${names.caseOf(oneof)} {\n  NONE = 0,\n${members.join("\n")}\n}\n\n`;
  });
  const declarations = [
    ...fields.map((field) => field.declaration),
    ...oneofs.map((oneof) => `  ${names.caseField(oneof)}: i32 = 0;`),
  ];
  return `${cases.join("")}export class ${name} {
${declarations.join("\n")}${declarations.length > 0 ? "\n\n" : ""}  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): ${name} | null {
    const reader = new Reader(bytes);
    const message = new ${name}();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
${fields.map((field) => field.read).join("")}        default:
          reader.skip(tag);
      }
    }
  }

  write(${fields.length === 0 ? "_" : ""}writer: Writer): void {
${fields.map((field) => field.write).join("")}  }
${type.fullName === ".google.protobuf.Duration" ? DURATION_METHOD : ""}}`;
}

const DURATION_METHOD = `
  /** Whole milliseconds, rounded towards zero. */
  milliseconds(): i64 {
    return this.seconds * 1000 + this.nanos / 1000000;
  }
`;

/** True for the oneof that stands for proto3's \`optional\`. */
function isOptional(oneof: protobuf.OneOf): boolean {
  return oneof.fieldsArray.length === 1 && oneof.fieldsArray[0]!.getOption("proto3_optional") === true;
}

function fieldSource(field: protobuf.Field, names: Names): FieldSource {
  // protobufjs declares MapField beside Field, although it extends it.
  const object: unknown = field;
  if (object instanceof protobuf.MapField) return mapSource(object, names);
  if (field.repeated) return repeatedSource(field, names);
  if (field.resolvedType instanceof protobuf.Type) return messageSource(field, field.resolvedType, names);
  return scalarSource(field, names);
}

function block(tagNumber: number, lines: readonly string[]): string {
  return `        case ${tagNumber}: {\n${lines.map((line) => `          ${line}\n`).join("")}          break;\n        }\n`;
}

function messageSource(field: protobuf.Field, type: protobuf.Type, names: Names): FieldSource {
  const name = names.field(field);
  const wire = tag(field.id, WIRE_LENGTH);
  const presence = presenceOf(field, names);
  return {
    declaration: `  ${name}: ${names.of(type)} | null = null;`,
    read: block(wire, [
      `let value = this.${name};`,
      `if (value === null) this.${name} = value = new ${names.of(type)}();`,
      ...presence.set,
      "const outer = reader.enter();",
      "value.read(reader);",
      "reader.exit(outer);",
    ]),
    write: `    const ${name} = this.${name};\n    if (${name} !== null) {\n      writer.tag(${wire});\n      const start = writer.enter();\n      ${name}.write(writer);\n      writer.exit(start);\n    }\n`,
  };
}

function scalarSource(field: protobuf.Field, names: Names): FieldSource {
  const name = names.field(field);
  const kind = scalar(field);
  const wire = tag(field.id, kind.wire);
  const presence = presenceOf(field, names);
  return {
    declaration: `  ${name}: ${kind.type} = ${kind.initial(field)};${presence.declaration}`,
    read: block(wire, [`this.${name} = reader.${kind.method}();`, ...presence.set]),
    write: `    if (${presence.test ?? kind.present(`this.${name}`)}) {\n      writer.tag(${wire});\n      writer.${kind.method}(this.${name});\n    }\n`,
  };
}

/** How a field's presence is kept: by its oneof's case, by a flag, or (most) not at all. */
function presenceOf(field: protobuf.Field, names: Names): { declaration: string; set: string[]; test?: string } {
  const oneof = field.partOf;
  if (oneof === null) return { declaration: "", set: [] };
  if (isOptional(oneof)) {
    if (!isScalar(field)) return { declaration: "", set: [] };
    const flag = names.hasField(field);
    return { declaration: `\n  ${flag}: bool = false;`, set: [`this.${flag} = true;`], test: `this.${flag}` };
  }
  const caseField = names.caseField(oneof);
  return { declaration: "", set: [`this.${caseField} = ${field.id};`], test: `this.${caseField} == ${field.id}` };
}

function repeatedSource(field: protobuf.Field, names: Names): FieldSource {
  const name = names.field(field);
  if (field.resolvedType instanceof protobuf.Type) {
    const type = names.of(field.resolvedType);
    const wire = tag(field.id, WIRE_LENGTH);
    return {
      declaration: `  ${name}: Array<${type}> = [];`,
      read: block(wire, [
        `const value = new ${type}();`,
        "const outer = reader.enter();",
        "value.read(reader);",
        "reader.exit(outer);",
        `this.${name}.push(value);`,
      ]),
      write: `    for (let i = 0; i < this.${name}.length; i++) {\n      writer.tag(${wire});\n      const start = writer.enter();\n      this.${name}[i].write(writer);\n      writer.exit(start);\n    }\n`,
    };
  }
  const kind = scalar(field);
  const wire = tag(field.id, kind.wire);
  let read = block(wire, [`this.${name}.push(reader.${kind.method}());`]);
  if (kind.wire !== WIRE_LENGTH) {
    read += block(tag(field.id, WIRE_LENGTH), [
      "const outer = reader.enter();",
      `while (reader.more()) this.${name}.push(reader.${kind.method}());`,
      "reader.exit(outer);",
    ]);
  }
  const each = (lead: string): string =>
    `    ${lead}for (let i = 0; i < this.${name}.length; i++) {\n${kind.wire === WIRE_LENGTH ? `      writer.tag(${wire});\n` : ""}      writer.${kind.method}(this.${name}[i]);\n    }\n`;
  const packed = `    if (this.${name}.length > 0) {\n      writer.tag(${tag(field.id, WIRE_LENGTH)});\n      const start = writer.enter();\n  ${each("  ")}      writer.exit(start);\n    }\n`;
  return {
    declaration: `  ${name}: Array<${kind.type}> = [];`,
    read,
    write: kind.wire === WIRE_LENGTH ? each("") : packed,
  };
}

function mapSource(field: protobuf.MapField, names: Names): FieldSource {
  const name = names.field(field);
  const key = scalar({ type: field.keyType, resolvedType: null });
  const keyTag = tag(1, key.wire);
  const message = field.resolvedType instanceof protobuf.Type ? names.of(field.resolvedType) : null;
  const value = message === null ? scalar(field) : null;
  const valueType = message ?? value!.type;
  const valueTag = tag(2, value?.wire ?? WIRE_LENGTH);
  const readValue =
    message === null
      ? `value = reader.${value!.method}();`
      : "{ const inner = reader.enter(); value.read(reader); reader.exit(inner); }";
  const wire = tag(field.id, WIRE_LENGTH);
  const writeValue =
    message === null
      ? `      writer.${value!.method}(${name}Values[i]);\n`
      : `      const inner = writer.enter();\n      ${name}Values[i].write(writer);\n      writer.exit(inner);\n`;
  return {
    declaration: `  ${name}: Map<${key.type}, ${valueType}> = new Map<${key.type}, ${valueType}>();`,
    read: block(wire, [
      "const outer = reader.enter();",
      `let key: ${key.type} = ${key.initial(undefined)};`,
      `let value: ${valueType} = ${message === null ? value!.initial(undefined) : `new ${message}()`};`,
      "let entry: u32;",
      "while ((entry = reader.tag()) != 0) {",
      `  if (entry == ${keyTag}) key = reader.${key.method}();`,
      `  else if (entry == ${valueTag}) ${readValue}`,
      "  else reader.skip(entry);",
      "}",
      "reader.exit(outer);",
      `this.${name}.set(key, value);`,
    ]),
    write: `    const ${name}Keys = this.${name}.keys();\n    const ${name}Values = this.${name}.values();\n    for (let i = 0; i < ${name}Keys.length; i++) {\n      writer.tag(${wire});\n      const start = writer.enter();\n      writer.tag(${keyTag});\n      writer.${key.method}(${name}Keys[i]);\n      writer.tag(${valueTag});\n${writeValue}      writer.exit(start);\n    }\n`,
  };
}
