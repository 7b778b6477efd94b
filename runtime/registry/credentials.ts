/** Credentials for registries: from the environment, or from where Docker, Podman and their helpers keep them. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import {
  CREDENTIAL_HELPER_GRACE_MS,
  CREDENTIAL_HELPER_MS,
  MAX_CREDENTIALS_BYTES,
  MAX_SHOWN_ANSWER,
} from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { ProxyError } from "../errors.ts";
import { writeWhole } from "./whole-file.ts";

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** An OAuth2 refresh token instead of a password. */
  readonly identityToken?: string;
}

/** A file of Docker's as it was read: anything may be in it. */
type DockerConfig = Readonly<Record<string, unknown>>;

/** The user name that stands for: the password is an OAuth2 refresh token. */
const TOKEN = "<token>";
const DOCKER_HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

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
  if (found === undefined) throw wrong(path, `the folder holds neither ${names.join(" nor ")}`);
  return found;
}

/** Stores credentials as `docker login` does without a helper: readable by the user alone. */
export function storeCredentials(
  registry: string,
  { username, password }: Credentials,
  path = dockerConfigPath(),
): void {
  const config = readConfig(path) ?? {};
  const auth = Buffer.from(`${username}:${password}`).toString("base64");
  const changed = { ...config, auths: { ...object(config["auths"]), [registry]: { auth } } };
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeWhole(path, `${JSON.stringify(changed, null, 2)}\n`, 0o600, true);
}

function readConfig(path: string): DockerConfig | undefined {
  let content: string;
  try {
    if (statSync(path).size > MAX_CREDENTIALS_BYTES) throw wrong(path, `more than ${MAX_CREDENTIALS_BYTES} bytes`);
    content = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw wrong(path, String(error));
  }
  try {
    const parsed = object(JSON.parse(content));
    if (parsed !== undefined) return parsed;
  } catch {
    // Told below: a parser's message could quote a password.
  }
  throw wrong(path, "it is no JSON object");
}

async function fromConfig(config: DockerConfig, registry: string, path: string): Promise<Credentials | undefined> {
  const names = DOCKER_HUB.includes(registry) ? DOCKER_HUB : [registry, `https://${registry}`];
  const helpers = object(config["credHelpers"]) ?? {};
  for (const name of names) {
    const helper = Object.hasOwn(helpers, name) ? text(helpers[name]) : "";
    if (helper !== "") return askHelper(helper, name);
  }
  const store = text(config["credsStore"]);
  for (const name of store === "" ? [] : names) {
    const found = await askHelper(store, name);
    if (found !== undefined) return found;
  }
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
  if (token !== "") return { username: TOKEN, password: "", identityToken: token! };
  if (username !== "" && password !== "") return { username: username!, password: password! };
  const plain = Buffer.from(text(entry["auth"]), "base64").toString("utf8");
  const colon = plain.indexOf(":");
  if (colon <= 0) throw wrong(where, "it is not base64 of user:password");
  return { username: plain.slice(0, colon), password: plain.slice(colon + 1).replace(/\0+$/, "") };
}

/** The protocol of docker-credential-helpers: the host on stdin, `{Username, Secret}` on stdout. */
function askHelper(helper: string, host: string): Promise<Credentials | undefined> {
  if (!/^[\w.-]+$/.test(helper)) throw wrong("credential helper", `"${helper}" is no name of a program`);
  const program = `docker-credential-${helper}`;
  return new Promise((resolve, reject) => {
    // SIGKILL: one that hangs may take no notice of less.
    const options = { timeout: CREDENTIAL_HELPER_MS, killSignal: "SIGKILL" } as const;
    const child = execFile(program, ["get"], options, (error, stdout, stderr) => {
      clearTimeout(timer);
      if (error === null) {
        const found = helperAnswer(stdout);
        if (found === undefined) reject(wrong(program, "it printed no credentials"));
        else resolve(found);
        return;
      }
      // It says on standard output what is wrong; so it must not be shown whole, whatever it is.
      const told = shownText(`${stdout}${stderr}`.trim(), MAX_SHOWN_ANSWER);
      if (/credentials not found/i.test(told)) resolve(undefined);
      else if (error.killed === true) reject(wrong(program, `it did not answer within ${CREDENTIAL_HELPER_MS} ms`));
      else reject(wrong(program, told || error.message));
    });
    // What it has started may hold its output open beyond its own end.
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      child.stdout?.destroy();
      child.stderr?.destroy();
      reject(wrong(program, `it did not answer within ${CREDENTIAL_HELPER_MS} ms`));
    }, CREDENTIAL_HELPER_MS + CREDENTIAL_HELPER_GRACE_MS);
    timer.unref();
    child.stdin?.on("error", () => {});
    child.stdin?.end(host);
  });
}

function helperAnswer(stdout: string): Credentials | undefined {
  try {
    const { Username, Secret } = object(JSON.parse(stdout)) ?? {};
    if (typeof Username !== "string" || typeof Secret !== "string") return undefined;
    return Username === TOKEN
      ? { username: Username, password: "", identityToken: Secret }
      : { username: Username, password: Secret };
  } catch {
    // Not told why: a parser's message could quote a password.
    return undefined;
  }
}

function object(value: unknown): DockerConfig | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as DockerConfig) : undefined;
}

/** "" for what is none. */
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function wrong(where: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CREDENTIALS", "config", `${where}: ${why}`);
}
