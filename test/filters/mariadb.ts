/** A MariaDB server of a test's own: data in a temporary folder, a unix socket, TLS, and Debian's client to talk to it. */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Said {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function must(program: string, args: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (error !== undefined || status !== 0) throw new Error(`${program}: ${error?.message ?? ""}\n${stdout}\n${stderr}`);
}

export class MariaDb {
  readonly socket: string;
  readonly #folder: string;
  readonly #process: ChildProcess;
  #output = "";

  private constructor(folder: string) {
    this.#folder = folder;
    this.socket = join(folder, "db.sock");
    const data = join(folder, "data");
    must("mariadb-install-db", [
      "--no-defaults",
      `--datadir=${data}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      "--skip-name-resolve",
      ...userOption(),
    ]);
    const key = join(folder, "key.pem");
    const certificate = join(folder, "cert.pem");
    const subject = ["-subj", "/CN=db", "-days", "2"];
    must("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, ...subject]);
    this.#process = spawn(
      "mariadbd",
      [
        "--no-defaults",
        `--datadir=${data}`,
        `--socket=${this.socket}`,
        `--pid-file=${join(folder, "pid")}`,
        "--skip-networking",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=16M",
        "--max-allowed-packet=64M",
        "--local-infile=1",
        "--plugin-load-add=auth_ed25519",
        `--ssl-key=${key}`,
        `--ssl-cert=${certificate}`,
        ...userOption(),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    for (const stream of [this.#process.stdout!, this.#process.stderr!])
      stream.on("data", (data: Buffer) => (this.#output += data.toString()));
  }

  /** Resolves when it answers. Throws what it printed when it ends instead. */
  static async start(): Promise<MariaDb> {
    const server = new MariaDb(mkdtempSync(join(tmpdir(), "mariadb-")));
    while (!server.#output.includes("ready for connections")) {
      if (server.#process.exitCode !== null) throw new Error(`mariadbd ended: ${server.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return server;
  }

  /** Runs SQL as root, past every proxy. Throws when the server refuses. */
  async administer(sql: string): Promise<string> {
    const { status, out, err } = await run(["--no-defaults", `--socket=${this.socket}`, "--user=root"], sql);
    if (status !== 0) throw new Error(err);
    return out;
  }

  /** Runs SQL through what listens at `ip:port`. */
  ask(address: string, options: readonly string[], sql: string): Promise<Said> {
    const [host = "", port = ""] = address.split(":");
    return run(["--no-defaults", `--host=${host}`, `--port=${port}`, "--protocol=tcp", ...options], sql);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.kill("SIGKILL");
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The server refuses to run as root unless told to. */
function userOption(): string[] {
  return process.getuid?.() === 0 ? ["--user=root"] : [];
}

function run(args: readonly string[], sql: string): Promise<Said> {
  return new Promise((resolve, reject) => {
    const client = spawn("mariadb", [...args, "--batch", "--skip-column-names"], { stdio: "pipe" });
    const parts: Record<"out" | "err", Buffer[]> = { out: [], err: [] };
    client.stdout.on("data", (data: Buffer) => parts.out.push(data));
    client.stderr.on("data", (data: Buffer) => parts.err.push(data));
    client.on("error", reject);
    client.on("close", (status) => {
      resolve({ status, out: Buffer.concat(parts.out).toString(), err: Buffer.concat(parts.err).toString() });
    });
    // A client that was refused does not read on.
    client.stdin.on("error", () => {});
    client.stdin.end(sql);
  });
}
