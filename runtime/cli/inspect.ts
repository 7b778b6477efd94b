/** `sluice inspect`: what is inside an artifact, without running it. */
import colors from "picocolors";
import { HOST_FUNCTIONS } from "../../abi/functions.ts";
import { ProxyError } from "../errors.ts";
import { MAX_INSPECTED_TEXT } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { fetchModule, readArtifact, resolve } from "../registry/artifact.ts";
import { digestOf } from "../registry/digest.ts";
import { layoutOf } from "../registry/layout.ts";
import { formatReference, isReference, parseReference } from "../registry/reference.ts";
import { findSignatures, judge } from "../registry/trust.ts";
import { ExternalKind } from "../wasm/module/binary.ts";
import { isLayoutSource, publicKeys, withRepository } from "./artifacts.ts";
import type { RegistryCommandOptions } from "./artifacts.ts";
import { readModuleFacts } from "./module-facts.ts";
import type { ModuleFacts } from "./module-facts.ts";
import { progressBar } from "./progress-bar.ts";
import { scaffold } from "./scaffold.ts";
import { describeMessage } from "./schema-text.ts";

export interface InspectOptions extends RegistryCommandOptions {
  readonly json?: true;
  /** Print a configuration to fill in instead. */
  readonly scaffold?: true;
  readonly key: readonly string[];
}

/** Where it came from, and what its registry says of it. */
interface Origin {
  readonly from: string;
  readonly digest?: string | undefined;
  readonly layout?: string | undefined;
  readonly signatures?: readonly string[];
}

/** Prints what an artifact is. Throws ProxyError when there is none, or it holds no module. */
export async function inspect(target: string, options: InspectOptions): Promise<void> {
  const { module, origin } = await open(target, options);
  const facts = readModuleFacts(module);
  if (options.scaffold === true) {
    process.stdout.write(`${scaffoldText(facts, target).map(printable).join("\n")}\n`);
    return;
  }
  const told = describe(module, facts, origin);
  if (options.json === true) process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
  else process.stdout.write(`${print(told, facts).join("\n")}\n`);
}

async function open(
  target: string,
  options: InspectOptions,
): Promise<{ readonly module: Buffer; readonly origin: Origin }> {
  if (isLayoutSource(target) || !isRemote(target)) {
    const { module, from, digest, manifest } = await readArtifact(target.replace(/^layout:/, ""));
    return { module, origin: { from, digest, layout: manifest === undefined ? undefined : layoutOf(manifest) } };
  }
  const reference = parseReference(target);
  const what = formatReference(reference);
  return withRepository(reference, options, async (repository) => {
    const resolved = await resolve(repository, reference);
    const bar = progressBar(`pull ${what}`);
    const module = await fetchModule(repository, resolved, what, bar.update);
    bar.end();
    const found = await findSignatures(repository, resolved.top.digest);
    const verdict = judge(found, publicKeys(options.key), resolved.top.digest);
    const signatures =
      options.key.length === 0
        ? found.map(({ form }) => `${form}, not checked: give --key`)
        : [...verdict.good.map(({ key, form }) => `${form}, good: ${key}`), ...verdict.refused];
    return {
      module,
      origin: { from: what, digest: resolved.top.digest, layout: layoutOf(resolved.manifest), signatures },
    };
  });
}

/** A reference is written with `oci://`, or looks like a registry's host followed by a name. */
function isRemote(target: string): boolean {
  return (
    isReference(target) ||
    (/^[\w.-]+(?::\d+)?\/[\w./-]+(?:[:@].*)?$/.test(target) &&
      /^(?:localhost|[^/]*[.:][^/]*)\//.test(target) &&
      !target.startsWith("."))
  );
}

/** What the host knows of an import: from which family of functions it is. */
const KNOWN: ReadonlySet<string> = new Set(HOST_FUNCTIONS.map(({ module, name }) => `${module}.${name}`));

function describe(
  module: Buffer,
  { binary, manifest, schema }: ModuleFacts,
  origin: Origin,
): Readonly<Record<string, unknown>> {
  const functions = binary.imports.filter(({ kind }) => kind === ExternalKind.FUNCTION);
  const callbacks = binary.exports
    .map(({ name }) => name)
    .filter((name) => /^(?:proxy|sluice)_on_/.test(name) && name !== "proxy_on_memory_allocate");
  const configuration = manifest?.["configuration"];
  return {
    from: origin.from,
    ...(origin.digest === undefined ? {} : { digest: origin.digest }),
    ...(origin.layout === undefined ? {} : { layout: origin.layout }),
    ...(origin.signatures === undefined ? {} : { signatures: origin.signatures }),
    size: module.length,
    sha256: digestOf(module).slice("sha256:".length),
    ...pick(manifest, [
      "name",
      "version",
      "description",
      "license",
      "revision",
      "source",
      "compiler",
      "isolation",
      "metrics",
      "kinds",
    ]),
    abi:
      binary.exports
        .find(({ name }) => name.startsWith("proxy_abi_version_"))
        ?.name.slice("proxy_abi_version_".length)
        .replaceAll("_", ".") ?? "none stated",
    callbacks: callbacks.sort(),
    hostFunctions: functions.map(({ module: from, name }) => `${from}.${name}`).sort(),
    unknownImports: functions.map(({ module: from, name }) => `${from}.${name}`).filter((name) => !KNOWN.has(name)),
    ...(typeof configuration === "string" && schema !== undefined
      ? { configuration, schema: describeMessage(schema, configuration, "") }
      : {}),
  };
}

function pick(from: Readonly<Record<string, unknown>> | undefined, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.flatMap((name) => (from?.[name] === undefined || from[name] === "" ? [] : [[name, from[name]]])),
  );
}

const LABELS: Readonly<Record<string, string>> = {
  hostFunctions: "host functions",
  unknownImports: "unknown imports",
  sha256: "sha256",
};

function print(told: Readonly<Record<string, unknown>>, { schema }: ModuleFacts): string[] {
  const { bold, dim } = colors.createColors(process.stdout.isTTY && colors.isColorSupported);
  const lines: string[] = [];
  for (const [name, value] of Object.entries(told)) {
    const label = (LABELS[name] ?? name).padEnd(16);
    if (name === "schema") {
      lines.push(...(value as string[]).map((line) => `  ${dim(printable(line))}`));
    } else if (Array.isArray(value)) {
      if (value.length === 0) continue;
      lines.push(
        `${bold(label)} ${printable(String(value[0]))}`,
        ...value.slice(1).map((one) => `${" ".repeat(16)} ${printable(String(one))}`),
      );
    } else if (name === "size") {
      lines.push(`${bold(label)} ${String(value)} bytes`);
    } else {
      lines.push(`${bold(label)} ${printable(String(value))}`);
    }
  }
  if (schema === undefined) lines.push(`${bold("configuration".padEnd(16))} bytes: the module carries no schema`);
  return lines;
}

function scaffoldText({ schema, manifest }: ModuleFacts, target: string): string[] {
  const configuration = manifest?.["configuration"];
  if (schema === undefined || typeof configuration !== "string")
    throw new ProxyError(
      "NO_SCHEMA",
      "config",
      `${target}: the module carries no schema; its configuration is what its author says`,
    );
  return scaffold(schema, configuration);
}

/** What a module says goes to terminals. */
function printable(text: string): string {
  return shownText(text, MAX_INSPECTED_TEXT);
}
