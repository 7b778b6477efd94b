/** `/certs`: admin.v3.Certificates in protobuf JSON. */
import type { CertificateStatus, TlsContextStatus } from "../tls/certificate-status.ts";

const DAY_MS = 86_400_000;
/** Members of admin.v3.SubjectAlternateName; it has none for other kinds. */
const MEMBERS: Readonly<Record<string, string>> = { DNS: "dns", URI: "uri", IP_ADDRESS: "ip_address" };

/** A context that knows no certificate is left out. */
export function certsJson(contexts: readonly TlsContextStatus[], nowMs: number): object {
  return {
    certificates: contexts
      .filter(({ trusted, shown }) => trusted.length + shown.length > 0)
      .map(({ trusted, shown }) => ({
        ca_cert: trusted.map((one) => certificateJson(one, nowMs)),
        cert_chain: shown.map((one) => certificateJson(one, nowMs)),
      })),
  };
}

function certificateJson(certificate: CertificateStatus, nowMs: number): object {
  const { path, serial, names, notBeforeMs, notAfterMs, ocsp } = certificate;
  return {
    path: path === "" ? "<inline>" : path,
    serial_number: serial,
    subject_alt_names: names.flatMap(({ type, value }) => {
      const member = MEMBERS[type];
      return member === undefined ? [] : [{ [member]: value }];
    }),
    // A 64-bit number; one that has expired has no days left.
    days_until_expiration: String(Math.max(0, Math.floor((notAfterMs - nowMs) / DAY_MS))),
    valid_from: time(notBeforeMs),
    expiration_time: time(notAfterMs),
    ...(ocsp === null ? {} : { ocsp_details: { valid_from: time(ocsp.fromMs), expiration: time(ocsp.untilMs) } }),
  };
}

/** Without a fraction of a second, as certificates have none. */
function time(ms: number): string {
  return Number.isNaN(ms) ? "" : new Date(ms).toISOString().replace(".000Z", "Z");
}
