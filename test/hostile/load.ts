/**
 * Everything around the proxy under attack, in a thread of its own: the upstream, the cluster that guests call, and
 * well-behaved traffic on kept connections whose every answer is looked at and timed.
 */
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import type { FromLoad, LoadReport, ToLoad } from "./arena.ts";

/** Between two requests of a connection, milliseconds: many small requests, and no thread that spins. */
const PAUSE_MS = 3;

const server = createServer((incoming, outgoing) => {
  incoming.resume();
  incoming.on("end", () => {
    outgoing.setHeader("trailer", "x-sum");
    outgoing.write("from upstream");
    outgoing.addTrailers({ "x-sum": "1" });
    outgoing.end();
  });
});
server.listen(0, "127.0.0.1");

class Target {
  readonly #port: number;
  readonly #agent: Agent;
  #running = true;
  #streams = 0;
  #failures: string[] = [];
  #times: number[] = [];
  readonly #loops: Promise<void>[];

  constructor(port: number, connections: number) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.#loops = Array.from({ length: connections }, () => this.#loop());
  }

  async #loop(): Promise<void> {
    while (this.#running) {
      const startMs = performance.now();
      const fault = await this.#ask();
      this.#times.push(performance.now() - startMs);
      this.#streams++;
      if (fault !== "") this.#failures.push(fault);
      await sleep(PAUSE_MS);
    }
  }

  async #ask(): Promise<string> {
    try {
      const sent = request({ port: this.#port, host: "127.0.0.1", method: "POST", path: "/calm", agent: this.#agent });
      sent.end("calm");
      const [answer] = (await once(sent, "response")) as [IncomingMessage];
      let body = "";
      for await (const chunk of answer.setEncoding("latin1")) body += chunk as string;
      if (answer.statusCode !== 200) return `${answer.statusCode}`;
      return answer.headers["x-seen"] !== undefined && body === "from upstream" ? "" : "changed";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** What happened since the last report. */
  report(): LoadReport {
    const report = { streams: this.#streams, failures: this.#failures, times: this.#times };
    this.#streams = 0;
    this.#failures = [];
    this.#times = [];
    return report;
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    this.#agent.destroy();
  }
}

const say = (message: FromLoad): void => parentPort!.postMessage(message);
let targets: Target[] = [];

parentPort!.on("message", (message: ToLoad) => {
  if (message.kind === "start") targets = message.ports.map((port) => new Target(port, message.connections));
  else if (message.kind === "report") say({ kind: "report", targets: targets.map((target) => target.report()) });
  else void stop();
});

async function stop(): Promise<void> {
  await Promise.all(targets.map((target) => target.stop()));
  server.closeAllConnections();
  server.close();
  say({ kind: "stopped" });
  parentPort!.close();
}

await once(server, "listening");
say({ kind: "ready", port: (server.address() as AddressInfo).port });
