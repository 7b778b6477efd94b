/**
 * Failures of TLS in the words that Envoy's logs have, for UPSTREAM_TRANSPORT_FAILURE_REASON and its downstream twin:
 * `TLS_error:|<number>:SSL routines:OPENSSL_internal:<REASON>:TLS_error_end`. Numbers are those of BoringSSL
 * (its library number 16, shifted, and the reason), since people search for them.
 */
const SSL_LIBRARY = 16 * 2 ** 24;
const CERTIFICATE_VERIFY_FAILED = 125;
/** BoringSSL numbers the alerts of the other side from here on, as OpenSSL does. */
const ALERTS = 1000;

/** Reasons of BoringSSL by OpenSSL's text, for what is no alert. */
const REASONS: Readonly<Record<string, readonly [number, string]>> = {
  "wrong version number": [247, "WRONG_VERSION_NUMBER"],
  "packet length too long": [145, "ENCRYPTED_LENGTH_TOO_LONG"],
  "http request": [156, "HTTP_REQUEST"],
  "https proxy request": [157, "HTTPS_PROXY_REQUEST"],
  "no shared cipher": [184, "NO_SHARED_CIPHER"],
  "unsupported protocol": [240, "UNSUPPORTED_PROTOCOL"],
  "no suitable signature algorithm": [253, "NO_COMMON_SIGNATURE_ALGORITHMS"],
  "unexpected message": [244, "UNEXPECTED_MESSAGE"],
  "decryption failed or bad record mac": [139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"],
};

/** Alerts (RFC 8446 section 6) as BoringSSL calls them. */
const ALERT_NAMES: Readonly<Record<number, string>> = {
  10: "SSLV3_ALERT_UNEXPECTED_MESSAGE",
  20: "SSLV3_ALERT_BAD_RECORD_MAC",
  21: "TLSV1_ALERT_DECRYPTION_FAILED",
  22: "TLSV1_ALERT_RECORD_OVERFLOW",
  40: "SSLV3_ALERT_HANDSHAKE_FAILURE",
  42: "SSLV3_ALERT_BAD_CERTIFICATE",
  43: "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
  44: "SSLV3_ALERT_CERTIFICATE_REVOKED",
  45: "SSLV3_ALERT_CERTIFICATE_EXPIRED",
  46: "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
  47: "SSLV3_ALERT_ILLEGAL_PARAMETER",
  48: "TLSV1_ALERT_UNKNOWN_CA",
  49: "TLSV1_ALERT_ACCESS_DENIED",
  50: "TLSV1_ALERT_DECODE_ERROR",
  51: "TLSV1_ALERT_DECRYPT_ERROR",
  70: "TLSV1_ALERT_PROTOCOL_VERSION",
  71: "TLSV1_ALERT_INSUFFICIENT_SECURITY",
  80: "TLSV1_ALERT_INTERNAL_ERROR",
  86: "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
  90: "TLSV1_ALERT_USER_CANCELLED",
  100: "TLSV1_ALERT_NO_RENEGOTIATION",
  112: "TLSV1_ALERT_UNRECOGNIZED_NAME",
  116: "TLSV1_ALERT_CERTIFICATE_REQUIRED",
  120: "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
};

function framed(reason: number, name: string): string {
  return `TLS_error:|${SSL_LIBRARY + reason}:SSL routines:OPENSSL_internal:${name}:TLS_error_end`;
}

/** The other side's certificate was refused; `details` says why. */
export function verificationText(details: string): string {
  return framed(CERTIFICATE_VERIFY_FAILED, `CERTIFICATE_VERIFY_FAILED:${details}`);
}

/** A certificate was required and none came. */
export function noCertificateText(): string {
  return framed(192, "PEER_DID_NOT_RETURN_A_CERTIFICATE");
}

/** A server name was required and none was asked for; BoringSSL has no reason of its own for it. */
export function noServerNameText(): string {
  return framed(0, "NO_SERVER_NAME");
}

/** The other side's certificate was used against its key usage. */
export function keyUsageText(): string {
  return framed(0, "KEY_USAGE_BIT_INCORRECT");
}

/** An error of a handshake as Node emits it; "" when the connection merely ended, which is no failure of TLS. */
export function handshakeErrorText(error: Error): string {
  const { code = "", reason = "" } = error as NodeJS.ErrnoException & { readonly reason?: string };
  if (!code.startsWith("ERR_SSL_")) return "";
  const alert = /SSL alert number (\d+)/.exec(error.message)?.[1];
  const name = code.slice("ERR_SSL_".length);
  if (alert !== undefined) return framed(ALERTS + Number(alert), ALERT_NAMES[Number(alert)] ?? name);
  const known = REASONS[reason];
  return known === undefined ? framed(0, name) : framed(...known);
}
