/** Docker's credential helpers: programs `docker-credential-NAME` that keep what belongs into no file (docker-credential-helpers). */
import { execFile } from "node:child_process";
import { CREDENTIAL_HELPER_GRACE_MS, CREDENTIAL_HELPER_MS, MAX_SHOWN_ANSWER } from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { ProxyError } from "../errors.ts";

/** The user name that stands for: the password is an OAuth2 refresh token. */
const TOKEN = "<token>";

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** An OAuth2 refresh token instead of a password. */
  readonly identityToken?: string;
}

/** What a token is kept as. */
export function tokenCredentials(identityToken: string): Credentials {
  return { username: TOKEN, password: "", identityToken };
}

/** A helper by the name that a file of Docker's gives it. All reject with ProxyError ARTIFACT_CREDENTIALS. */
export class CredentialHelper {
  readonly program: string;

  /** Throws ProxyError ARTIFACT_CREDENTIALS for a name that would lead elsewhere. */
  constructor(name: string) {
    if (!/^[\w.-]+$/.test(name)) throw credentialsError("credential helper", `"${name}" is no name of a program`);
    this.program = `docker-credential-${name}`;
  }

  /** What it keeps for a registry, undefined when that is nothing. */
  async get(registry: string): Promise<Credentials | undefined> {
    const told = await this.#run("get", registry);
    if (told === undefined) return undefined;
    const found = readAnswer(told);
    if (found === undefined) throw credentialsError(this.program, "it printed no credentials");
    return found;
  }

  async store(registry: string, { username, password }: Credentials): Promise<void> {
    await this.#run("store", JSON.stringify({ ServerURL: registry, Username: username, Secret: password }));
  }

  async erase(registry: string): Promise<void> {
    await this.#run("erase", registry);
  }

  /** What it printed; undefined when it says that it has no such credentials. */
  #run(action: "get" | "store" | "erase", input: string): Promise<string | undefined> {
    const { program } = this;
    return new Promise((resolve, reject) => {
      const slow = (): void => reject(credentialsError(program, `it did not answer within ${CREDENTIAL_HELPER_MS} ms`));
      // SIGKILL: one that hangs may take no notice of less.
      const options = { timeout: CREDENTIAL_HELPER_MS, killSignal: "SIGKILL" } as const;
      const child = execFile(program, [action], options, (error, stdout, stderr) => {
        clearTimeout(timer);
        if (error === null) {
          resolve(stdout);
          return;
        }
        // It says on standard output what is wrong; so it must not be shown whole, whatever it is.
        const told = shownText(`${stdout}${stderr}`.trim(), MAX_SHOWN_ANSWER);
        if (/credentials not found/i.test(told)) resolve(undefined);
        else if (error.killed === true) slow();
        else if (error.code === "ENOENT")
          reject(credentialsError(program, `there is no such program on the PATH (${action})`));
        else reject(credentialsError(program, `${action}: ${told || error.message}`));
      });
      // What it has started may hold its output open beyond its own end.
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        child.stdout?.destroy();
        child.stderr?.destroy();
        slow();
      }, CREDENTIAL_HELPER_MS + CREDENTIAL_HELPER_GRACE_MS);
      timer.unref();
      child.stdin?.on("error", () => {});
      child.stdin?.end(input);
    });
  }
}

function readAnswer(stdout: string): Credentials | undefined {
  try {
    const { Username, Secret } = (JSON.parse(stdout) ?? {}) as Record<string, unknown>;
    if (typeof Username !== "string" || typeof Secret !== "string") return undefined;
    return Username === TOKEN ? tokenCredentials(Secret) : { username: Username, password: Secret };
  } catch {
    // Not told why: a parser's message could quote a password.
    return undefined;
  }
}

export function credentialsError(where: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CREDENTIALS", "config", `${where}: ${why}`);
}
