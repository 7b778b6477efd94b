/** What is done with artifacts at the command line: push, pull, copy, tags, login, logout, sign, verify, generate-key-pair. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { ProxyError } from "../errors.ts";
import { MAX_SHOWN_ANSWER } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { copyArtifact } from "../registry/artifact-copy.ts";
import { fetchModule, readArtifact, resolve, storeModule } from "../registry/artifact.ts";
import type { Resolved } from "../registry/artifact.ts";
import { digestOf } from "../registry/digest.ts";
import { eraseCredentials, storeCredentials } from "../registry/credentials.ts";
import { isImageLayout, writeImageLayout } from "../registry/image-layout.ts";
import { pack } from "../registry/layout.ts";
import type { Facts, Layout } from "../registry/layout.ts";
import { formatReference, isReference, parseReference } from "../registry/reference.ts";
import type { Reference } from "../registry/reference.ts";
import { Repository } from "../registry/repository.ts";
import {
  fileRefusal,
  generateKeyPair,
  isEncryptedKey,
  keyFingerprint,
  readPrivateKey,
  readPublicKey,
  signFile,
} from "../registry/signature.ts";
import { attachSignature, findSignatures, judge, requireSignature } from "../registry/trust.ts";
import type { NamedKey } from "../registry/trust.ts";
import { readModuleFacts } from "./module-facts.ts";
import { progressBar } from "./progress-bar.ts";
import type { ProgressBar } from "./progress-bar.ts";
import { ask } from "./terminal-question.ts";

/** What every command that talks to a registry takes. */
export interface RegistryCommandOptions {
  readonly plainHttp?: true;
  /** File with further certificate authorities. */
  readonly ca?: string;
}

export interface PushOptions extends RegistryCommandOptions {
  readonly layout: Layout;
  /** Further layouts, each under the tag with its name behind it. */
  readonly also: readonly Layout[];
  readonly annotation: readonly string[];
  /** Signs what was pushed with this private key. */
  readonly sign?: string;
}

/** Pushes a module, or whatever holds one, to a registry or an image layout (`layout:FOLDER` or `….tar`). */
export async function push(file: string, target: string, options: PushOptions): Promise<void> {
  const { module } = await readArtifact(file);
  const facts = artifactFacts(module, file, options.annotation);
  if (isLayoutTarget(target)) {
    const path = target.replace(/^layout:/, "");
    writeImageLayout(
      path,
      pack(module, options.layout, facts),
      facts.annotations["org.opencontainers.image.version"] ?? "latest",
    );
    say(`${path}: written in the layout ${options.layout}`);
    return;
  }
  const reference = taggedReference(target);
  await withRepository(reference, options, async (repository) => {
    let pushed = "";
    for (const layout of new Set([options.layout, ...options.also])) {
      const tag = layout === options.layout ? reference.tag! : `${reference.tag}-${layout}`;
      const bar = progressBar(`push ${reference.repository}:${tag}`);
      const digest = await storeModule(repository, tag, module, layout, facts, bar.update);
      bar.end();
      if (layout === options.layout) pushed = digest;
      say(`${formatReference({ ...reference, tag })}@${digest}  layout ${layout}, ${module.length} bytes`);
    }
    if (options.sign !== undefined) {
      const resolved = await resolve(repository, { ...reference, digest: pushed });
      await signResolved(repository, reference, resolved, options.sign, "bundle");
    }
  });
}

export interface PullOptions extends RegistryCommandOptions {
  /** File to write; default: the repository's last name with `.wasm`. */
  readonly output?: string;
  /** Public keys of which one must have signed. */
  readonly key: readonly string[];
}

/** Fetches a module from a registry or an image layout into a file. */
export async function pull(source: string, options: PullOptions): Promise<void> {
  if (isLayoutSource(source)) {
    const { module, digest } = await readArtifact(source.replace(/^layout:/, ""));
    const output = options.output ?? "plugin.wasm";
    writeFileSync(output, module);
    say(`${output}: ${module.length} bytes, sha256 ${digestOf(module).slice(7)}, from ${digest}`);
    return;
  }
  const reference = parseReference(source);
  await withRepository(reference, options, async (repository) => {
    const resolved = await resolve(repository, reference);
    await demandKeys(repository, resolved, options.key, formatReference(reference));
    const bar = progressBar(`pull ${formatReference(reference)}`);
    const module = await fetchModule(repository, resolved, formatReference(reference), bar.update);
    bar.end();
    const output = options.output ?? `${basename(reference.repository)}.wasm`;
    writeFileSync(output, module);
    say(`${output}: ${module.length} bytes, sha256 ${digestOf(module).slice(7)}, from ${resolved.top.digest}`);
  });
}

