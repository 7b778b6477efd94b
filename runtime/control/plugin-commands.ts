/** `/wasm/load`, `/wasm/promote`, `/wasm/rollback`, `/reload`: from parameters to a change, and its outcome as JSON. */
import { isAbsolute } from "node:path";
import type { OciCode } from "../artifact/oci-code.ts";
import { ProxyError } from "../errors.ts";
import { isReference } from "../registry/reference.ts";
import { readModuleFile } from "../wasm/module/module-file.ts";
import type { Routing } from "../wasm/routing.ts";
import { fieldName } from "../wasm/values/header-text.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import type { LoadRequest } from "./load-request.ts";
import type { Outcome } from "./outcome.ts";
import type { AdminSubject } from "./subject.ts";

/** Codes of errors to statuses; what is not here is 422: the request was understood, but its content is no good. */
const STATUSES: Readonly<Record<string, number>> = {
  PLUGIN_PARAMETER: 400,
  PLUGIN_UNKNOWN: 404,
  PLUGIN_VERSION: 404,
  PLUGIN_NO_CANDIDATE: 404,
  RELOAD_REFUSED: 409,
  WORKER_FAILED: 503,
};

/** The module is the body, or lies in `file`, read by this process. */
export function loadPlugin(subject: AdminSubject, parameters: URLSearchParams, body: Buffer): Promise<AdminAnswer> {
  return answered(async () => {
    const name = pluginName(parameters);
    const request: LoadRequest = {
      ...(await moduleOf(subject, name, parameters, body)),
      how: routingOf(parameters),
      rehearse: !parameters.has("unrehearsed"),
      watched: !parameters.has("unwatched"),
    };
    return (await subject.hotLoad()).load({ name }, request);
  });
}

/** The module, from where the request says. */
async function moduleOf(
  subject: AdminSubject,
  plugin: string,
  parameters: URLSearchParams,
  body: Buffer,
): Promise<Pick<LoadRequest, "bytes" | "source" | "evidence">> {
  const file = parameters.get("file");
  const artifact = parameters.get("artifact");
  if (Number(file !== null) + Number(artifact !== null) + Number(body.length > 0) !== 1)
    throw refused("give the module as the request's body, or name it with file= or artifact=; one of these");
  if (file !== null) {
    if (!isAbsolute(file)) throw refused(`file must be an absolute path, ${JSON.stringify(file)} is none`);
    return { bytes: readModuleFile(file), source: file };
  }
  if (artifact === null) return { bytes: body, source: "posted to the admin interface" };
  const code = artifact === "" ? configuredArtifact(subject, plugin) : { uri: artifact, sha256: "" };
  if (!isReference(code.uri)) throw refused("artifact= begins with oci://");
  return { ...(await subject.pullArtifact(code)), source: code.uri };
}

function configuredArtifact({ snapshot }: AdminSubject, plugin: string): OciCode {
  const code = snapshot.plugins.find(({ name }) => name === plugin)?.code;
  if (code?.kind === "remote" && code.oci !== undefined) return code;
  throw refused(`the code of ${plugin} is not configured to come from a registry; name the artifact`);
}

export function promotePlugin(subject: AdminSubject, parameters: URLSearchParams): Promise<AdminAnswer> {
  return answered(async () => (await subject.hotLoad()).promote(pluginName(parameters)));
}

export function rollbackPlugin(subject: AdminSubject, parameters: URLSearchParams): Promise<AdminAnswer> {
  return answered(async () => {
    const name = pluginName(parameters);
    const version = parameters.get("version");
    if (version !== null && !/^[1-9]\d{0,8}$/.test(version)) throw refused("version is a number, see /wasm");
    return (await subject.hotLoad()).rollback(name, version === null ? undefined : Number(version));
  });
}

export function reloadConfiguration(subject: AdminSubject): Promise<AdminAnswer> {
  return answered(async () => (await subject.hotLoad()).reload());
}

function routingOf(parameters: URLSearchParams): LoadRequest["how"] {
  const percentText = parameters.get("percent");
  const header = parameters.get("header");
  const shadow = parameters.has("shadow");
  for (const name of ["header_value", "header_percent"])
    if (parameters.has(name) && header === null) throw refused(`${name} says nothing without header`);
  if (parameters.has("now")) {
    if (percentText !== null || header !== null || shadow)
      throw refused("now goes with neither percent, header nor shadow");
    return "at once";
  }
  if (percentText === null && header === null && !shadow) return "configured";
  const percent = percentOf("percent", percentText, shadow ? 100 : 0);
  if (shadow) {
    if (header !== null || parameters.has("sticky")) throw refused("a shadow serves nobody: no header, no sticky");
    return { kind: "shadow", percent };
  }
  const name = header === null ? undefined : fieldName(header);
  if (header !== null && name === undefined)
    throw refused(`header is the name of one, ${JSON.stringify(header)} is none`);
  const value = parameters.get("header_value") ?? undefined;
  const headerPercent = percentOf("header_percent", parameters.get("header_percent"), 100);
  if (percent === 0 && (header === null || headerPercent === 0))
    throw refused("nothing would reach the candidate: percent is 0");
  const choice = name === undefined ? undefined : { name, value, percent: headerPercent };
  return { kind: "share", percent, header: choice, sticky: parameters.has("sticky") } satisfies Routing;
}

function percentOf(name: string, text: string | null, missing: number): number {
  if (text === null) return missing;
  const percent = Number(text);
  if (text.trim() === "" || !(percent >= 0 && percent <= 100)) throw refused(`${name} is a number from 0 to 100`);
  return percent;
}

function pluginName(parameters: URLSearchParams): string {
  const name = parameters.get("plugin");
  if (name === null || name === "") throw refused("plugin= names the plugin, see /wasm");
  return name;
}

function refused(message: string): ProxyError {
  return new ProxyError("PLUGIN_PARAMETER", "config", message);
}

async function answered(change: () => Promise<Outcome>): Promise<AdminAnswer> {
  try {
    const { plugins, places, number, sha256, version, state, prepareMs, swapMs, tookMs, changes } = await change();
    const round = (ms: number): number => Math.round(ms * 100) / 100;
    const json = {
      plugins,
      places,
      number,
      version,
      sha256,
      state,
      prepare_ms: round(prepareMs),
      swap_ms: round(swapMs),
      took_ms: round(tookMs),
      ...(changes === undefined ? {} : { changes }),
    };
    return { contentType: "application/json", body: `${JSON.stringify(json)}\n` };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return { status: STATUSES[error.code] ?? 422, body: `${error.message}\n` };
  }
}
