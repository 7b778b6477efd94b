/** Descriptor sets as modules carry them: made by the filters' own build from .proto text. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import protobuf from "protobufjs";

import { descriptorSet } from "../../filters/build/descriptor.ts";
import { loadProtos, protoFolders, reachable } from "../../filters/build/proto.ts";
import { appendSection } from "../../filters/build/sections.ts";

/** The serialized FileDescriptorSet of a .proto text with all its messages. */
export function descriptorsOf(text: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "sluice-proto-"));
  try {
    const file = join(folder, "test.proto");
    writeFileSync(file, text);
    const set = loadProtos([file], protoFolders(join(import.meta.dirname, "../..")));
    const name = /^\s*(?:syntax[^;]*;\s*)?package ([\w.]+);/m.exec(text)?.[1] ?? "";
    const own = (set.root.lookup(name) as protobuf.Namespace).nestedArray;
    const types = own.filter((type) => type instanceof protobuf.Type).map((type) => type.fullName.slice(1));
    return descriptorSet(set, reachable(set, types), [file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const WELL_KNOWN = ["any", "duration", "struct", "timestamp", "wrappers"].map(
  (name) => `google/protobuf/${name}.proto`,
);

/** The types of a .proto text, as protobufjs sees them. */
export function loadTypes(text: string): protobuf.Root {
  const root = new protobuf.Root();
  root.loadSync(WELL_KNOWN);
  protobuf.parse(text, root, { keepCase: true });
  root.resolveAll();
  return root;
}

/** An empty WebAssembly module with the section `sluice.schema`. */
export function moduleWith(schema: Uint8Array): Uint8Array {
  return appendSection(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), "sluice.schema", schema);
}
