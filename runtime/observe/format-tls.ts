/** The commands of format strings about TLS: versions, ciphers and certificates of both sides of a connection. */
import type { CertificateFacts, SanKind, SecureFacts, StreamInfo } from "./stream-info.ts";
import { compileTime, isoTime } from "./time-format.ts";
import { wireText } from "./wire-text.ts";

type Text = string | undefined;
type Read = (info: StreamInfo) => Text;
/** Makes the reader of a command; `clean` escapes what a peer chose. */
type TlsCommand = (argument: Text, clean: (text: string) => string) => Read;

const some = (text: Text): Text => (text === "" ? undefined : text);

/** A command on one certificate; `peerOnly`: there is none for the local one. */
const CERTIFICATE: Readonly<
  Record<string, { readonly peerOnly: boolean; readonly read: (one: CertificateFacts) => string }>
> = {
  SUBJECT: { peerOnly: false, read: (one) => wireText(one.subject) },
  URI_SAN: { peerOnly: false, read: sans("URI") },
  DNS_SAN: { peerOnly: false, read: sans("DNS") },
  IP_SAN: { peerOnly: false, read: sans("IP_ADDRESS") },
  EMAIL_SAN: { peerOnly: false, read: sans("EMAIL") },
  OTHERNAME_SAN: { peerOnly: false, read: sans("OTHER_NAME") },
  ISSUER: { peerOnly: true, read: (one) => wireText(one.issuer) },
  SERIAL: { peerOnly: true, read: (one) => one.serial },
  FINGERPRINT_256: { peerOnly: true, read: (one) => one.sha256 },
  FINGERPRINT_1: { peerOnly: true, read: (one) => one.sha1 },
  CERT: { peerOnly: true, read: (one) => encodeURIComponent(one.pem) },
};

function sans(kind: SanKind): (one: CertificateFacts) => string {
  return (one) => wireText(one.namesOf(kind).join(","));
}

/** The commands of one side; `read` finds its TLS. */
function commandsOf(
  side: "DOWNSTREAM" | "UPSTREAM",
  read: (info: StreamInfo) => SecureFacts | null,
): [string, TlsCommand][] {
  const commands: [string, TlsCommand][] = [
    [`${side}_TLS_VERSION`, () => (info) => some(read(info)?.version)],
    [`${side}_TLS_CIPHER`, () => (info) => some(read(info)?.cipher)],
    [`${side}_TLS_SESSION_ID`, () => (info) => some(read(info)?.sessionId)],
    [`${side}_PEER_CERT_V_START`, time((info) => read(info)?.peer?.notBeforeMs)],
    [`${side}_PEER_CERT_V_END`, time((info) => read(info)?.peer?.notAfterMs)],
  ];
  for (const [name, { peerOnly, read: text }] of Object.entries(CERTIFICATE)) {
    commands.push([`${side}_PEER_${name}`, onCertificate((info) => read(info)?.peer, text)]);
    if (!peerOnly) commands.push([`${side}_LOCAL_${name}`, onCertificate((info) => read(info)?.local, text)]);
  }
  return commands;
}

function onCertificate(
  find: (info: StreamInfo) => CertificateFacts | null | undefined,
  text: (one: CertificateFacts) => string,
): TlsCommand {
  return (_argument, clean) => (info) => {
    const certificate = find(info);
    const value = certificate == null ? undefined : some(text(certificate));
    return value === undefined ? undefined : clean(value);
  };
}

function time(read: (info: StreamInfo) => number | undefined): TlsCommand {
  return (argument) => {
    const print = argument === undefined || argument === "" ? isoTime : compileTime(argument, false);
    return (info) => {
      const millis = read(info);
      return millis === undefined || Number.isNaN(millis) ? undefined : wireText(print(millis));
    };
  };
}

/** By name. Only `…_CERT_V_START` and `…_CERT_V_END` take an argument, a time format. */
export const TLS_COMMANDS: ReadonlyMap<string, TlsCommand> = new Map<string, TlsCommand>([
  ...commandsOf("DOWNSTREAM", (info) => info.connection.secure ?? null),
  ...commandsOf("UPSTREAM", (info) => info.upstreamSecure),
  ["TLS_JA3_FINGERPRINT", () => (info) => some(info.connection.ja3)],
  ["TLS_JA4_FINGERPRINT", () => (info) => some(info.connection.ja4)],
  ["DOWNSTREAM_TRANSPORT_FAILURE_REASON", () => (info) => some(info.downstreamTransportFailure.replaceAll(" ", "_"))],
]);

export function takesArgument(name: string): boolean {
  return name.endsWith("_CERT_V_START") || name.endsWith("_CERT_V_END");
}
