/** Credentials for registries: from the environment, or from where Docker, Podman and their helpers keep them. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { CREDENTIAL_HELPER_MS, MAX_CREDENTIALS_BYTES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { writeWhole } from "./whole-file.ts";

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** An OAuth2 refresh token instead of a password. */
  readonly identityToken?: string;
}

interface DockerConfig {
  readonly auths?: Readonly<
    Record<
      string,
      {
        readonly auth?: string;
        readonly identitytoken?: string;
        readonly username?: string;
        readonly password?: string;
      }
    >
  >;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

const DOCKER_HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

/** Where `sluice login` writes and what is read first: `$DOCKER_CONFIG/config.json`. */
export function dockerConfigPath(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment["DOCKER_CONFIG"] || join(homedir(), ".docker"), "config.json");
}

/**
 * Credentials for a registry (`host` or `host:port`, matched exactly); undefined: none are known, ask anonymously.
 * `SLUICE_REGISTRY_USERNAME` and `SLUICE_REGISTRY_PASSWORD` come first, then `file` alone if it is
 * named. Rejects with ProxyError ARTIFACT_CREDENTIALS.
 */
export async function findCredentials(
  registry: string,
  environment: NodeJS.ProcessEnv = process.env,
  file?: string,
): Promise<Credentials | undefined> {
  const username = environment["SLUICE_REGISTRY_USERNAME"];
  const password = environment["SLUICE_REGISTRY_PASSWORD"];
  if (username !== undefined && password !== undefined) return { username, password };
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (file !== undefined) {
    const config = readConfig(file);
    return config === undefined ? undefined : fromConfig(config, registry, file);
  }
  const paths = [
    dockerConfigPath(environment),
    ...(runtime === undefined ? [] : [join(runtime, "containers", "auth.json")]),
  ];
  for (const path of paths) {
    const config = readConfig(path);
    if (config === undefined) continue;
    const found = await fromConfig(config, registry, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Stores credentials as `docker login` does without a helper: readable by the user alone. */
export function storeCredentials(
  registry: string,
  { username, password }: Credentials,
  path = dockerConfigPath(),
): void {
  const config = readConfig(path) ?? {};
  const auth = Buffer.from(`${username}:${password}`).toString("base64");
  const changed = { ...config, auths: { ...config.auths, [registry]: { auth } } };
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeWhole(path, `${JSON.stringify(changed, null, 2)}\n`, 0o600, true);
}

function readConfig(path: string): DockerConfig | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw wrong(path, String(error));
  }
  if (text.length > MAX_CREDENTIALS_BYTES) throw wrong(path, `more than ${MAX_CREDENTIALS_BYTES} bytes`);
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Told below: a parser's message could quote a password.
  }
  throw wrong(path, "it is no JSON object");
}

async function fromConfig(config: DockerConfig, registry: string, path: string): Promise<Credentials | undefined> {
  const names = DOCKER_HUB.includes(registry) ? DOCKER_HUB : [registry, `https://${registry}`];
  for (const name of names) {
    const helper = config.credHelpers?.[name];
    if (helper !== undefined) return askHelper(helper, name);
  }
  if (config.credsStore !== undefined && config.credsStore !== "") {
    for (const name of names) {
      const found = await askHelper(config.credsStore, name);
      if (found !== undefined) return found;
    }
  }
  for (const name of names) {
    const entry = config.auths !== undefined && Object.hasOwn(config.auths, name) ? config.auths[name] : undefined;
    if (entry === undefined) continue;
    if (entry.identitytoken) return { username: "<token>", password: "", identityToken: entry.identitytoken };
    if (entry.username !== undefined && entry.password !== undefined)
      return { username: entry.username, password: entry.password };
    const plain = Buffer.from(entry.auth ?? "", "base64").toString("utf8");
    const colon = plain.indexOf(":");
    if (colon <= 0) throw wrong(path, `auths of ${name} is not base64 of user:password`);
    return { username: plain.slice(0, colon), password: plain.slice(colon + 1).replace(/\0+$/, "") };
  }
  return undefined;
}

/** The protocol of docker-credential-helpers: the host on stdin, `{Username, Secret}` on stdout. */
function askHelper(helper: string, host: string): Promise<Credentials | undefined> {
  if (!/^[\w.-]+$/.test(helper)) throw wrong("credential helper", `"${helper}" is no name of a program`);
  const program = `docker-credential-${helper}`;
  return new Promise((resolve, reject) => {
    const child = execFile(program, ["get"], { timeout: CREDENTIAL_HELPER_MS }, (error, stdout, stderr) => {
      if (error !== null) {
        const told = `${stdout}${stderr}`.trim();
        if (/credentials not found/i.test(told)) resolve(undefined);
        else reject(wrong(program, told || error.message));
        return;
      }
      try {
        const { Username, Secret } = JSON.parse(stdout) as { Username?: unknown; Secret?: unknown };
        if (typeof Username !== "string" || typeof Secret !== "string") throw new Error("no Username and Secret");
        resolve(
          Username === "<token>"
            ? { username: Username, password: "", identityToken: Secret }
            : { username: Username, password: Secret },
        );
      } catch {
        reject(wrong(program, "it printed no credentials"));
      }
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(host);
  });
}

function wrong(where: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CREDENTIALS", "config", `${where}: ${why}`);
}
