/** `/certs` in Envoy's form. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { certsJson } from "../../runtime/control/certs-page.ts";
import type { CertificateStatus } from "../../runtime/tls/certificate-status.ts";

test("one entry for each context that has certificates; days are whole and never below zero", () => {
  const one: CertificateStatus = {
    path: "/etc/tls.crt",
    secret: undefined,
    serial: "1f",
    names: [
      { type: "DNS", value: "a.test" },
      { type: "URI", value: "spiffe://t/a" },
      { type: "IP_ADDRESS", value: "192.0.2.1" },
      { type: "EMAIL", value: "a@a.test" },
    ],
    notBeforeMs: Date.UTC(2026, 0, 1),
    notAfterMs: Date.UTC(2026, 0, 31, 12),
    ocsp: { fromMs: Date.UTC(2026, 0, 2), untilMs: Date.UTC(2026, 0, 9) },
  };
  const contexts = [
    { trusted: [], shown: [] },
    { trusted: [{ ...one, path: "", ocsp: null }], shown: [one] },
  ];
  const json = certsJson(contexts, Date.UTC(2026, 0, 11)) as { certificates: object[] };
  const common = {
    serial_number: "1f",
    subject_alt_names: [{ dns: "a.test" }, { uri: "spiffe://t/a" }, { ip_address: "192.0.2.1" }],
    days_until_expiration: "20",
    valid_from: "2026-01-01T00:00:00Z",
    expiration_time: "2026-01-31T12:00:00Z",
  };
  assert.deepEqual(json.certificates, [
    {
      ca_cert: [{ path: "<inline>", ...common }],
      cert_chain: [
        {
          path: "/etc/tls.crt",
          ...common,
          ocsp_details: { valid_from: "2026-01-02T00:00:00Z", expiration: "2026-01-09T00:00:00Z" },
        },
      ],
    },
  ]);
  const late = JSON.stringify(certsJson(contexts, Date.UTC(2027, 0, 1)));
  assert.match(late, /"days_until_expiration":"0"/);
});