/** Copies an artifact, an index with all that it names, and all that refers to them, from one registry to another, byte by byte. */
export async function copy(from: string, to: string, options: RegistryCommandOptions): Promise<void> {
  const source = parseReference(from);
  const target = parseReference(to);
  await withRepository(source, options, (reader) =>
    withRepository(target, options, async (writer) => {
      const resolved = await resolve(reader, source);
      const { top } = resolved;
      if (target.digest !== undefined && target.digest !== top.digest)
        throw new ProxyError("ARTIFACT_REFERENCE", "config", `"${to}": the digest of what is copied is ${top.digest}`);
      const mount = source.registry === target.registry ? reader.name : undefined;
      const show = (digest: string): ProgressBar => progressBar(`copy ${digest.slice(0, 19)}`);
      const attached = await copyArtifact({ reader, writer, mount, show }, resolved, target.tag);
      const followers = attached === 0 ? "" : `, with ${attached} signatures or other referrers`;
      say(`${formatReference({ ...target, digest: undefined })}@${top.digest}${followers}`);
    }),
  );
}

export async function tags(name: string, options: RegistryCommandOptions): Promise<void> {
  const reference = parseReference(name);
  await withRepository(reference, options, async (repository) => {
    for (const tag of await repository.tags()) say(shownText(tag, MAX_SHOWN_ANSWER));
  });
}

export interface LoginOptions extends RegistryCommandOptions {
  readonly username?: string;
  readonly passwordStdin?: true;
}

/** Tries user name and password at the registry and keeps them where Docker does. */
export async function login(registry: string, options: LoginOptions): Promise<void> {
  const asked = (question: string, hidden: boolean): Promise<string> =>
    ask(question, hidden, "LOGIN_INPUT", "give --username and --password-stdin");
  const username = options.username ?? (await asked("user name: ", false));
  const password =
    options.passwordStdin === true ? readFileSync(0, "utf8").replace(/\r?\n$/, "") : await asked("password: ", true);
  const { repository } = parseReference(`${registry}/login`);
  const client = new Repository(registry, repository, {
    ...registryOptions(options),
    credentials: { username, password },
  });
  try {
    await client.login();
  } finally {
    await client.close();
  }
  const where = await storeCredentials(registry, { username, password });
  say(`logged in to ${registry} as ${username} (kept by ${where})`);
}

/** Has the file of Docker's, or the helper that it names, forget a registry's credentials. */
export async function logout(registry: string): Promise<void> {
  parseReference(`${registry}/logout`);
  const had = await eraseCredentials(registry);
  say(had.length === 0 ? `not logged in to ${registry}` : `logged out of ${registry} (${had.join(", ")})`);
}

export interface SignOptions extends RegistryCommandOptions {
  readonly key: string;
  readonly form: "bundle" | "classic";
}

/** Signs an artifact in a registry, or a file (`FILE.sig` beside it). */
export async function sign(target: string, options: SignOptions): Promise<void> {
  if (existsSync(target)) {
    writeFileSync(`${target}.sig`, `${signFile(await privateKey(options.key), readFileSync(target))}\n`);
    say(`${target}.sig`);
    return;
  }
  const reference = parseReference(target);
  await withRepository(reference, options, async (repository) => {
    await signResolved(repository, reference, await resolve(repository, reference), options.key, options.form);
  });
}

export interface VerifyOptions extends RegistryCommandOptions {
  readonly key: readonly string[];
}

/** Checks that one of the keys has signed. Rejects with ProxyError SIGNATURE_MISSING, and why. */
export async function verify(target: string, options: VerifyOptions): Promise<void> {
  const keys = publicKeys(options.key);
  if (existsSync(target)) {
    const signature = existsSync(`${target}.sig`) ? readFileSync(`${target}.sig`, "utf8") : "";
    const bytes = readFileSync(target);
    const results = keys.map(({ name, key }) => ({ name, why: fileRefusal(key, bytes, signature) }));
    const good = results.find(({ why }) => why === undefined);
    if (good === undefined)
      throw new ProxyError(
        "SIGNATURE_MISSING",
        "config",
        `${target}: ${results.map(({ name, why }) => `${name}: ${why}`).join("; ")}`,
      );
    say(`${target}: signed by ${good.name}`);
    return;
  }
  const reference = parseReference(target);
  await withRepository(reference, options, async (repository) => {
    const resolved = await resolve(repository, reference);
    const verdict = judge(await findSignatures(repository, resolved.top.digest), keys, resolved.top.digest);
    requireSignature(verdict, keys, formatReference(reference));
    for (const { key, form } of verdict.good)
      say(`${formatReference(reference)}@${resolved.top.digest}: signed by ${key} (${form})`);
  });
}

export interface KeyOptions {
  /** The private key as it is, with no password. */
  readonly unencrypted?: true;
}

/**
 * Writes PREFIX.key and PREFIX.pub, as cosign does. Rejects with ProxyError KEY_EXISTS rather than lose a key, KEY_UNWRITABLE,
 * or KEY_PASSWORD where there is nobody to ask.
 */
