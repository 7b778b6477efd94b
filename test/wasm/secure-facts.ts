/** TLS of a connection, made up: both sides have a certificate. */
import type { CertificateFacts, SecureFacts } from "../../runtime/observe/stream-info.ts";

function certificate(name: string): CertificateFacts {
  return {
    subject: `CN=${name}`,
    issuer: "CN=ca",
    serial: "0a",
    sha256: `sha256 of ${name}`,
    sha1: "",
    notBeforeMs: 0,
    notAfterMs: 1,
    pem: `-----BEGIN CERTIFICATE-----\n${name}+/=\n-----END CERTIFICATE-----\n`,
    namesOf: (kind) => (kind === "URI" || kind === "DNS" ? [`${kind}:${name}`, "another"] : []),
  };
}

export const SECURE: SecureFacts = {
  version: "TLSv1.3",
  cipher: "TLS_AES_128_GCM_SHA256",
  sessionId: "",
  alpn: "",
  serverName: "host",
  local: certificate("here"),
  peer: certificate("there"),
  peerChainPem: "",
  peerValidated: true,
};
