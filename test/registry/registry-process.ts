/** A real registry (Debian's docker-registry) in a folder of its own: open, with passwords, or with tokens. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, createHash, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../bench/processes.ts";

export const USER = "gate";
export const PASSWORD = "kee:per";
/** USER and PASSWORD as htpasswd writes them (bcrypt). */
export type Access = "open" | "basic" | "token";

export interface Registry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Scopes that tokens were asked for, and by whom. */
  readonly tokensAsked: { readonly scope: string; readonly user: string }[];
  stop(): Promise<void>;
}

export async function startRegistry(access: Access = "open"): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-registry-"));
  const port = await freePort();
  const lines = [
    "version: 0.1",
    "log: {level: error}",
    `storage: {filesystem: {rootdirectory: ${folder}/data}, delete: {enabled: true}}`,
    `http: {addr: 127.0.0.1:${port}, relativeurls: true}`,
  ];
  const tokensAsked: Registry["tokensAsked"] = [];
  let service: Server | undefined;
  if (access === "basic") {
    writeFileSync(join(folder, "htpasswd"), htpasswd());
    lines.push(`auth: {htpasswd: {realm: gate, path: ${folder}/htpasswd}}`);
  } else if (access === "token") {
    const made = await tokenService(folder, tokensAsked);
    service = made;
    const realm = `http://127.0.0.1:${(made.address() as AddressInfo).port}/token`;
    lines.push(`auth: {token: {realm: ${realm}, service: registry, issuer: tests, rootcertbundle: ${folder}/ca.pem}}`);
  }
  const file = join(folder, "config.yml");
  writeFileSync(file, `${lines.join("\n")}\n`);
  const child = spawn("docker-registry", ["serve", file], { stdio: ["ignore", "ignore", "inherit"] });
  await listening(child, port);
  return {
    host: `127.0.0.1:${port}`,
    tokensAsked,
    async stop() {
      child.kill();
      await once(child, "exit");
      service?.close();
      service?.closeAllConnections();
      rmSync(folder, { recursive: true });
    },
  };
}

/** bcrypt of PASSWORD, made by the machine's own tool where there is one. */
function htpasswd(): string {
  // crypt(3) of Debian knows bcrypt; Perl is part of every Debian.
  const salt = "$2y$05$abcdefghijklmnopqrstuu";
  const hash = execFileSync("perl", ["-e", "print crypt($ARGV[0], $ARGV[1])", PASSWORD, salt], { encoding: "utf8" });
  return `${USER}:${hash}\n`;
}

/** The other half of token authentication: anonymous may pull, USER may do all that is asked for. */
async function tokenService(folder: string, asked: Registry["tokensAsked"]): Promise<Server> {
  const key = join(folder, "ca.key");
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      key,
      "-out",
      join(folder, "ca.pem"),
      "-subj",
      "/CN=tests",
      "-days",
      "2",
    ],
    { stdio: "ignore" },
  );
  const pem = readFileSync(key, "utf8");
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://tokens");
    const given = Buffer.from(request.headers.authorization?.replace(/^Basic /, "") ?? "", "base64").toString();
    const known = given === `${USER}:${PASSWORD}`;
    if (given !== "" && !known) {
      response.writeHead(401).end();
      return;
    }
    const scope = url.searchParams.get("scope") ?? "";
    asked.push({ scope, user: known ? USER : "" });
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ token: jwt(pem, scope, known), expires_in: 300 }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function jwt(pem: string, scope: string, known: boolean): string {
  const der = createPublicKey(pem).export({ type: "spki", format: "der" });
  const hash = createHash("sha256").update(der).digest().subarray(0, 30);
  const kid = base32(hash).match(/.{4}/g)!.join(":");
  const [type, name, actions] = scope.split(":");
  const allowed = (actions ?? "").split(",").filter((action) => known || action === "pull");
  const now = Math.floor(Date.now() / 1000);
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = part({ typ: "JWT", alg: "RS256", kid });
  const body = part({
    iss: "tests",
    sub: known ? USER : "",
    aud: "registry",
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: String(Math.random()),
    access: name === undefined ? [] : [{ type, name, actions: allowed }],
  });
  return `${head}.${body}.${sign("sha256", Buffer.from(`${head}.${body}`), createPrivateKey(pem)).toString("base64url")}`;
}

function base32(bytes: Buffer): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = "";
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  return bits
    .match(/.{5}/g)!
    .map((five) => letters[Number.parseInt(five, 2)])
    .join("");
}

/** Resolves once it answers. Who waits for ever is ended by the test's time limit. */
async function listening(child: ChildProcess, port: number): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      await fetch(`http://127.0.0.1:${port}/v2/`);
      return;
    } catch {
      await sleep(50);
    }
  }
  throw new Error(`docker-registry ended with ${child.exitCode ?? child.signalCode}`);
}
