/** Reads files of secrets that change: what does it takes a while to load, and they change seldom. */
import type { SecretReader } from "./tls-snapshot.ts";

export const readSecrets: SecretReader = async (path, text) => {
  const { readSecretFile } = await import("./build/secret-file.ts");
  return readSecretFile(path, text);
};
