/**
 * Network namespaces for tests: machines of their own, as far as addresses, routes and iptables go. Needs root.
 * They live in the kernel until the test is over, whatever becomes of it.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { TestContext } from "node:test";
import { promisify } from "node:util";

/** Debian keeps iptables and ip where only root looks. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
const run = promisify(execFile);
let made = 0;

export class Namespace {
  readonly name: string;

  constructor(t: TestContext, name: string) {
    this.name = `sluice-${process.pid}-${Math.round(performance.timeOrigin).toString(36)}-${made++}-${name}`;
    root("ip", "netns", "add", this.name);
    t.after(() => root("ip", "netns", "del", this.name));
    this.run("ip", "link", "set", "lo", "up");
  }

  /** The command line that runs a program here. */
  command(...program: readonly string[]): string[] {
    return ["ip", "netns", "exec", this.name, ...program];
  }

  /** Runs a program here to its end; throws with what it complained of. */
  run(...program: readonly string[]): string {
    return root(...this.command(...program));
  }

  /** The same without waiting: its output. */
  async ask(...program: readonly string[]): Promise<string> {
    const [file, ...rest] = this.command(...program);
    return (await run(file!, rest, { env: ENVIRONMENT })).stdout;
  }

  /** Starts a program here that ends with the test; resolves when it has printed something. */
  async start(t: TestContext, ...program: readonly string[]): Promise<ChildProcess> {
    const [file, ...rest] = this.command(...program);
    const child = spawn(file!, rest, { env: ENVIRONMENT, stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    await new Promise((resolve, reject) => {
      child.stdout.once("data", resolve);
      child.once("exit", (status) => reject(new Error(`${program[0]} ended with ${status}`)));
    });
    return child;
  }
}

/** A cable between two namespaces; each end is called `wire` and has the addresses given, `ip/bits`. */
export function connectNamespaces(
  [a, ...aAddresses]: readonly [Namespace, ...string[]],
  [b, ...bAddresses]: readonly [Namespace, ...string[]],
): void {
  root("ip", "link", "add", "wire", "netns", a.name, "type", "veth", "peer", "name", "wire", "netns", b.name);
  for (const [namespace, addresses] of [[a, aAddresses] as const, [b, bAddresses] as const]) {
    for (const address of addresses)
      namespace.run("ip", "addr", "add", address, "dev", "wire", ...(address.includes(":") ? ["nodad"] : []));
    namespace.run("ip", "link", "set", "wire", "up");
  }
  // The kernel makes routes of IPv6 once it has noticed, in a task of its own, that both ends are up.
  for (const [namespace, addresses] of [[a, aAddresses] as const, [b, bAddresses] as const]) {
    for (const address of addresses.filter((one) => one.includes("::"))) {
      const network = address.slice(0, address.indexOf("::") + 2);
      while (!namespace.run("ip", "-6", "route", "show", "dev", "wire").includes(network));
    }
  }
}

function root(...program: readonly string[]): string {
  const [file, ...rest] = program;
  return execFileSync(file!, rest, { env: ENVIRONMENT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
