/** The sidecar sample as an operator runs it, in network namespaces: applications that know of no proxy, and the proxy beside them. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Namespace } from "../listener/namespaces.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const SLUICE = `${ROOT}runtime/cli/sluice.js`;
export const SAMPLE = `${ROOT}samples/sidecar/`;
/** What runs beside the proxy; the proxy is known by its group, so that it can read this checkout wherever that lies. */
export const APPLICATION = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const PROXY = ["setpriv", "--regid=1337", "--clear-groups"];

/** An HTTP server of a machine: tells who asked it for what, and speaks another protocol when asked to. */
export const WEB = `
  const http = require("node:http");
  const plain = (address) => address.replace("::ffff:", "");
  http.createServer((request, response) => {
    const { localAddress, localPort, remoteAddress } = request.socket;
    const marked = request.headers["x-evangelist"];
    response.end("application " + plain(localAddress) + " " + localPort + " for " + marked + " from " + plain(remoteAddress));
  }).on("upgrade", (request, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n");
    socket.on("data", (data) => socket.end(data + " for " + request.headers["x-evangelist"]));
  }).listen(8080, "::", () => console.log("ready"));
`;

export interface Sidecar {
  readonly namespace: Namespace;
  readonly process: ChildProcess;
  /** Access logs. */
  log(): string;
}

/** `sluice sidecar iptables` on a machine: its output. Throws with what it complained of. */
export function iptables(machine: Namespace, ...args: readonly string[]): string {
  return machine.run(process.execPath, SLUICE, "sidecar", "iptables", ...args);
}

/** The proxy beside the application of a machine, with the sample's configuration, which `change` may edit. */
export async function startSidecar(
  t: TestContext,
  namespace: Namespace,
  change?: (text: string) => string,
): Promise<Sidecar> {
  let file = `${SAMPLE}sluice.yaml`;
  if (change !== undefined) {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const text = change(readFileSync(file, "utf8")).replaceAll("../../build", `${ROOT}build`);
    file = join(folder, "sluice.yaml");
    writeFileSync(file, text);
  }
  const command = namespace.command(...PROXY, process.execPath, SLUICE, "run", "-c", file, "--concurrency", "2");
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let out = "";
  let err = "";
  child.stdout.on("data", (piece: Buffer) => (out += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (err += piece.toString()));
  await until(() => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(err);
    return err.includes("live after");
  });
  return { namespace, process: child, log: () => out };
}

/** Whoever waits for ever is ended by the test's time limit. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}
