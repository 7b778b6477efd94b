/** Questions to the person at the terminal. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { ProxyError } from "../errors.ts";

/** Asks; a hidden answer is not echoed. Rejects with ProxyError `code` and `instead` where there is nobody to ask, or no answer. */
export async function ask(question: string, hidden: boolean, code: string, instead: string): Promise<string> {
  const refuse = (why: string): ProxyError => new ProxyError(code, "config", `${why}: ${instead}`);
  if (!process.stdin.isTTY) throw refuse("no terminal to ask at");
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: hidden ? silent : process.stderr, terminal: true });
  try {
    return await new Promise((resolve, reject) => {
      // Ctrl+C and Ctrl+D.
      lines.once("close", () => reject(refuse("no answer")));
      lines.question("").then(resolve, reject);
      // Last: what is typed at once is not echoed either.
      process.stderr.write(question);
    });
  } finally {
    lines.close();
    if (hidden) process.stderr.write("\n");
  }
}
