/** What a module says of itself and asks for, read off its bytes: it is not compiled, and nothing of it runs. */
import { moduleSchema, customSection } from "../config/schema/artifact.ts";
import type { Schema } from "../config/schema/schema.ts";
import { ProxyError } from "../errors.ts";
import { MAX_MANIFEST_BYTES } from "../limits.ts";
import { readModuleBinary } from "../wasm/module/binary.ts";
import type { ModuleBinary } from "../wasm/module/binary.ts";

export interface ModuleFacts {
  readonly binary: ModuleBinary;
  /** The manifest as JSON text; undefined when there is none, or it is no object. */
  readonly manifestText: string | undefined;
  readonly manifest: Readonly<Record<string, unknown>> | undefined;
  /** Types of the configuration; undefined when the module carries none. */
  readonly schema: Schema | undefined;
}

/** Throws ProxyError MODULE_CORRUPTED. */
export function readModuleFacts(module: Uint8Array): ModuleFacts {
  const binary = readModuleBinary(module);
  const section = customSection(module, "sluice.manifest");
  const manifest = section === undefined || section.length > MAX_MANIFEST_BYTES ? undefined : object(section);
  return {
    binary,
    manifest,
    manifestText: manifest === undefined ? undefined : JSON.stringify(manifest),
    schema: schemaOf(module),
  };
}

function schemaOf(module: Uint8Array): Schema | undefined {
  try {
    return moduleSchema(module);
  } catch (error) {
    throw new ProxyError("MODULE_CORRUPTED", "config", `its schema cannot be read: ${(error as Error).message}`, error);
  }
}

function object(section: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(section).toString("utf8"));
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Record<string, unknown>)
      : undefined;
  } catch {
    // It informs, nothing depends on it: what cannot be read is not shown.
    return undefined;
  }
}
