/**
 * Whether two parts of snapshots say the same. What stands in a file is no part of what is said: whoever uses the file
 * reads it anew when it changes, so that a certificate that was renewed makes no other configuration.
 */

/** Of plain data. */
export function sameConfig(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array || b instanceof Uint8Array)
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const file = fileOf(a);
  if (file !== "") return file === fileOf(b);
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return keys.every((key) => Object.hasOwn(right, key) && sameConfig(left[key], right[key]));
}

/** The file of a SecretSource (tls-snapshot.ts); "" for anything else. */
function fileOf(value: object): string {
  return "bytes" in value && "file" in value && typeof value.file === "string" ? value.file : "";
}
