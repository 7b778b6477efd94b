/** A file of secrets that has changed while TLS contexts use it: read and checked as it was with the configuration. */
import { ProxyError } from "../../errors.ts";
import type { Message } from "../document/message.ts";
import { formatProblem, Problems } from "../problem.ts";
import { builtInSchema } from "../schema/schema.ts";
import type { SdsSecret } from "../tls-snapshot.ts";
import { BuildContext } from "./context.ts";
import { buildCertificate, buildValidationPart, secretOf } from "./tls.ts";
import { nameSecret, secretsIn } from "./tls-secrets.ts";

/** Its secrets by name. Throws ProxyError CONFIG_INVALID with every problem. */
export function readSecretFile(path: string, text: string): ReadonlyMap<string, SdsSecret> {
  const problems = new Problems();
  const schema = builtInSchema();
  const none = { clusters: new Set<string>(), listeners: [], secrets: [] };
  const context = new BuildContext({ problems, schema, bundled: {}, ...none });
  const messages = secretsIn(context, path, text) ?? new Map<string, Message>();
  const secrets = new Map([...messages].map(([name, message]) => [name, buildSecret(context, message)]));
  if (problems.errors.length > 0)
    throw new ProxyError("CONFIG_INVALID", "config", problems.errors.map(formatProblem).join("\n"));
  return secrets;
}

function buildSecret(context: BuildContext, secret: Message): SdsSecret {
  const certificate = secret.message("tls_certificate");
  const validation = secret.message("validation_context");
  const [key] = secret.message("session_ticket_keys")?.messages("keys") ?? [];
  for (const part of [certificate, validation]) if (part !== undefined) nameSecret(part, secret.text("name"));
  const watched = { folders: [], secrets: [] };
  return {
    certificate: certificate === undefined ? undefined : buildCertificate(context, certificate, watched),
    validation: validation === undefined ? undefined : buildValidationPart(context, validation, watched),
    ticketKey: key === undefined ? undefined : secretOf(context, key),
  };
}
