/**
 * envoy.filters.listener.http_inspector: tells plain HTTP and its version from what is none, by the first line.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/http_inspector
 */
import { H2_PREFACE } from "../codec/h2-codes.ts";
import { MAX_HTTP_INSPECTOR_BYTES } from "../limits.ts";
import type { Counter, Stats } from "../observe/stats.ts";
import { type ListenerFilter, type SocketFacts, Verdict } from "./listener-filter.ts";

const SPACE = 0x20;
const LINE_FEED = 0x0a;
/** RFC 9110 section 5.6.2. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Longest method that is worth waiting for; those of IANA have at most 17 characters. */
const METHOD_CHARACTERS = 24;
const REQUEST_LINE = /^\S+ \S+ HTTP\/1\.([01])\r?$/;

/** What the bytes so far are: the protocol, "" for none of ours, undefined: too early to say. */
export function httpVersion(bytes: Buffer): "http/1.0" | "http/1.1" | "h2c" | "" | undefined {
  const known = Math.min(bytes.length, H2_PREFACE.length);
  if (bytes.compare(H2_PREFACE, 0, known, 0, known) === 0) return known === H2_PREFACE.length ? "h2c" : undefined;
  const start = bytes.toString("latin1", 0, METHOD_CHARACTERS + 1);
  const space = start.indexOf(" ");
  const method = space < 0 ? start : start.slice(0, space);
  if (!METHOD.test(method) || method.length > METHOD_CHARACTERS) return "";
  const end = space < 0 ? -1 : bytes.indexOf(LINE_FEED, space);
  if (end < 0) return bytes.length < MAX_HTTP_INSPECTOR_BYTES ? undefined : "";
  if (bytes[space] !== SPACE) return "";
  const version = REQUEST_LINE.exec(bytes.latin1Slice(0, end))?.[1];
  return version === undefined ? "" : version === "0" ? "http/1.0" : "http/1.1";
}

/** Makes the filter, which is the same for all connections of a listener: it keeps nothing. */
export function httpInspector(stats: Stats): () => ListenerFilter {
  const counter = (name: string): Counter => stats.counter(`http_inspector.${name}`);
  const found = {
    "http/1.0": counter("http10_found"),
    "http/1.1": counter("http11_found"),
    h2c: counter("http2_found"),
  };
  const notFound = counter("http_not_found");
  const filter: ListenerFilter = {
    // One more than is looked at, so that the answer comes before the pipeline's own bound.
    maxReadBytes: MAX_HTTP_INSPECTOR_BYTES + 1,
    onAccept: (facts) =>
      facts.transportProtocol === "" || facts.transportProtocol === "raw_buffer" ? Verdict.NEED_MORE : Verdict.CONTINUE,
    onData(facts: SocketFacts, bytes: Buffer): Verdict {
      const version = httpVersion(bytes);
      if (version === undefined) return Verdict.NEED_MORE;
      if (version === "") notFound.inc();
      else {
        found[version].inc();
        facts.applicationProtocols = [version];
      }
      return Verdict.CONTINUE;
    },
  };
  return () => filter;
}
