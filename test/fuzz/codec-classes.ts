/**
 * Every way in which our parsers and llhttp may disagree, with the reason. A disagreement that none of
 * these explains fails the run: `explains` looks at the message itself, not only at the error.
 */
import type { Recording } from "../codec/record.ts";
import type { Disagreement } from "./codec-compare.ts";
import { KNOWN_METHODS, type Heard, type LlhttpRecording } from "./llhttp.ts";

/** All that a class may look at. `heard` is llhttp's message where they disagree, if it got as far. */
export interface Case {
  text: string;
  ours: Recording;
  theirs: LlhttpRecording;
  disagreement: Disagreement;
  heard: Heard | undefined;
}

export interface DisagreementClass {
  name: string;
  reason: string;
  explains(seen: Case): boolean | undefined;
}

function values(raw: readonly string[] | undefined, name: string): string[] {
  return (raw ?? []).filter((_, at) => at % 2 === 1 && raw![at - 1]!.toLowerCase() === name);
}

/** The disagreement is that only we refuse, with this code. */
function weRefuse(seen: Case, code: string): boolean {
  return seen.disagreement.kind === `we refuse: ${code}` || seen.disagreement.kind === `we refuse early: ${code}`;
}

function theyRefuse(seen: Case, code: RegExp): boolean {
  return seen.disagreement.kind.startsWith("they refuse: ") && code.test(seen.disagreement.kind.slice(13));
}

