/** Credentials for registries: from the environment, or from where Docker, Podman and their helpers keep them. */
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { MAX_CREDENTIALS_BYTES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { CredentialHelper, credentialsError, tokenCredentials } from "./credential-helper.ts";
import type { Credentials } from "./credential-helper.ts";
import { writeWhole } from "./whole-file.ts";

/** A file of Docker's as it was read: anything may be in it. */
type DockerConfig = Readonly<Record<string, unknown>>;

/** The name under which Docker itself keeps what is for its Hub, and the others that it has. */
const HUB = "https://index.docker.io/v1/";
const DOCKER_HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", HUB];

/** Where `sluice login` writes and what is read first: `$DOCKER_CONFIG/config.json`. */
export function dockerConfigPath(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment["DOCKER_CONFIG"] || join(homedir(), ".docker"), "config.json");
}

/**
 * Credentials for a registry (`host` or `host:port`, matched exactly); undefined: none are known, ask anonymously.
 * `SLUICE_REGISTRY_USERNAME` and `SLUICE_REGISTRY_PASSWORD` come first, for `SLUICE_REGISTRY_HOST` alone if it is set; then
 * `files` alone, files or folders, if there are any. Rejects with ProxyError ARTIFACT_CREDENTIALS.
 */
export async function findCredentials(
  registry: string,
  environment: NodeJS.ProcessEnv = process.env,
  files: readonly string[] = [],
): Promise<Credentials | undefined> {
  const username = environment["SLUICE_REGISTRY_USERNAME"];
  const password = environment["SLUICE_REGISTRY_PASSWORD"];
  const meant = environment["SLUICE_REGISTRY_HOST"] ?? registry;
  if (username !== undefined && password !== undefined && meant === registry) return { username, password };
  const runtime = environment["XDG_RUNTIME_DIR"];
  const own = [
    dockerConfigPath(environment),
    ...(runtime === undefined ? [] : [join(runtime, "containers", "auth.json")]),
  ];
  for (const path of files.length > 0 ? files.map(dockerConfigFile) : own) {
    const config = readConfig(path);
    if (config === undefined) continue;
    const found = await fromConfig(config, registry, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * `path`, or the file with credentials in the folder `path`, as Kubernetes mounts a secret of type kubernetes.io/dockerconfigjson
 * or as Docker keeps its own. Throws ProxyError ARTIFACT_CREDENTIALS when a folder holds none.
 */
export function dockerConfigFile(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return path;
  const names = [".dockerconfigjson", "config.json"];
  const found = names.map((name) => join(path, name)).find((file) => existsSync(file));
  if (found === undefined) throw credentialsError(path, `the folder holds neither ${names.join(" nor ")}`);
  return found;
}

/**
 * Keeps credentials where Docker would: with the helper that its file names for the registry or for all, else in the file,
 * readable by the user alone. Returns where that is. Rejects with ProxyError ARTIFACT_CREDENTIALS.
 */
export async function storeCredentials(
  registry: string,
  credentials: Credentials,
  path = dockerConfigPath(),
): Promise<string> {
  const config = readConfig(path) ?? {};
  const name = DOCKER_HUB.includes(registry) ? HUB : registry;
  const helper = helperFor(config, registry) ?? storeOf(config);
  await helper?.store(name, credentials);
  const auth = Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
  // Docker leaves an empty entry too: no old password stays in the file.
  const entry = helper === undefined ? { auth } : {};
  writeConfig(path, { ...config, auths: { ...authsBut(namesOf(registry), config), [name]: entry } });
  return helper?.program ?? path;
}

/** Has helper and file forget a registry's credentials. Returns who had some. Rejects with ProxyError ARTIFACT_CREDENTIALS. */
export async function eraseCredentials(registry: string, path = dockerConfigPath()): Promise<readonly string[]> {
  const config = readConfig(path) ?? {};
  const had: string[] = [];
  const helper = helperFor(config, registry) ?? storeOf(config);
  for (const name of helper === undefined ? [] : namesOf(registry)) {
    if ((await helper?.get(name)) === undefined) continue;
    await helper?.erase(name);
    if (had.length === 0) had.push(helper!.program);
  }
  const auths = object(config["auths"]) ?? {};
  const known = namesOf(registry).filter((name) => Object.hasOwn(auths, name));
  if (known.some((name) => Object.keys(object(auths[name]) ?? {}).length > 0)) had.push(path);
  if (known.length > 0) writeConfig(path, { ...config, auths: authsBut(known, config) });
  return had;
}

function authsBut(names: readonly string[], config: DockerConfig): DockerConfig {
  return Object.fromEntries(Object.entries(object(config["auths"]) ?? {}).filter(([name]) => !names.includes(name)));
}

function writeConfig(path: string, config: DockerConfig): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeWhole(path, `${JSON.stringify(config, null, 2)}\n`, 0o600, true);
  } catch (error) {
    throw credentialsError(path, `it cannot be written: ${(error as Error).message}`);
  }
}

/** The names that a registry's credentials may be kept under. */
function namesOf(registry: string): readonly string[] {
  return DOCKER_HUB.includes(registry) ? DOCKER_HUB : [registry, `https://${registry}`];
}

/** The helper that the file names for this registry. */
function helperFor(config: DockerConfig, registry: string): CredentialHelper | undefined {
  const helpers = object(config["credHelpers"]) ?? {};
  const named = namesOf(registry)
    .map((name) => (Object.hasOwn(helpers, name) ? text(helpers[name]) : ""))
    .find((helper) => helper !== "");
  return named === undefined ? undefined : new CredentialHelper(named);
}

/** The helper that the file names for all others. */
function storeOf(config: DockerConfig): CredentialHelper | undefined {
  const store = text(config["credsStore"]);
  return store === "" ? undefined : new CredentialHelper(store);
}

function readConfig(path: string): DockerConfig | undefined {
  let content: string;
  try {
    if (statSync(path).size > MAX_CREDENTIALS_BYTES)
      throw credentialsError(path, `more than ${MAX_CREDENTIALS_BYTES} bytes`);
    content = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw credentialsError(path, String(error));
  }
  try {
    const parsed = object(JSON.parse(content));
    if (parsed !== undefined) return parsed;
  } catch {
    // Told below: a parser's message could quote a password.
  }
  throw credentialsError(path, "it is no JSON object");
}

async function fromConfig(config: DockerConfig, registry: string, path: string): Promise<Credentials | undefined> {
  const names = namesOf(registry);
  const helper = helperFor(config, registry);
  const asked = helper ?? storeOf(config);
  for (const name of asked === undefined ? [] : names) {
    const found = await asked?.get(name);
    if (found !== undefined) return found;
  }
  // What belongs to one helper is nobody else's to know.
  if (helper !== undefined) return undefined;
  const auths = object(config["auths"]) ?? {};
  for (const name of names) {
    const entry = Object.hasOwn(auths, name) ? object(auths[name]) : undefined;
    // Docker leaves an empty one where a helper has what belongs there.
    if (entry !== undefined && Object.keys(entry).length > 0) return fromEntry(entry, `${path}: auths of ${name}`);
  }
  return undefined;
}

function fromEntry(entry: DockerConfig, where: string): Credentials {
  const [token, username, password] = [entry["identitytoken"], entry["username"], entry["password"]].map(text);
  if (token !== "") return tokenCredentials(token!);
  if (username !== "" && password !== "") return { username: username!, password: password! };
  const plain = Buffer.from(text(entry["auth"]), "base64").toString("utf8");
  const colon = plain.indexOf(":");
  if (colon <= 0) throw credentialsError(where, "it is not base64 of user:password");
  return { username: plain.slice(0, colon), password: plain.slice(colon + 1).replace(/\0+$/, "") };
}

function object(value: unknown): DockerConfig | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as DockerConfig) : undefined;
}

/** "" for what is none. */
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
