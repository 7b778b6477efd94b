/** Secrets that a TLS context refers to by name, and validation contexts that are put together from two. */
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { BuildContext } from "./context.ts";

/** The secret that an SdsSecretConfig names among `static_resources.secrets`; undefined, with a problem reported, otherwise. */
export function findSecret(context: BuildContext, config: Message, kind: string): Message | undefined {
  const name = config.text("name");
  if (config.has("sds_config")) {
    context.unsupported(
      config,
      "sds_config",
      "secrets of a discovery service; without sds_config the name is looked up in static_resources.secrets, and files in secrets are read again when they change",
    );
    return undefined;
  }
  const secret = context.secrets.get(name);
  if (secret === undefined) {
    context.error(
      config,
      "name",
      "unknown-secret",
      `no secret '${name}' in static_resources.secrets${didYouMean(name, context.secrets.keys())}`,
    );
    return undefined;
  }
  const found = secret.message(kind);
  if (found === undefined) context.error(config, "name", "unknown-secret", `the secret '${name}' is no ${kind}`);
  return found;
}

/** The validation contexts of a CommonTlsContext in the order in which they are merged. */
export function mergedValidation(context: BuildContext, common: Message | undefined): Message[] {
  const kind = common?.which("validation_context_type");
  if (common === undefined || kind === undefined) return [];
  if (kind === "validation_context") return present(common.message(kind));
  if (kind === "validation_context_sds_secret_config")
    return present(findSecret(context, common.message(kind)!, "validation_context"));
  if (kind !== "combined_validation_context") return [];
  const combined = common.message(kind)!;
  const named = combined.message("validation_context_sds_secret_config");
  return [
    ...present(combined.message("default_validation_context")),
    ...present(named === undefined ? undefined : findSecret(context, named, "validation_context")),
  ];
}

function present(message: Message | undefined): Message[] {
  return message === undefined ? [] : [message];
}
