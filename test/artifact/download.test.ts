/** One file over HTTP: from nginx in each way that an endpoint can be reached, and every way that it can go wrong. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { after, before, describe, test } from "node:test";
import { download } from "../../runtime/artifact/download.ts";
import type { Download } from "../../runtime/artifact/download.ts";
import type { ClusterConfig } from "../../runtime/config/snapshot.ts";
import { freePort } from "../bench/processes.ts";
import { cluster } from "../http/engine.ts";
import { exactName, source, upstreamTls, validation } from "../tls/contexts.ts";
import { RecordingLog, RecordingStats } from "../wasm/stage.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-download-"));
const CODE = Buffer.from("some code ".repeat(1000));
const ports = { plain: 0, h2c: 0, tls: 0 };
const socket = join(folder, "nginx.sock");
let nginx: ReturnType<typeof spawn>;

async function accepts(target: { port: number } | { path: string }): Promise<void> {
  for (;;) {
    const probe = connect(target as { port: number });
    try {
      await once(probe, "connect");
      return;
    } catch (error) {
      if (!["ECONNREFUSED", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    } finally {
      probe.destroy();
    }
    if (nginx.exitCode !== null) throw new Error(`nginx ended with ${nginx.exitCode}`);
    await sleep(10);
  }
}

before(async () => {
  for (const name of ["plain", "h2c", "tls"] as const) ports[name] = await freePort();
  mkdirSync(join(folder, "www"));
  writeFileSync(join(folder, "www/guest.wasm"), CODE);
  const key = join(folder, "key.pem");
  const certificate = join(folder, "cert.pem");
  const subject = ["-subj", "/CN=modules.test", "-addext", "subjectAltName=DNS:modules.test", "-days", "2", "-nodes"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate, ...subject], { stdio: "ignore" }); // prettier-ignore
  setDefaultCACertificates([...getCACertificates("default"), readFileSync(certificate, "utf8")]);
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events {}
    http { access_log off; root ${folder}/www;
      client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
      server { listen 127.0.0.1:${ports.plain}; listen unix:${socket}; server_name modules.test; location /moved { return 302 /guest.wasm; } }
      server { listen 127.0.0.1:${ports.plain} default_server; server_name other; return 421; }
      server { listen 127.0.0.1:${ports.h2c} http2; server_name modules.test; }
      server { listen 127.0.0.1:${ports.tls} ssl http2; server_name modules.test; ssl_certificate ${certificate}; ssl_certificate_key ${key}; } }`,
  );
  nginx = spawn("nginx", ["-e", "stderr", "-p", folder, "-c", join(folder, "nginx.conf")], { stdio: "inherit" });
  for (const port of Object.values(ports)) await accepts({ port });
  await accepts({ path: socket });
});
after(async () => {
  nginx.kill("SIGKILL");
  await once(nginx, "exit");
  rmSync(folder, { recursive: true });
});

function fetching(from: ClusterConfig, more: Partial<Download> = {}, turn = 0): Promise<Buffer> {
  const base = {
    uri: "http://modules.test/guest.wasm",
    timeoutMs: 60_000,
    maxBytes: 1_000_000,
    signal: new AbortController().signal,
    environment: { stats: new RecordingStats(), log: new RecordingLog() },
  };
  return download({ ...base, cluster: from, ...more }, turn);
}

function pipe(path: string): ClusterConfig {
  const [endpoint] = cluster("c", [1]).endpoints;
  return { ...cluster("c", []), endpoints: [{ ...endpoint!, address: { kind: "pipe", path, mode: 0 } }] };
}

/** A server of the test's own, which answers as nginx would not. */
async function misbehaving(answer: RequestListener): Promise<ClusterConfig> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return cluster("c", [(server.address() as AddressInfo).port]);
}

