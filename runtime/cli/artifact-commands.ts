/** The commands around artifacts: what there is to call and with which options. Their work is loaded when it is called. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { LAYOUTS } from "../registry/layout.ts";
import type { Layout } from "../registry/layout.ts";
import type {
  KeyOptions,
  LoginOptions,
  PullOptions,
  PushOptions,
  RegistryCommandOptions,
  SignOptions,
  VerifyOptions,
} from "./artifacts.ts";
import type { InspectOptions } from "./inspect.ts";

const REFERENCE = "HOST/REPOSITORY[:TAG][@DIGEST], with or without oci:// in front";

export function artifactCommands(sluice: Command): void {
  transferCommands(sluice);
  trustCommands(sluice);
  registryCommand(
    sluice,
    "inspect",
    "show what an artifact is, without running it: facts, callbacks, host functions, schema, signatures",
  )
    .argument("<artifact>", `a file, a layout folder or archive, or ${REFERENCE}`)
    .option("--json", "as JSON")
    .option("--scaffold", "a configuration with all fields to fill in instead")
    .option("--key <file>", "check signatures with this public key (repeatable)", collect, [])
    .action(async (target: string, options: InspectOptions) => {
      const { inspect } = await import("./inspect.ts");
      await inspect(target, options);
    });
}

function transferCommands(sluice: Command): void {
  registryCommand(
    sluice,
    "push",
    "store a module in a registry, or in an OCI layout (layout:FOLDER, or a file that ends in .tar)",
  )
    .argument("<file>", "a module: plain, compressed, in an archive, or an OCI layout")
    .argument("<target>", REFERENCE)
    .addOption(new Option("--layout <name>", "who is to read it").choices(LAYOUTS).default("istio"))
    .addOption(
      new Option("--also <name>", "store it for these readers too, as TAG-NAME (repeatable)")
        .argParser(collectLayout)
        .default([]),
    )
    .option("--annotation <name=value>", "an annotation of the manifest (repeatable)", collect, [])
    .option("--sign <key>", "sign it with this private key")
    .action(async (file: string, target: string, options: PushOptions) => {
      const { push } = await import("./artifacts.ts");
      await push(file, target, options);
    });
  registryCommand(sluice, "pull", "fetch a module from a registry or an OCI layout, whatever shape it lies in")
    .argument("<artifact>", REFERENCE)
    .option("-o, --output <file>", "where to write it (default: the repository's last name and .wasm)")
    .option("--key <file>", "one of these public keys must have signed (repeatable)", collect, [])
    .action(async (source: string, options: PullOptions) => {
      const { pull } = await import("./artifacts.ts");
      await pull(source, options);
    });
  registryCommand(sluice, "copy", "copy an artifact with its signatures from registry to registry")
    .argument("<from>", REFERENCE)
    .argument("<to>", REFERENCE)
    .action(async (from: string, to: string, options: RegistryCommandOptions) => {
      const { copy } = await import("./artifacts.ts");
      await copy(from, to, options);
    });
  registryCommand(sluice, "tags", "list a repository's tags")
    .argument("<repository>", "HOST/REPOSITORY")
    .action(async (name: string, options: RegistryCommandOptions) => {
      const { tags } = await import("./artifacts.ts");
      await tags(name, options);
    });
  registryCommand(sluice, "login", "try a user name and password and keep them where Docker does")
    .argument("<registry>", "HOST or HOST:PORT")
    .option("-u, --username <name>", "user name (default: ask)")
    .option("--password-stdin", "read the password from standard input")
    .action(async (registry: string, options: LoginOptions) => {
      const { login } = await import("./artifacts.ts");
      await login(registry, options);
    });
  sluice
    .command("logout")
    .description("have Docker's file, or the helper that it names, forget a registry's user name and password")
    .argument("<registry>", "HOST or HOST:PORT")
    .action(async (registry: string) => {
      const { logout } = await import("./artifacts.ts");
      await logout(registry);
    });
}

function trustCommands(sluice: Command): void {
  registryCommand(
    sluice,
    "sign",
    "sign an artifact in a registry, or a file (FILE.sig beside it); the key's password is COSIGN_PASSWORD, or asked for",
  )
    .argument("<artifact>", `a file, or ${REFERENCE}`)
    .requiredOption("--key <file>", "private key, PEM")
    .addOption(
      new Option("--form <form>", "cosign's forms: bundle (a referrer) or classic (a tag)")
        .choices(["bundle", "classic"])
        .default("bundle"),
    )
    .action(async (target: string, options: SignOptions) => {
      const { sign } = await import("./artifacts.ts");
      await sign(target, options);
    });
  registryCommand(sluice, "verify", "check that one of the keys has signed; exit status 1 if not")
    .argument("<artifact>", `a file, or ${REFERENCE}`)
    .requiredOption("--key <file>", "public key, PEM (repeatable)", collect, [])
    .action(async (target: string, options: VerifyOptions) => {
      const { verify } = await import("./artifacts.ts");
      await verify(target, options);
    });
  sluice
    .command("generate-key-pair")
    .description(
      "write a fresh key pair as cosign does, PREFIX.key and PREFIX.pub; COSIGN_PASSWORD (or SLUICE_KEY_PASSWORD) encrypts the private key, else a password is asked for",
    )
    .argument("[prefix]", "", "sluice")
    .option("--unencrypted", "the private key without a password (PKCS #8)")
    .action(async (prefix: string, options: KeyOptions) => {
      const { generateKeys } = await import("./artifacts.ts");
      await generateKeys(prefix, options);
    });
}

function registryCommand(sluice: Command, name: string, description: string): Command {
  return sluice
    .command(name)
    .description(description)
    .option("--plain-http", "talk HTTP without TLS to the registry (default only for this machine's own addresses)")
    .option("--ca <file>", "further certificate authorities, PEM");
}

function collect(value: string, all: readonly string[]): string[] {
  return [...all, value];
}

function collectLayout(value: string, all: readonly Layout[]): Layout[] {
  const layout = LAYOUTS.find((one) => one === value);
  if (layout === undefined) throw new InvalidArgumentError(`It is none of ${LAYOUTS.join(", ")}.`);
  return [...all, layout];
}
