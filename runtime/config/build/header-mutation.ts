/** Headers to add and remove, on every level of a route table. */
import type { Message } from "../document/message.ts";
import type { HeaderMutation, HeaderValueOption } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

const ACTIONS = [
  "APPEND_IF_EXISTS_OR_ADD",
  "ADD_IF_ABSENT",
  "OVERWRITE_IF_EXISTS_OR_ADD",
  "OVERWRITE_IF_EXISTS",
] as const;

/** The fields `<side>_headers_to_add` and `<side>_headers_to_remove` of a message. */
export function buildHeaderMutation(
  context: BuildContext,
  message: Message,
  side: "request" | "response",
): HeaderMutation {
  const removed = `${side}_headers_to_remove`;
  for (const [index, name] of message.texts(removed).entries()) {
    if (isProtected(name))
      context.itemError(message, removed, index, { rule: "header-name", text: protectedText(name) });
  }
  return {
    add: message.messages(`${side}_headers_to_add`).map((option) => headerValueOption(context, option)),
    remove: context.headers(message, removed),
  };
}

/** A list of headers to add that stands alone. */
export function buildHeadersToAdd(context: BuildContext, message: Message, field: string): HeaderMutation {
  return { add: message.messages(field).map((option) => headerValueOption(context, option)), remove: [] };
}

function headerValueOption(context: BuildContext, option: Message): HeaderValueOption {
  const header = option.message("header");
  const append = option.message("append");
  if (append !== undefined && option.number("append_action") !== 0) {
    context.error(option, "append", "header-option", "append and append_action do not go together; keep append_action");
  }
  const action =
    append === undefined ? ACTIONS[option.number("append_action")] : append.flag("value") ? ACTIONS[0] : ACTIONS[2];
  const raw = header?.bytes("raw_value");
  const value =
    header === undefined
      ? ""
      : raw === undefined || header.has("value")
        ? header.text("value")
        : Buffer.from(raw).toString("utf8");
  if (header !== undefined) {
    if (isProtected(header.text("key"))) context.error(header, "key", "header-name", protectedText(header.text("key")));
    context.format(header, "value", value);
  }
  return {
    name: header === undefined ? "" : context.header(header, "key"),
    value,
    action: action ?? "APPEND_IF_EXISTS_OR_ADD",
    keepEmptyValue: option.flag("keep_empty_value"),
  };
}

/** Envoy's rule: the routing depends on these, so mutations may not touch them. */
function isProtected(name: string): boolean {
  return name.startsWith(":") || name.toLowerCase() === "host";
}

function protectedText(name: string): string {
  return `${name}: headers that begin with ":" and host may not be changed`;
}
