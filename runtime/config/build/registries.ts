/** sluice.v1.Registries and sluice.v1.TrustRule: where artifacts come from, and who must have signed them. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ProxyError } from "../../errors.ts";
import { MAX_KEY_BYTES } from "../../limits.ts";
import { dockerConfigFile } from "../../registry/credentials.ts";
import { readPublicKey } from "../../registry/signature.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { RegistriesConfig, TrustRuleConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath, readDataSource } from "./data-source.ts";

/** sluice.v1.Registries.PullPolicy by number. */
const PULL_POLICIES = [undefined, "IF_NOT_PRESENT", "ALWAYS"] as const;

/** sluice.v1.TrustRule.Mode. */
const WARN = 1;

export function buildRegistries(context: BuildContext, message: Message | undefined): RegistriesConfig {
  const file = (field: string): string | undefined => {
    if (message === undefined || message.text(field) === "") return undefined;
    const path = configuredPath(message, field);
    try {
      readFileSync(path);
    } catch (error) {
      context.error(message, field, "file", `${path}: ${(error as Error).message}`);
    }
    return path;
  };
  return {
    pullPolicy: PULL_POLICIES[message?.number("pull_policy") ?? 0],
    pollMs: message === undefined ? 0 : context.timerMillis(message, "poll_interval", 0),
    dockerConfigs: message === undefined ? [] : dockerConfigs(context, message),
    ca: file("ca_file"),
    plainHttp: message?.flag("plain_http") ?? false,
  };
}

/** Files, or folders that hold one. */
function dockerConfigs(context: BuildContext, message: Message): string[] {
  const one = message.text("docker_config");
  const named = [
    ...(one === "" ? [] : [["docker_config", one]]),
    ...message.texts("docker_configs").map((name) => ["docker_configs", name]),
  ];
  return named.map(([field = "", name = ""]) => {
    const path = resolve(message.spot(field).source.base, name);
    try {
      readFileSync(dockerConfigFile(path));
    } catch (error) {
      context.error(message, field, "file", error instanceof Error ? error.message : String(error));
    }
    return path;
  });
}

/** Every rule with its keys, each of which has been read as one. */
export function buildTrust(context: BuildContext, runtime: Message): TrustRuleConfig[] {
  const known = new Set(context.plugins.map(({ name }) => name));
  return runtime.messages("trust").map((rule) => {
    for (const name of rule.texts("plugins")) {
      if (!known.has(name))
        context.error(rule, "plugins", "unknown-plugin", `no plugin has the name "${name}"${didYouMean(name, known)}`);
    }
    return {
      plugins: rule.texts("plugins"),
      keys: rule.messages("keys").flatMap((source, n) => readKey(context, source, n)),
      enforced: rule.number("mode") !== WARN,
    };
  });
}

function readKey(context: BuildContext, source: Message, n: number): TrustRuleConfig["keys"] {
  const bytes = readDataSource(context, source, MAX_KEY_BYTES);
  if (bytes === undefined) return [];
  const name = source.which("specifier") === "filename" ? source.text("filename") : `keys[${n}]`;
  const pem = Buffer.from(bytes).toString("utf8");
  try {
    readPublicKey(pem, name);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    context.error(source, "", "public-key", error.message.slice(error.code.length + 2));
  }
  return [{ name, pem }];
}
