/** envoy.config.core.v3.DataSource. */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";

import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/**
 * The absolute path of a file named in the configuration: relative names start from the folder of the file
 * they stand in, so that a configuration works from any working directory (`--config-yaml`: the working directory).
 */
export function configuredPath(message: Message, field: string): string {
  return resolve(message.spot(field).source.base, message.text(field));
}

/** The content of a data source; undefined, with a problem reported, when it cannot be read. */
export function readDataSource(context: BuildContext, source: Message, maxBytes: number): Uint8Array | undefined {
  switch (source.which("specifier")) {
    case "filename":
      return readConfiguredFile(context, source, maxBytes);
    case "inline_bytes":
      return source.bytes("inline_bytes");
    case "inline_string":
      return Buffer.from(source.text("inline_string"));
    case "environment_variable": {
      const name = source.text("environment_variable");
      const value = process.env[name];
      if (value === undefined)
        context.error(source, "environment_variable", "data-source", `the environment variable ${name} is not set`);
      return value === undefined ? undefined : Buffer.from(value);
    }
    default:
      return undefined;
  }
}

function readConfiguredFile(context: BuildContext, source: Message, maxBytes: number): Uint8Array | undefined {
  const path = configuredPath(source, "filename");
  try {
    const { size } = statSync(path);
    if (size <= maxBytes) return readFileSync(path);
    context.error(source, "filename", "data-source", `${path} has ${size} bytes, more than ${maxBytes}`);
  } catch (error) {
    context.error(
      source,
      "filename",
      "data-source",
      `cannot read the file: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return undefined;
}
