/** Loads `.proto` files and finds the messages that one message reaches. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join } from "node:path";
import protobuf from "protobufjs";

const require = createRequire(import.meta.url);

/** Below the repository: files of ours that add fields to published files of the same name, or stand alone. */
const ADDITIONS = join("abi", "proto");

/** A message or enum with the file it stands in. */
export interface ProtoDefinition {
  readonly type: protobuf.Type | protobuf.Enum;
  /** Import path, as in `import "validate/validate.proto"`. */
  readonly file: string;
  readonly package: string;
}

export interface ProtoSet {
  readonly root: protobuf.Root;
  /** Import paths of all files that were read. */
  readonly files: readonly string[];
  /** By real path: the import path under which a file was read. */
  readonly importPaths: ReadonlyMap<string, string>;
}

/** Folders in which an `import` is looked for, after the filter's own. */
export function protoFolders(repository: string): string[] {
  const folders: string[] = [];
  try {
    const deps = join(dirname(require.resolve("@grpc/grpc-js-xds/package.json")), "deps");
    for (const name of ["envoy-api", "xds", "protoc-gen-validate", "googleapis"]) folders.push(join(deps, name));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw cause;
  }
  folders.push(dirname(require.resolve("protobufjs/package.json")), join(repository, ADDITIONS));
  return folders;
}

/** Reads `.proto` files (import paths or absolute paths) with all that they import. Throws on a syntax error or a missing import. */
export function loadProtos(files: readonly string[], folders: readonly string[]): ProtoSet {
  const root = new protobuf.Root();
  const importPaths = new Map<string, string>();
  root.resolvePath = (_origin: string, target: string): string | null => {
    if (isAbsolute(target)) return target;
    for (const folder of folders) {
      const path = join(folder, target);
      if (!existsSync(path)) continue;
      importPaths.set(path, target);
      return path;
    }
    return null;
  };
  // Custom options extend the messages of descriptor.proto, which nobody imports by itself.
  root.loadSync(["google/protobuf/descriptor.proto", "validate/validate.proto", ...files], { keepCase: true });
  const additions = folders.at(-1);
  if (additions !== undefined) addFields(root, importPaths, additions);
  root.resolveAll();
  return { root, files: [...importPaths.values()], importPaths };
}

/** Merges the newer fields of `folder`'s files into the messages of files already read. */
function addFields(root: protobuf.Root, importPaths: Map<string, string>, folder: string): void {
  const merged = new Set<string>();
  for (const [path, file] of importPaths) {
    const addition = join(folder, file);
    if (path === addition || merged.has(file) || !existsSync(addition)) continue;
    merged.add(file);
    const parsed = protobuf.parse(readFileSync(addition, "utf8"), new protobuf.Root(), { keepCase: true });
    root.loadSync([...(parsed.imports ?? [])], { keepCase: true });
    if (parsed.package === undefined) throw new Error(`${addition}: no package`);
    mergeTypes(
      root.lookup(parsed.package) as protobuf.Namespace,
      parsed.root.lookup(parsed.package) as protobuf.Namespace,
      path,
    );
  }
}

function mergeTypes(into: protobuf.Namespace, from: protobuf.Namespace, filename: string): void {
  for (const object of [...from.nestedArray]) {
    const known = into.get(object.name);
    if (known === null) {
      from.remove(object);
      setFilename(object, filename);
      into.add(object);
    } else if (known instanceof protobuf.Type && object instanceof protobuf.Type) {
      for (const field of [...object.fieldsArray]) {
        const present = known.fieldsById[field.id];
        if (present !== undefined && !replaces(field, present)) continue;
        if (present !== undefined) known.remove(present);
        object.remove(field);
        known.add(field);
      }
      mergeTypes(known, object, filename);
    }
  }
}

/** True when Envoy has given a field another message since. */
function replaces(field: protobuf.Field, present: protobuf.Field): boolean {
  return field.name === present.name && lastWord(field.type) !== lastWord(present.type);
}

function lastWord(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

function setFilename(object: protobuf.ReflectionObject, filename: string): void {
  object.filename = filename;
  if (object instanceof protobuf.Namespace) for (const inner of object.nestedArray) setFilename(inner, filename);
}

/** The messages and enums that `names` reach through their fields, with the messages they are nested in; sorted by name. */
export function reachable(set: ProtoSet, names: readonly string[]): ProtoDefinition[] {
  const found = new Map<string, protobuf.Type | protobuf.Enum>();
  const queue: (protobuf.Type | protobuf.Enum)[] = names.map((name) => set.root.lookupTypeOrEnum(name));
  while (queue.length > 0) {
    const next = queue.pop()!;
    if (found.has(next.fullName)) continue;
    found.set(next.fullName, next);
    if (next.parent instanceof protobuf.Type) queue.push(next.parent);
    if (!(next instanceof protobuf.Type)) continue;
    for (const field of next.fieldsArray) {
      field.resolve();
      if (field.resolvedType !== null) queue.push(field.resolvedType);
    }
  }
  return [...found.values()]
    .sort((a, b) => (a.fullName < b.fullName ? -1 : 1))
    .map((type) => ({ type, file: fileOf(type, set), package: packageOf(type) }));
}

/** Files of the well-known types, which protobufjs brings without a file. */
const WELL_KNOWN_FILES: Readonly<Record<string, string>> = {
  Any: "any",
  Duration: "duration",
  Timestamp: "timestamp",
  Empty: "empty",
  FieldMask: "field_mask",
  Struct: "struct",
  Value: "struct",
  ListValue: "struct",
  NullValue: "struct",
};

function fileOf(type: protobuf.ReflectionObject, set: ProtoSet): string {
  if (type.filename === null) return `google/protobuf/${WELL_KNOWN_FILES[type.name] ?? "wrappers"}.proto`;
  return set.importPaths.get(type.filename) ?? type.filename;
}

/** Full name of the first message that a file declares. Throws when it declares none. */
export function firstMessage(set: ProtoSet, file: string): string {
  const search = (namespace: protobuf.NamespaceBase): string | undefined => {
    for (const object of namespace.nestedArray) {
      if (object instanceof protobuf.Type && fileOf(object, set) === file) return object.fullName.slice(1);
      const inner = object instanceof protobuf.Namespace ? search(object) : undefined;
      if (inner !== undefined) return inner;
    }
    return undefined;
  };
  const found = search(set.root);
  if (found === undefined) throw new Error(`${file}: declares no message`);
  return found;
}

/** The dotted package of a message, without the messages around it. */
export function packageOf(type: protobuf.ReflectionObject): string {
  let outer = type.parent;
  while (outer instanceof protobuf.Type) outer = outer.parent;
  return outer === null ? "" : outer.fullName.slice(1);
}

/** Name within the package: `RateLimitDescriptor.Entry`. */
export function nameInPackage(type: protobuf.ReflectionObject): string {
  const prefix = packageOf(type);
  return type.fullName.slice(1 + (prefix === "" ? 0 : prefix.length + 1));
}
