/** `set_envoy_filter_state`, `declare_property`, `clear_route_cache`. */
import * as Status from "../../../../abi/status.ts";
import { MAX_DECLARED_PROPERTIES, MAX_FILTER_STATE_BYTES, MAX_FILTER_STATE_ENTRIES } from "../../../limits.ts";
import { bytesOf, numberOf, protoFields } from "../../values/proto-fields.ts";
import { NO_RESULT } from "./function.ts";
import type { ForeignFunction } from "./function.ts";

/** Highest span (DOWNSTREAM_CONNECTION) and type (PROTOBUF) of Envoy's messages. */
const LAST_SPAN = 2;
const LAST_TYPE = 3;
const CONNECTION_SPAN = 2;
const TEXT_TYPE = 1;

export const clearRouteCache: ForeignFunction = {
  meaning: "nothing → nothing: the route is computed anew",
  call(instance) {
    instance.effective.stream?.clearRouteCache();
    return NO_RESULT;
  },
};

export const setEnvoyFilterState: ForeignFunction = {
  meaning:
    "message {1 path, 2 value, 3 span} → nothing: filter state under that name, without the prefix of set_property",
  call(instance, argument) {
    const fields = protoFields(argument);
    if (fields === undefined) return { status: Status.BAD_ARGUMENT, why: "argument: not a message" };
    if (numberOf(fields, 3) > LAST_SPAN) return { status: Status.BAD_ARGUMENT, why: "span: unknown" };
    const facts = instance.effective.facts;
    if (facts === null) return { status: Status.NOT_FOUND, why: "no stream to keep the value" };
    const value = bytesOf(fields, 2);
    const state = facts.info.stateToWrite(numberOf(fields, 3) === CONNECTION_SPAN);
    const name = bytesOf(fields, 1).toString("latin1");
    if (value.length > MAX_FILTER_STATE_BYTES || (state.size >= MAX_FILTER_STATE_ENTRIES && !state.has(name))) {
      return { status: Status.BAD_ARGUMENT, why: "value: too long, or too many are set" };
    }
    state.set(name, Buffer.from(value));
    facts.acts?.wrote(name, value);
    return NO_RESULT;
  },
};

export const declareProperty: ForeignFunction = {
  meaning:
    "message {1 name, 2 readonly, 3 type, 4 schema, 5 span} → nothing: before the first set_property; readonly ones can be set once",
  call(instance, argument) {
    const fields = protoFields(argument);
    if (fields === undefined) return { status: Status.BAD_ARGUMENT, why: "argument: not a message" };
    if (numberOf(fields, 3) > LAST_TYPE || numberOf(fields, 5) > LAST_SPAN) {
      return { status: Status.BAD_ARGUMENT, why: "type or span: unknown" };
    }
    const declared = instance.effective.root?.plugin.declaredProperties;
    if (declared === undefined) return { status: Status.BAD_ARGUMENT, why: "no plugin to declare it for" };
    const name = bytesOf(fields, 1).toString("latin1");
    // A plugin that starts anew declares again what it declared before.
    const readonly = numberOf(fields, 2) !== 0;
    const before = declared.get(name);
    if (before !== undefined && before.instance === instance) {
      return { status: Status.BAD_ARGUMENT, why: "name: declared already" };
    }
    if (declared.size >= MAX_DECLARED_PROPERTIES) return { status: Status.BAD_ARGUMENT, why: "too many are declared" };
    const ofConnection = numberOf(fields, 5) === CONNECTION_SPAN;
    declared.set(name, { readonly, text: numberOf(fields, 3) === TEXT_TYPE, ofConnection, instance });
    return NO_RESULT;
  },
};
