/**
 * OCSP responses that are sent along with a certificate (RFC 6960, RFC 6066 section 8): whose they are and how long they
 * hold. Whoever asked checks the signature; here it is checked that a response belongs to the certificate at all.
 */
import type { Certificate } from "./certificate.ts";
import { dottedOid, type Element, elementsOf, firstElement, Tag, timeMillis } from "./der.ts";
import { badTls } from "./openssl.ts";

/** RFC 6960 section 4.2.1: id-pkix-ocsp-basic, and the status of a response that is one. */
const BASIC = "1.3.6.1.5.5.7.48.1.1";
const SUCCESSFUL = 0;
const BYTES = 0xa0;
const NEXT_UPDATE = 0xa0;
/** ResponderID, by name or by key. */
const RESPONDERS: readonly number[] = [0xa1, 0xa2];

export interface OcspStaple {
  readonly der: Buffer;
  /** Milliseconds since the epoch, as below. */
  readonly fromMs: number;
  /** Milliseconds since the epoch from which on it is not sent any more. */
  readonly expiresMs: number;
}

/** Reads a response for a certificate. Throws ProxyError `TLS_CONTEXT` in Envoy's words, `what` being the field. */
export function readStaple(der: Buffer, certificate: Certificate, what: string): OcspStaple {
  const [status, wrapped] = elementsOf(firstElement(der));
  if (status?.tag !== Tag.ENUMERATED) throw badTls(what, "it is no OCSP response in DER form");
  if (status.content[0] !== SUCCESSFUL) throw badTls(what, "OCSP response was unsuccessful");
  const [type, content] = wrapped?.tag === BYTES ? elementsOf(firstElement(wrapped.content)) : [];
  if (dottedOid(type) !== BASIC || content?.tag !== Tag.OCTET_STRING)
    throw badTls(what, "the type of the OCSP response is not the basic one");
  const answers = answersOf(firstElement(content.content));
  const [answer] = answers;
  if (answer === undefined) throw badTls(what, "the OCSP response is damaged");
  if (answers.length > 1) throw badTls(what, "OCSP Response must be for one certificate only");
  const [id, , thisUpdate, next] = elementsOf(answer);
  const serial = id === undefined ? undefined : elementsOf(id)[3];
  if (serial === undefined || certificate.serial !== serial.content.toString("hex").replace(/^(?:00)+(?=.)/, ""))
    throw badTls(what, "OCSP response does not match its TLS certificate");
  // Without the time of the next one, news may be had at any time: it is as good as expired.
  const until = next?.tag === NEXT_UPDATE ? elementsOf(next)[0] : thisUpdate;
  const expiresMs = timeMillis(until);
  if (Number.isNaN(expiresMs)) throw badTls(what, "the OCSP response is damaged");
  return { der, fromMs: timeMillis(thisUpdate), expiresMs };
}

/** BasicOCSPResponse → ResponseData → responses, which follow the version, the responder and the time. */
function answersOf(basic: Element): readonly Element[] {
  const data = elementsOf(basic)[0];
  const fields = data === undefined ? [] : elementsOf(data);
  const responder = fields.findIndex(({ tag }) => RESPONDERS.includes(tag));
  const list = responder < 0 ? undefined : fields[responder + 2];
  return list === undefined ? [] : elementsOf(list);
}
