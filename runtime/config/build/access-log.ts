/** envoy.config.accesslog.v3.AccessLog: files, stdout, stderr, and plugins. */
import { resolve } from "node:path";

import { ResponseFlag } from "../../errors.ts";
import { MAX_FORMAT_FILE_BYTES } from "../../limits.ts";
import { checkJsonFormat, DEFAULT_FORMAT } from "../../observe/format.ts";
import type { Message } from "../document/message.ts";
import type { AccessLogConfig, AccessLogFilter, TextAccessLog } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { readDataSource } from "./data-source.ts";
import { buildFraction, buildHeaderMatcher } from "./matcher.ts";
import { buildWasmPlugin, type PluginPlace } from "./plugin.ts";

const RESPONSE_FLAGS: ReadonlySet<string> = new Set(Object.keys(ResponseFlag));
const LOGGERS = "envoy.extensions.access_loggers.";

/** Where loggers that are plugins stand, as they are told. */
type LogPlace = Pick<PluginPlace, "statPrefix" | "direction">;

/** The access logs of a message's field. */
export function buildAccessLogs(
  context: BuildContext,
  owner: Message,
  field: string,
  place: LogPlace = { statPrefix: "", direction: 0 },
): AccessLogConfig[] {
  const logs: AccessLogConfig[] = [];
  for (const log of owner.messages(field)) {
    const built = buildAccessLog(context, log, place);
    if (built !== undefined) logs.push(built);
  }
  return logs;
}

function buildAccessLog(context: BuildContext, log: Message, place: LogPlace): AccessLogConfig | undefined {
  const any = log.message("typed_config");
  const logger = any?.any;
  const filter = log.message("filter");
  const shared = { filter: filter === undefined ? undefined : buildFilter(context, filter) };
  if (logger === undefined) {
    // An unknown or unsupported type has been reported already.
    if (!log.hasFailed("typed_config") && (any === undefined || any.anyType === ""))
      context.error(log, "typed_config", "any", `typed_config with "@type" is missing`);
    return undefined;
  }
  switch (logger.type.name) {
    case `${LOGGERS}file.v3.FileAccessLog`:
      return {
        ...shared,
        sink: { kind: "file", path: resolve(logger.text("path")) },
        format: fileFormat(context, logger),
      };
    case `${LOGGERS}stream.v3.StdoutAccessLog`:
      return { ...shared, sink: { kind: "stdout" }, format: buildFormat(context, logger.message("log_format")) };
    case `${LOGGERS}stream.v3.StderrAccessLog`:
      return { ...shared, sink: { kind: "stderr" }, format: buildFormat(context, logger.message("log_format")) };
    case `${LOGGERS}wasm.v3.WasmAccessLog`: {
      const plugin = buildWasmPlugin(context, logger, { ...place, filterName: "", service: "worker" });
      return plugin === undefined ? undefined : { ...shared, plugin };
    }
    default:
      context.error(log, "typed_config", "any", `${logger.type.name} is not an access logger`);
      return undefined;
  }
}

/** FileAccessLog's older fields beside log_format. */
function fileFormat(context: BuildContext, logger: Message): TextAccessLog["format"] {
  switch (logger.which("access_log_format")) {
    case "format": {
      const text = logger.text("format");
      return {
        kind: "text",
        text: text === "" ? DEFAULT_FORMAT : context.format(logger, "format", text),
        omitEmptyValues: false,
      };
    }
    case "json_format":
      return jsonFormat(context, logger, { field: "json_format", omitEmptyValues: false });
    case "typed_json_format":
      return jsonFormat(context, logger, { field: "typed_json_format", omitEmptyValues: false });
    default:
      return buildFormat(context, logger.message("log_format"));
  }
}

/** envoy.config.core.v3.SubstitutionFormatString; absent: Envoy's default text. */
function buildFormat(context: BuildContext, message: Message | undefined): TextAccessLog["format"] {
  const omitEmptyValues = message?.flag("omit_empty_values") ?? false;
  if (message === undefined) return { kind: "text", text: DEFAULT_FORMAT, omitEmptyValues };
  if (message.has("json_format")) return jsonFormat(context, message, { field: "json_format", omitEmptyValues });
  if (message.has("text_format"))
    return { kind: "text", text: context.format(message, "text_format", message.text("text_format")), omitEmptyValues };
  const source = message.message("text_format_source");
  const bytes = source === undefined ? undefined : readDataSource(context, source, MAX_FORMAT_FILE_BYTES);
  const text = bytes === undefined ? "" : Buffer.from(bytes).toString("utf8");
  return {
    kind: "text",
    text: text === "" ? DEFAULT_FORMAT : context.format(message, "text_format_source", text),
    omitEmptyValues,
  };
}

function jsonFormat(
  context: BuildContext,
  message: Message,
  { field, omitEmptyValues }: { field: string; omitEmptyValues: boolean },
): TextAccessLog["format"] {
  const json = message.message(field)?.json ?? {};
  const problem = checkJsonFormat(json);
  if (problem !== undefined) context.error(message, field, "format", problem);
  return { kind: "json", json, omitEmptyValues };
}

const OPERATORS = ["EQ", "GE", "LE", "NE"] as const;

function buildFilter(context: BuildContext, filter: Message): AccessLogFilter | undefined {
  const kind = filter.which("filter_specifier");
  const inner = kind === undefined ? undefined : filter.message(kind);
  if (kind === undefined || inner === undefined) return undefined;
  switch (kind) {
    case "status_code_filter":
    case "duration_filter":
      return comparison(kind === "duration_filter" ? "duration" : "status_code", inner.message("comparison"));
    case "and_filter":
    case "or_filter": {
      const filters = inner.messages("filters").map((member) => buildFilter(context, member));
      return { kind: kind === "and_filter" ? "and" : "or", filters: filters.filter((member) => member !== undefined) };
    }
    case "header_filter": {
      const header = inner.message("header");
      return header === undefined ? undefined : { kind: "header", header: buildHeaderMatcher(context, header) };
    }
    case "response_flag_filter": {
      const flags = inner.texts("flags");
      for (const [index, flag] of flags.entries()) {
        if (!RESPONSE_FLAGS.has(flag))
          context.itemError(inner, "flags", index, { rule: "response-flag", text: `${flag} is not a response flag` });
      }
      return { kind: "response_flag", flags };
    }
    case "runtime_filter":
      return {
        kind: "runtime",
        fraction: { ...buildFraction(inner.message("percent_sampled")), runtimeKey: inner.text("runtime_key") },
      };
    case "not_health_check_filter":
      return { kind: "not_health_check" };
    default:
      context.unsupported(filter, kind, `the access log filter ${kind}`);
      return undefined;
  }
}

function comparison(kind: "status_code" | "duration", message: Message | undefined): AccessLogFilter {
  const value = message?.message("value");
  return {
    kind,
    op: OPERATORS[message?.number("op") ?? 0] ?? "EQ",
    value: value?.number("default_value") ?? 0,
    runtimeKey: value?.text("runtime_key") ?? "",
  };
}