export async function generateKeys(prefix: string, options: KeyOptions): Promise<void> {
  for (const file of [`${prefix}.key`, `${prefix}.pub`])
    if (existsSync(file))
      throw new ProxyError("KEY_EXISTS", "config", `${file} is there already; it is not overwritten`);
  const { privatePem, publicPem } = generateKeyPair(options.unencrypted === true ? undefined : await newPassword());
  try {
    writeFileSync(`${prefix}.key`, privatePem, { mode: 0o600, flag: "wx" });
    writeFileSync(`${prefix}.pub`, publicPem, { flag: "wx" });
  } catch (error) {
    throw new ProxyError("KEY_UNWRITABLE", "config", (error as Error).message, error);
  }
  say(
    `${prefix}.key (keep it to yourself) and ${prefix}.pub (${keyFingerprint(readPublicKey(publicPem, prefix)).slice(0, 12)})`,
  );
}

// ---- parts ------------------------------------------------------------------------------------

/** Runs with a client for the reference's repository, and closes it. */
export async function withRepository<T>(
  reference: Reference,
  options: RegistryCommandOptions,
  run: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = new Repository(reference.registry, reference.repository, registryOptions(options));
  try {
    return await run(repository);
  } finally {
    await repository.close();
  }
}

export function publicKeys(files: readonly string[]): NamedKey[] {
  return files.map((name) => ({ name, key: readPublicKey(readKeyFile(name), name) }));
}

/** True for a folder or archive in OCI's image layout, or one that is written so. */
export function isLayoutSource(text: string): boolean {
  return text.startsWith("layout:") || (!isReference(text) && isImageLayout(text));
}

function isLayoutTarget(text: string): boolean {
  return text.startsWith("layout:") || text.endsWith(".tar");
}

function registryOptions({ plainHttp, ca }: RegistryCommandOptions): { plainHttp?: true; ca?: string } {
  return { ...(plainHttp === true ? { plainHttp } : {}), ...(ca === undefined ? {} : { ca: readKeyFile(ca) }) };
}

function taggedReference(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest !== undefined)
    throw new ProxyError(
      "ARTIFACT_REFERENCE",
      "config",
      `"${text}": push to a tag; the digest follows from what is pushed`,
    );
  return reference;
}

function artifactFacts(module: Buffer, file: string, given: readonly string[]): Facts {
  const { manifest, manifestText } = readModuleFacts(module);
  const annotations: Record<string, string> = {};
  const set = (name: string, value: unknown): void => {
    if (typeof value === "string" && value !== "") annotations[`org.opencontainers.image.${name}`] = value;
  };
  set("title", manifest?.["name"] ?? basename(file));
  set("version", manifest?.["version"]);
  set("description", manifest?.["description"]);
  set("licenses", manifest?.["license"]);
  set("revision", manifest?.["revision"]);
  for (const one of given) {
    const equals = one.indexOf("=");
    if (equals <= 0) throw new ProxyError("ANNOTATION", "config", `"${one}" is no annotation: write NAME=VALUE`);
    annotations[one.slice(0, equals)] = one.slice(equals + 1);
  }
  return { annotations, manifest: manifestText };
}

async function signResolved(
  repository: Repository,
  reference: Reference,
  resolved: Resolved,
  keyFile: string,
  form: "bundle" | "classic",
): Promise<void> {
  const shownAs = `${reference.registry}/${reference.repository}`;
  await attachSignature(repository, resolved.top, await privateKey(keyFile), form, shownAs);
  say(`${formatReference(reference)}@${resolved.top.digest}: signed (${form})`);
}

async function demandKeys(
  repository: Repository,
  resolved: Resolved,
  files: readonly string[],
  what: string,
): Promise<void> {
  if (files.length === 0) return;
  const keys = publicKeys(files);
  requireSignature(judge(await findSignatures(repository, resolved.top.digest), keys, resolved.top.digest), keys, what);
}

/** The password of private keys that needs no asking, an empty one too. */
function givenPassword(): string | undefined {
  return process.env["SLUICE_KEY_PASSWORD"] ?? process.env["COSIGN_PASSWORD"];
}

async function newPassword(): Promise<string> {
  const given = givenPassword();
  if (given !== undefined) return given;
  const asked = (question: string): Promise<string> =>
    ask(question, true, "KEY_PASSWORD", "set COSIGN_PASSWORD, or give --unencrypted");
  const first = await asked("password for the private key: ");
  if ((await asked("the same once more: ")) !== first)
    throw new ProxyError("KEY_PASSWORD", "config", "the two are not the same; no key was made");
  return first;
}

async function privateKey(file: string): Promise<ReturnType<typeof readPrivateKey>> {
  const pem = readKeyFile(file);
  let password = givenPassword();
  if (password === undefined && isEncryptedKey(pem) && process.stdin.isTTY)
    password = await ask(`password of ${file}: `, true, "KEY_PASSWORD", "set COSIGN_PASSWORD");
  return readPrivateKey(pem, password, file);
}

function readKeyFile(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ProxyError("KEY_UNREADABLE", "config", `${file}: ${(error as Error).message}`, error);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