describe("from nginx", () => {
  test("plain HTTP, with the URI's host and path to the cluster's endpoint", async () => {
    assert.deepEqual(await fetching(cluster("c", [ports.plain])), CODE);
    const elsewhere = fetching(cluster("c", [ports.plain]), { uri: "http://else.test/guest.wasm" });
    await assert.rejects(elsewhere, /DOWNLOAD_STATUS: .*status 421$/);
  });

  test("over a socket file", async () => assert.deepEqual(await fetching(pipe(socket)), CODE));

  test("HTTP/2 without TLS", async () => {
    assert.deepEqual(await fetching(cluster("c", [ports.h2c], { protocol: "HTTP2" })), CODE);
  });

  for (const protocol of ["HTTP1", "HTTP2"] as const) {
    test(`TLS, whose certificate is checked for the URI's host, ${protocol}`, async () => {
      const from = cluster("c", [ports.tls], { protocol });
      assert.deepEqual(await fetching(from, { uri: "https://modules.test/guest.wasm" }), CODE);
      const wrong = fetching(from, { uri: "https://else.test/guest.wasm" });
      await assert.rejects(wrong, /DOWNLOAD_BROKEN: .*(altnames|Hostname)/);
    });
  }

  for (const protocol of ["HTTP1", "HTTP2"] as const) {
    test(`the cluster's own TLS decides over trust and name, ${protocol}`, async () => {
      const own = (name: string, sni = "modules.test"): ClusterConfig => {
        const trusted = { trustedCa: source(join(folder, "cert.pem")), sanMatchers: [exactName("DNS", name)] };
        const from = cluster("c", [ports.tls], {
          protocol,
          tls: [upstreamTls({ sni, validation: validation(trusted) })],
        });
        return { ...from, endpoints: from.endpoints.map((one) => ({ ...one, tls: 0 })) };
      };
      for (const scheme of ["http", "https"])
        assert.deepEqual(await fetching(own("modules.test"), { uri: `${scheme}://modules.test/guest.wasm` }), CODE);
      await assert.rejects(fetching(own("else.test")), /DOWNLOAD_BROKEN: .*(name|SAN|verif)/i);
    });
  }

  test("endpoints take turns, and the URI's port is none of theirs", async () => {
    const from = cluster("c", [await freePort(), ports.plain]);
    const uri = "http://modules.test:8080/guest.wasm";
    await assert.rejects(fetching(from, { uri }, 0), /DOWNLOAD_UNREACHABLE: .*ECONNREFUSED/);
    assert.deepEqual(await fetching(from, { uri }, 1), CODE);
    await assert.rejects(fetching(from, { uri }, 2), /DOWNLOAD_UNREACHABLE/);
  });
});

describe("refused with the reason", () => {
  test("no such file, and a redirect, which is not followed", async () => {
    const from = cluster("c", [ports.plain]);
    const at = `from 127.0.0.1:${ports.plain}`;
    await assert.rejects(fetching(from, { uri: "http://modules.test/no.wasm?a=b" }), { message: `DOWNLOAD_STATUS: http://modules.test/no.wasm?a=b ${at}: status 404` }); // prettier-ignore
    await assert.rejects(fetching(from, { uri: "http://modules.test/moved" }), /DOWNLOAD_STATUS: .*status 302$/);
  });

  test("too many bytes, announced or not", async () => {
    const from = cluster("c", [ports.plain]);
    assert.equal((await fetching(from, { maxBytes: CODE.length })).length, CODE.length);
    const bound = CODE.length - 1;
    await assert.rejects(fetching(from, { maxBytes: bound }), new RegExp(`DOWNLOAD_TOO_LARGE: .*more than ${bound} bytes$`)); // prettier-ignore
    const endless = await misbehaving((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(CODE));
      };
      response.on("drain", more);
      more();
    });
    await assert.rejects(fetching(endless, { maxBytes: 100_000 }), /DOWNLOAD_TOO_LARGE/);
  });

  test("too late: no answer at all, and one that does not end", async () => {
    const silent = await misbehaving(() => {});
    await assert.rejects(fetching(silent, { timeoutMs: 50 }), /DOWNLOAD_TIMEOUT: .*no whole answer within 50 ms$/);
    const slow = await misbehaving((_request, response) => void response.write("a"));
    await assert.rejects(fetching(slow, { timeoutMs: 50 }), /DOWNLOAD_TIMEOUT/);
  });

  test("given up", async () => {
    const silent = await misbehaving(() => {});
    const end = new AbortController();
    const fetched = fetching(silent, { timeoutMs: 0, signal: end.signal });
    setImmediate(() => end.abort());
    await assert.rejects(fetched, /DOWNLOAD_GIVEN_UP/);
  });

  test("broken off, no HTTP, no endpoint, no socket file", async () => {
    const broken = await misbehaving((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("half", () => response.destroy());
    });
    await assert.rejects(fetching(broken), /DOWNLOAD_BROKEN/);
    const mute = await misbehaving((request) => request.socket.end("what?\n"));
    await assert.rejects(fetching(mute), /DOWNLOAD_BROKEN/);
    await assert.rejects(fetching(cluster("c", [])), /DOWNLOAD_UNREACHABLE: .*the cluster c has no endpoint/);
    await assert.rejects(fetching(pipe(join(folder, "no.sock"))), /DOWNLOAD_UNREACHABLE: .*ENOENT/);
  });
});
