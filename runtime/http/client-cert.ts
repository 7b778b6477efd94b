/**
 * `x-forwarded-client-cert`: what a proxy in front, or this one, knows of the client's certificate
 * (Envoy: `mutateXfccRequestHeader`; HttpConnectionManager.forward_client_cert_details).
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { ClientCertForwarding } from "../config/snapshot.ts";
import type { CertificateFacts, ConnectionInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";

export const CLIENT_CERT_HEADER = "x-forwarded-client-cert";

/** Changes the header of a request as the mode has it. Absent configuration: SANITIZE. */
export function forwardClientCert(
  headers: HeaderMap,
  { secure }: ConnectionInfo,
  config: ClientCertForwarding | undefined,
): void {
  const mode = config?.mode ?? "SANITIZE";
  if (mode === "ALWAYS_FORWARD_ONLY") return;
  const peer = secure?.peer ?? null;
  if (mode === "SANITIZE" || secure === undefined || peer === null) {
    // Whoever shows no certificate has no word in this.
    headers.remove(CLIENT_CERT_HEADER);
    return;
  }
  if (mode === "FORWARD_ONLY") return;
  const parts = (secure.local?.namesOf("URI") ?? []).map((uri) => `By=${uri}`);
  parts.push(`Hash=${peer.sha256}`);
  for (const detail of config!.details) parts.push(...detailsOf(detail, peer, secure.peerChainPem));
  const own = wireText(parts.join(";"));
  const before = mode === "APPEND_FORWARD" ? headers.joined(CLIENT_CERT_HEADER) : undefined;
  headers.set(CLIENT_CERT_HEADER, before === undefined || before === "" ? own : `${before},${own}`);
}

function detailsOf(
  detail: ClientCertForwarding["details"][number],
  peer: CertificateFacts,
  chainPem: string,
): readonly string[] {
  switch (detail) {
    case "cert":
      return [`Cert="${encodeURIComponent(peer.pem)}"`];
    case "chain":
      return [`Chain="${encodeURIComponent(chainPem)}"`];
    case "subject":
      return [`Subject="${peer.subject}"`];
    case "uri": {
      const uris = peer.namesOf("URI");
      // The key stands there even when there is none.
      return uris.length === 0 ? ["URI="] : uris.map((uri) => `URI=${uri}`);
    }
    case "dns":
      return peer.namesOf("DNS").map((name) => `DNS=${name}`);
  }
}
