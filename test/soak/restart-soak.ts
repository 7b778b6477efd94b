/** Hot restarts under load, again and again, with changing numbers of workers. */
import { startOrigin } from "../bench/rounds.ts";
import { bootstrap } from "../cli/proxy-process.ts";
import { Row, steadyLoad } from "../cli/restart-row.ts";
import { ALL_TO_UP } from "../cli/slow-upstream.ts";

export interface RestartOutcome {
  readonly requests: number;
  /** Refused and broken connections, timeouts, answers other than 200. */
  readonly errors: number;
  readonly restarts: number;
  /** Exit statuses of the processes that were taken over from. */
  readonly statuses: readonly (number | null)[];
}

/** Restarts until `requests` have been answered, but `restarts` times at least. Throws when a process does not start. */
export async function soakRestarts(folder: string, requests: number, restarts: number): Promise<RestartOutcome> {
  const origin = await startOrigin(folder);
  try {
    const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${origin.port} } } }`;
    const clusters = `[{ name: up, load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] } }]`;
    const config = bootstrap({ routes: [ALL_TO_UP], clusters });
    const row = new Row();
    let current = await row.next(config, "--concurrency", "2").live();
    const load = steadyLoad(current.address);
    const statuses: (number | null)[] = [];
    let answered = 0;
    for (let turn = 0; turn < restarts || answered < requests; turn++) {
      const before = current;
      current = await row.next(config, "--concurrency", String(1 + (turn % 3))).live();
      statuses.push(await before.exited);
      // Each process counts from zero, so what it had served when the next one came is a lower bound.
      const { body } = await current.get("/stats?filter=^http.ingress.downstream_rq_total$", current.admin);
      answered += Number(/: (\d+)/.exec(body)![1]);
    }
    load.end();
    const { requests: counted, errors } = await load.result;
    current.process.kill("SIGTERM");
    await current.exited;
    return { requests: counted, errors, restarts: statuses.length, statuses };
  } finally {
    await origin.started.stop();
  }
}
