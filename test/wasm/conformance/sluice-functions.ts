/** What every function of the import module `sluice` answers, as data. */
import * as Status from "../../../abi/status.ts";
import { ResponseFlag } from "../../../runtime/errors.ts";
import {
  MAX_BUCKET_TOKENS,
  MAX_GUEST_REGEX_BYTES,
  MAX_METADATA_BYTES,
  MAX_SHARED_KEY_BYTES,
} from "../../../runtime/limits.ts";
import { differs, held, out, RESULT, span, text, upTo, value } from "./arguments.ts";
import type { FunctionCases, Row } from "./arguments.ts";

const { OK, BAD_ARGUMENT, EMPTY, NOT_FOUND, PARSE_FAILURE } = Status;
const LONG_KEY = span(0, MAX_SHARED_KEY_BYTES + 1);
const NO_LIMIT = "nothing that grows: the host keeps nothing of it";
const BUCKET: Row = ["define_token_bucket", text("bucket"), value(10), value(1), value(1000), out("id")];
const EMPTY_BUCKET: Row = ["define_token_bucket", text("empty"), value(0), value(0), value(1000), out("id")];
/** google.protobuf.Struct {"k": "v"}. */
const FIELDS = text(Buffer.from("0a080a016b12031a0176", "hex"), "fields");

const METADATA: FunctionCases = {
  args: [text("ns", "namespace"), FIELDS],
  root: BAD_ARGUMENT,
  log: OK,
  others: [differs("no Struct", { 1: text("\xff\xff") }, PARSE_FAILURE)],
  limit: [
    differs("a namespace too long", { 0: LONG_KEY }, BAD_ARGUMENT),
    differs("fields too long", { 1: span(0, MAX_METADATA_BYTES + 1) }, BAD_ARGUMENT),
  ],
};

/** By name. */
export const SLUICE_CASES: Readonly<Record<string, FunctionCases>> = {
  set_timer: {
    args: [value(60_000)],
    root: BAD_ARGUMENT,
    log: BAD_ARGUMENT,
    others: [differs("cancel", { 0: value(0) }, OK)],
    limit: [differs("longer than a timer can be: cut", { 0: value(-1) }, OK)],
  },
  get_route_configuration_id: { args: [out("id_p")], root: OK, log: OK, limit: NO_LIMIT },
  get_route_configuration: {
    args: [value(3), RESULT],
    root: NOT_FOUND,
    log: OK,
    others: [differs("an id of another route", { 0: value(4) }, NOT_FOUND)],
    limit: NO_LIMIT,
  },
  get_rate_limit_descriptors: {
    args: [value(0), upTo(3), RESULT],
    root: BAD_ARGUMENT,
    log: OK,
    limit: NO_LIMIT,
  },
  set_response_flag: { args: [upTo(ResponseFlag.UDO)], root: BAD_ARGUMENT, log: OK, limit: NO_LIMIT },
  set_dynamic_metadata: METADATA,
  replace_dynamic_metadata: METADATA,
  skip_response: { args: [], root: BAD_ARGUMENT, log: OK, limit: NO_LIMIT },
  set_response_pace: {
    args: [value(1000)],
    root: BAD_ARGUMENT,
    log: OK,
    others: [differs("standing still", { 0: value(0) }, BAD_ARGUMENT)],
    limit: NO_LIMIT,
  },
  define_token_bucket: {
    args: [text("bucket", "key"), value(10), value(1), value(1000), out("id_p")],
    root: OK,
    log: OK,
    others: [differs("filled all the time", { 3: value(0) }, BAD_ARGUMENT)],
    limit: [
      differs("a key too long", { 0: LONG_KEY }, BAD_ARGUMENT),
      differs("too many tokens", { 1: value(MAX_BUCKET_TOKENS + 1) }, BAD_ARGUMENT),
      differs("too many tokens at once", { 2: value(MAX_BUCKET_TOKENS + 1) }, BAD_ARGUMENT),
    ],
  },
  take_tokens: {
    args: [held("id"), value(0), out("remaining_p"), out("reset_ms_p")],
    before: [BUCKET],
    root: OK,
    log: OK,
    others: [
      differs("a bucket that nobody defined", { 0: value(77) }, NOT_FOUND),
      { name: "more than there is", change: { 1: value(1) }, status: EMPTY, before: [EMPTY_BUCKET] },
    ],
    limit: [differs("more than a bucket can hold", { 1: value(-1) }, EMPTY)],
  },
  runtime_fraction: {
    args: [text("key", "key"), value(1), value(1)],
    root: OK,
    log: OK,
    others: [differs("none of them", { 1: value(0) }, EMPTY), differs("of nothing", { 2: value(0) }, BAD_ARGUMENT)],
    limit: NO_LIMIT,
  },
  runtime_number: {
    args: [text("number", "key"), out("value_p")],
    root: OK,
    log: OK,
    others: [differs("a key that is not set", { 0: text("none") }, NOT_FOUND)],
    limit: NO_LIMIT,
  },
  match_regex: {
    args: [text("a+", "expression"), text("aaa", "text")],
    root: OK,
    log: OK,
    others: [
      differs("another text", { 1: text("b") }, EMPTY),
      differs("no expression", { 0: text("(") }, BAD_ARGUMENT),
    ],
    limit: [differs("an expression too long", { 0: span(0, MAX_GUEST_REGEX_BYTES + 1) }, BAD_ARGUMENT)],
  },
};