const HOST = /^(\[[0-9a-f:.]+\]|[\w.~%!$&'()*+;=-]+)(:\d{0,5})?$/i;
const CHUNKED_WITH_TRAILERS = /^(0|.*\n0)[^\n]*\n[^\r\n]/s;

export const classes: readonly DisagreementClass[] = [
  {
    name: "we wait for the whole section",
    reason: "llhttp judges byte by byte; we judge a head or trailer section when it is whole, and it never was",
    explains: ({ disagreement, ours }) =>
      disagreement.kind.startsWith("they refuse early: ") &&
      (ours.messages[disagreement.at] === undefined || ours.messages[disagreement.at]!.flags.includes("CHUNKED")),
  },
  {
    name: "Host",
    reason: "RFC 9112 section 3.2: more than one Host, or one that is no authority, is 400; llhttp does not look",
    explains: (seen) => {
      const hosts = values(seen.heard?.raw, "host");
      return weRefuse(seen, "h1.host") && (hosts.length > 1 || !HOST.test(hosts[0] ?? ""));
    },
  },
  {
    name: "Transfer-Encoding on HTTP/1.0",
    reason: "RFC 9112 section 6.1: to be treated as faulty framing; llhttp reads chunks",
    explains: (seen) => weRefuse(seen, "h1.transfer_encoding_not_allowed") && seen.heard?.minor === 10,
  },
  {
    name: "body of CONNECT",
    reason: "RFC 9110 section 9.3.6: CONNECT has no content; one who sends it means something else by the bytes",
    explains: (seen) =>
      (weRefuse(seen, "h1.transfer_encoding_not_allowed") || weRefuse(seen, "h1.content_length_not_allowed")) &&
      seen.heard?.method === "CONNECT",
  },
  {
    name: "Transfer-Encoding other than chunked",
    reason: "we know one coding, once; llhttp takes any list whose end it knows, and on responses anything",
    explains: (seen) => {
      const codings = values(seen.heard?.raw, "transfer-encoding");
      const exact = codings.length === 1 && codings[0]!.trim().toLowerCase() === "chunked";
      return weRefuse(seen, "h1.transfer_encoding") && codings.length > 0 && !exact;
    },
  },
  {
    name: "Transfer-Encoding and Content-Length",
    reason:
      "refused together whatever the coding; llhttp reads CONNECT, and codings it does not know, without a look at the length",
    explains: (seen) =>
      weRefuse(seen, "h1.length_and_chunked") &&
      values(seen.heard?.raw, "transfer-encoding").length > 0 &&
      values(seen.heard?.raw, "content-length").length > 0,
  },
  {
    name: "Connection nominates what it must not",
    reason: "as Envoy: ten names or more, x-forwarded-*, framing fields, or what is no name",
    explains: (seen) => {
      const names = values(seen.heard?.raw, "connection").join(",").toLowerCase().split(",");
      const bad =
        /^[\t ]*(host|content-length|transfer-encoding|x-forwarded-.*|.*[^\w!#$%&'*+.^`|~\t -].*|[^\t ]+[\t ]+[^\t ].*)[\t ]*$/;
      return weRefuse(seen, "h1.connection") && (names.length >= 10 || names.some((name) => bad.test(name)));
    },
  },
  {
    name: "request target",
    reason:
      "none of the four forms of RFC 9112 section 3.2, a fragment, user information, a scheme that is not proxied",
    explains: (seen) => {
      const { method = "", target = "" } = seen.heard ?? {};
      if (!weRefuse(seen, "h1.target")) return false;
      if (method === "CONNECT") return !(HOST.test(target) && /:\d{1,5}$/.test(target));
      const parts = /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target);
      return parts === null ? !/^\/[^#]*$/.test(target) : !HOST.test(parts[1]!);
    },
  },
  {
    name: "version",
    reason: "HTTP/1.0 and HTTP/1.1 only; llhttp takes 0.9 and 2.0",
    explains: (seen) => weRefuse(seen, "h1.version") && seen.heard?.minor !== 10 && seen.heard?.minor !== 11,
  },
  {
    name: "request line without version, or with more spaces",
    reason:
      "RFC 9112 section 3: exactly method SP target SP HTTP version; llhttp reads HTTP/0.9, ICE/1.0 and skips spaces",
    explains: (seen) =>
      weRefuse(seen, "h1.request_line") && (seen.heard?.minor === 9 || /^[^\r\n]*  | ICE\//m.test(seen.text)),
  },
  {
    name: "line ends before a message",
    reason:
      "llhttp skips any number of CR and LF before a message; we take two empty lines before a request, none before a response",
    explains: (seen) =>
      (weRefuse(seen, "h1.line_terminator") && /^[\r\n]|(\r\n){3}|\r\n\n|\r\n\r[^\n]|[^\r]\n|\r\r/.test(seen.text)) ||
      (weRefuse(seen, "h1.line_terminator") && seen.ours.messages.at(-1)?.body.endsWith("\r")) ||
      (weRefuse(seen, "h1.status_line") && /^\r\n|\r\n\r\n\r\n/.test(seen.text)) ||
      (seen.disagreement.kind === "we refuse: end" && seen.text.endsWith("\r")),
  },
  {
    name: "method unknown to llhttp",
    reason: "RFC 9110 section 9.1: methods are open; llhttp has a closed list, we take any token",
    explains: (seen) => {
      const method = seen.ours.messages[seen.disagreement.at]?.fields[5];
      return (
        /^they refuse.*: (HPE_INVALID_METHOD|HPE_INVALID_CONSTANT|end)$/.test(seen.disagreement.kind) &&
        method !== undefined &&
        !KNOWN_METHODS.has(method)
      );
    },
  },
  {
    name: "method of another protocol",
    reason: "SOURCE belongs to ICE/1.0 in llhttp, and PRI to HTTP/2: not with HTTP/1 versions",
    explains: (seen) => {
      const method = seen.ours.messages[seen.disagreement.at]?.fields[5];
      return theyRefuse(seen, /^HPE_INVALID_(CONSTANT|VERSION)$/) && (method === "SOURCE" || method === "PRI");
    },
  },
  {
    name: "PRI",
    reason: "RFC 9113 section 3.4 keeps this method for the HTTP/2 preface; llhttp waits for the rest of one",
    explains: (seen) => weRefuse(seen, "h1.method") && /PRI /.test(seen.text),
  },
  {
    name: "framing fields in trailers",
    reason:
      "RFC 9110 section 6.5.1: not allowed there; llhttp refuses the message or acts on them, we drop them like every other field that must not be in trailers",
    explains: (seen) =>
      (theyRefuse(seen, /^HPE_(INVALID_TRANSFER_ENCODING|INVALID_CONTENT_LENGTH|UNEXPECTED_CONTENT_LENGTH)$/) ||
        seen.disagreement.kind === "differ: count") &&
      CHUNKED_WITH_TRAILERS.test(seen.text) &&
      /(content-length|transfer-encoding|connection)[^]*$/i.test(seen.text),
  },
  {
    name: "Connection: close in trailers",
    reason: "RFC 9110 section 6.5.1: not allowed there; llhttp ends the connection, we drop it",
    explains: (seen) =>
      seen.theirs.error === "HPE_CLOSED_CONNECTION" &&
      CHUNKED_WITH_TRAILERS.test(seen.text) &&
      /^connection: *close/im.test(seen.text) &&
      seen.disagreement.at >= seen.theirs.messages.length,
  },
  {
    name: "close and keep-alive on HTTP/1.0",
    reason: "RFC 9112 section 9.3: close wins, from Proxy-Connection too, as in Envoy; llhttp goes on",
    explains: (seen) => {
      const before = seen.theirs.messages[seen.ours.messages.length - 1];
      const options = [...values(before?.raw, "connection"), ...values(before?.raw, "proxy-connection")]
        .join(",")
        .toLowerCase();
      return before?.minor === 10 && /close/.test(options) && /keep-alive/.test(options) && seen.ours.error === null;
    },
  },
  {
    name: "tab after chunked",
    reason:
      "optional space around a value (RFC 9110 section 5.5) may be a tab; llhttp then does not see `chunked` in responses and reads until the end, and refuses requests",
    explains: (seen) =>
      values(seen.heard?.raw, "transfer-encoding").length > 0 &&
      /transfer-encoding:[^\r\n]*\t/i.test(seen.text) &&
      !seen.disagreement.kind.endsWith("fields"),
  },
  {
    name: "too many fields",
    reason: "llhttp bounds bytes only",
    explains: (seen) =>
      /: h1.too_many_headers$/.test(seen.disagreement.kind) && /(^[^\r\n]+\r\n){101}/m.test(seen.text),
  },
  {
    name: "chunk extension",
    reason: "RFC 9112 section 7.1.1: a name, then `=` and a token or string; llhttp takes either empty",
    explains: (seen) => weRefuse(seen, "h1.chunk_extension") && /;(=|[^\r\n]*(=(;|\r)|;(;|\r|=)))/.test(seen.text),
  },
  {
    name: "number above 2^53 - 1",
    reason: "a length that JavaScript cannot count exactly; llhttp goes to 2^64 - 1",
    explains: (seen) =>
      (weRefuse(seen, "h1.content_length") &&
        Number(values(seen.heard?.raw, "content-length")[0]) > Number.MAX_SAFE_INTEGER) ||
      (weRefuse(seen, "h1.chunk_size") && /[1-9a-f][0-9a-f]{13}/i.test(seen.text)),
  },
];

/** Only for responses. */
export const responseClasses: readonly DisagreementClass[] = [
  {
    name: "upgrade",
    reason: "101 must be asked for, carry Upgrade and be HTTP/1.1; llhttp takes 101 as a message without a body",
    explains: (seen) => weRefuse(seen, "h1.unexpected_upgrade") && seen.heard?.status === 101,
  },
  {
    name: "Transfer-Encoding of 1xx",
    reason: "RFC 9112 section 6.1: must not be there; llhttp ignores it",
    explains: (seen) =>
      (weRefuse(seen, "h1.transfer_encoding_not_allowed") || weRefuse(seen, "h1.transfer_encoding")) &&
      (seen.heard?.status ?? 0) < 200,
  },
  {
    name: "status",
    reason: "below 100 is no status",
    explains: (seen) => weRefuse(seen, "h1.status_line") && (seen.heard?.status ?? 100) < 100,
  },
  {
    name: "informational response that closes",
    reason:
      "after a 1xx the final response comes, whatever the 1xx said of the connection or its version; llhttp takes it for the last",
    explains: (seen) =>
      seen.theirs.error === "HPE_CLOSED_CONNECTION" && (seen.theirs.messages.at(-1)?.status ?? 200) < 200,
  },
  {
    name: "informational responses without a name",
    reason: "RFC 9110 section 15.2: no 1xx has a body; llhttp knows 100 to 103 only and reads one for the others",
    explains: (seen) => (seen.heard?.status ?? 0) > 103 && (seen.heard?.status ?? 0) < 200,
  },
  {
    name: "ICE",
    reason: "llhttp also reads ICE/1.0 responses",
    explains: (seen) => weRefuse(seen, "h1.status_line") && /^ICE\//m.test(seen.text),
  },
  {
    name: "control character in the reason",
    reason: "RFC 9112 section 4: reason = HTAB, SP, VCHAR, obs-text; llhttp takes all but CR and LF",
    explains: (seen) =>
      weRefuse(seen, "h1.invalid_characters") &&
      /^(HTTP|ICE)\/[\d.]+ \d+ ?[^\r\n]*[^\t\r\n\x20-\x7e\x80-\xff]/m.test(seen.text),
  },
];
