/** A module's file, before anything is known of it. */
import { readFileSync, statSync } from "node:fs";
import { ProxyError } from "../../errors.ts";
import { MAX_MODULE_BYTES } from "../../limits.ts";

/** Its bytes. Throws ProxyError MODULE_UNREADABLE, or MODULE_TOO_LARGE before it is read. */
export function readModuleFile(path: string): Buffer {
  try {
    const status = statSync(path);
    // Devices and pipes have no size, and may have no end.
    if (!status.isFile()) throw new ProxyError("MODULE_UNREADABLE", "config", `${path} is not a file`);
    if (status.size > MAX_MODULE_BYTES) {
      const text = `${path} has ${status.size} bytes, more than ${MAX_MODULE_BYTES}`;
      throw new ProxyError("MODULE_TOO_LARGE", "config", text);
    }
    return readFileSync(path);
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new ProxyError("MODULE_UNREADABLE", "config", why, error);
  }
}
