/** Secrets that a TLS context refers to by name, and validation contexts that are put together from two. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { Decoder } from "../document/decode.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import { parseTree } from "../document/tree.ts";
import { RuleChecker } from "../rules/check.ts";
import { checkSupport } from "../rules/support.ts";
import type { SdsUse } from "../tls-snapshot.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath } from "./data-source.ts";

const RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse";
const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";

const namesOfSecrets = new WeakMap<Message, string>();

/** What it is built from is part of a secret of this name. */
export function nameSecret(part: Message, name: string): void {
  namesOfSecrets.set(part, name);
}

/** The name of the secret that a message is part of; nothing for one that stands in the context itself. */
export function secretName(part: Message): { readonly secret?: string } {
  const secret = namesOfSecrets.get(part);
  return secret === undefined ? {} : { secret };
}

/** What is to be looked at while a context is in force. */
export interface Watched {
  readonly folders: string[];
  readonly secrets: SdsUse[];
}

/**
 * The secret that an SdsSecretConfig names: in the file that it says, else among `static_resources.secrets`. Undefined,
 * with a problem reported, when there is none. What is to be watched is added to `watched`; `at`: see {@link SdsUse}.
 */
export function findSecret(
  context: BuildContext,
  config: Message,
  use: Pick<SdsUse, "kind" | "at">,
  watched: Watched,
): Message | undefined {
  const { kind } = use;
  const name = config.text("name");
  const source = config.message("sds_config");
  const known = source === undefined ? context.secrets : secretsOfFile(context, source, { ...use, name }, watched);
  if (known === undefined) return undefined;
  const secret = known.get(name);
  if (secret === undefined) {
    const where = source === undefined ? "static_resources.secrets" : "that file";
    context.error(config, "name", "unknown-secret", `no secret '${name}' in ${where}${didYouMean(name, known.keys())}`);
    return undefined;
  }
  const found = secret.message(kind);
  if (found === undefined) context.error(config, "name", "unknown-secret", `the secret '${name}' is no ${kind}`);
  else nameSecret(found, name);
  return found;
}

/** The secrets of a file with a DiscoveryResponse; undefined, with problems reported, when there is none. */
function secretsOfFile(
  context: BuildContext,
  source: Message,
  use: Pick<SdsUse, "kind" | "at" | "name">,
  watched: Watched,
): ReadonlyMap<string, Message> | undefined {
  const place = source.message("path_config_source");
  if (place === undefined) {
    context.unsupported(
      source,
      "",
      "secrets of a discovery service; a file has them (path_config_source), or static_resources.secrets without sds_config",
    );
    return undefined;
  }
  const folder = place.message("watched_directory");
  if (folder !== undefined) watched.folders.push(configuredPath(folder, "path"));
  const path = configuredPath(place, "path");
  const text = readText(context, place, path);
  if (text === undefined) return undefined;
  watched.secrets.push({ ...use, file: path, digest: createHash("sha256").update(text).digest("hex") });
  return secretsIn(context, path, text);
}

/** The secrets of such a file by name; undefined, with problems reported, when it cannot be read at all. */
export function secretsIn(
  { problems, schema }: BuildContext,
  path: string,
  text: string,
): ReadonlyMap<string, Message> | undefined {
  const tree = parseTree({ name: path, text, base: dirname(path) }, problems);
  if (tree === undefined) return undefined;
  const type = schema.expect(RESPONSE);
  const response = new Decoder(schema, problems, { allowUnknownFields: false }).message(type, tree, "");
  new RuleChecker(problems, () => schema).message(response);
  checkSupport(response, problems);
  const secrets = response.messages("resources").flatMap(({ any }) => (any?.type.name === SECRET ? [any] : []));
  return new Map(secrets.map((secret) => [secret.text("name"), secret]));
}

function readText(context: BuildContext, place: Message, path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    context.error(place, "path", "data-source", `cannot read the file: ${reason}`);
    return undefined;
  }
}

/** The validation contexts of a CommonTlsContext in the order in which they are merged. */
export function validationMessages(
  context: BuildContext,
  common: Message | undefined,
  watched: Watched,
): readonly Message[] {
  const kind = common?.which("validation_context_type");
  if (common === undefined || kind === undefined) return [];
  const use = { kind: "validation_context", at: 0 } as const;
  if (kind === "validation_context") return present(common.message(kind));
  if (kind === "validation_context_sds_secret_config")
    return present(findSecret(context, common.message(kind)!, use, watched));
  if (kind !== "combined_validation_context") return [];
  const combined = common.message(kind)!;
  const named = combined.message("validation_context_sds_secret_config");
  return [
    ...present(combined.message("default_validation_context")),
    ...present(named === undefined ? undefined : findSecret(context, named, use, watched)),
  ];
}

function present(message: Message | undefined): Message[] {
  return message === undefined ? [] : [message];
}
