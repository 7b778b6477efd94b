/** `sluice run` as a process of its own, as tests use it: port 0, admin address from its file, output kept. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import type { Agent } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** Options of one listener's worth of bootstrap; routes are YAML flow mappings. */
export interface Sketch {
  readonly routes: readonly string[];
  readonly address?: string;
  readonly accessLog?: string;
  readonly httpFilters?: string;
  readonly clusters?: string;
}

/** A bootstrap with one HTTP listener on port 0 and admin on port 0. */
export function bootstrap({ routes, address, accessLog, httpFilters = "", clusters = "[]" }: Sketch): string {
  const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.${name}`;
  const log =
    accessLog === undefined
      ? ""
      : `access_log: [{ name: file, typed_config: { ${type("access_loggers.file.v3.FileAccessLog")}, path: "${accessLog}" } }]`;
  return `
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  clusters: ${clusters}
  listeners:
    - name: ingress
      address: ${address ?? "{ socket_address: { address: 127.0.0.1, port_value: 0 } }"}
      filter_chains:
        - filters:
            - name: hcm
              typed_config:
                ${type("filters.network.http_connection_manager.v3.HttpConnectionManager")}
                stat_prefix: ingress
                ${log}
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [${routes.join(", ")}]
                http_filters:
                  ${httpFilters}
                  - { name: router, typed_config: { ${type("filters.http.router.v3.Router")} } }
`;
}

export const OK_ROUTE = "{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ok } } }";

export class ProxyProcess {
  readonly process: ChildProcess;
  readonly folder = mkdtempSync(join(tmpdir(), "sluice-"));
  readonly exited: Promise<number | null>;
  /** stdout and stderr as they came. */
  output = "";
  admin = "";
  /** `ip:port` or path of the first listener. */
  address = "";
  #changed: (() => void)[] = [];
  /** It has ended, and all of its output is here. */
  #closed = false;

  /** `config` may need to know the folder; `launcher` is a program that runs the proxy, with its arguments. */
  constructor(
    config: string | ((folder: string) => string),
    args: readonly string[] = [],
    launcher: readonly string[] = [],
  ) {
    const path = join(this.folder, "bootstrap.yaml");
    writeFileSync(path, typeof config === "string" ? config : config(this.folder));
    const run = [BIN, "run", "-c", path, "--admin-address-path", join(this.folder, "admin"), ...args];
    const [program, ...all] = [...launcher, process.execPath, ...run];
    this.process = spawn(program!, all, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout!, this.process.stderr!])
      stream.on("data", (data) => this.#heard(String(data)));
    this.exited = new Promise((resolve) =>
      this.process.on("close", (status) => {
        this.#closed = true;
        resolve(status);
        this.#heard("");
      }),
    );
    after(async () => {
      this.process.kill("SIGKILL");
      await this.exited;
    });
  }

  /** Resolves when it serves. Throws what it printed when it ends instead. */
  async live(): Promise<this> {
    await this.printed("live after");
    this.admin = readFileSync(join(this.folder, "admin"), "utf8");
    const listeners = await this.get("/listeners", this.admin);
    this.address = listeners.body.split("\n")[0]!.split("::")[1]!;
    return this;
  }

  /** Resolves when the text has been printed since `from`, a former length of `output`. Throws when the process ends before. */
  async printed(text: string | RegExp, from = 0): Promise<void> {
    const found = (): boolean =>
      typeof text === "string" ? this.output.includes(text, from) : text.test(this.output.slice(from));
    while (!found()) {
      if (this.#closed)
        throw new Error(
          `ended with ${this.process.exitCode ?? this.process.signalCode} before ${text}: ${this.output}`,
        );
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
  }

  get(path: string, address = this.address): Promise<Answer> {
    return ask("GET", address, path);
  }

  post(path: string): Promise<Answer> {
    return ask("POST", this.admin, path);
  }

  #heard(text: string): void {
    this.output += text;
    for (const wake of this.#changed.splice(0)) wake();
  }
}

/** One request on a connection of its own, or of the agent. */
export function ask(
  method: string,
  address: string,
  path: string,
  agent: Agent | false = false,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const colon = address.lastIndexOf(":");
  const target = existsSync(address)
    ? { socketPath: address }
    : { host: address.slice(0, colon), port: address.slice(colon + 1) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, method, path, agent, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** Connects until nobody accepts: workers close their sockets one after the other. */
export async function untilRefused(address: string): Promise<void> {
  const [host, port] = address.split(":");
  for (;;) {
    const socket = connect(Number(port), host);
    const code = await new Promise<string>((resolve) => {
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code!));
      socket.on("close", () => resolve(""));
      socket.on("connect", () => socket.destroy());
    });
    if (code === "ECONNREFUSED") return;
  }
}
