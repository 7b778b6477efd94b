/** Hot restarts under load, again and again, with changing numbers of workers. */
import { startOrigin } from "../bench/rounds.ts";
import { bootstrap } from "../cli/proxy-process.ts";
import type { ProxyProcess } from "../cli/proxy-process.ts";
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
  const processes: ProxyProcess[] = [];
  const endAll = (): void => processes.forEach(({ process: one }) => one.kill("SIGKILL"));
  process.on("exit", endAll);
  try {
    const endpoint = `{ address: { socket_address: { address: 127.0.0.1, port_value: ${origin.port} } } }`;
    const clusters = `[{ name: up, load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: ${endpoint} }] }] } }]`;
    const config = bootstrap({ routes: [ALL_TO_UP], clusters });
    const row = new Row();
    const next = (workers: number): Promise<ProxyProcess> => {
      const one = row.next(config, "--concurrency", String(workers));
      processes.push(one);
      return one.live();
    };
    let current = await next(2);
    const load = steadyLoad(current.address);
    const statuses: (number | null)[] = [];
    let answered = 0;
    for (let turn = 0; turn < restarts || answered < requests; turn++) {
      // Each process counts from zero; what it serves after this look is not needed.
      const { body } = await current.get("/stats?filter=^http.ingress.downstream_rq_total$", current.admin);
      answered += Number(/: (\d+)/.exec(body)![1]);
      const before = current;
      current = await next(1 + (turn % 3));
      statuses.push(await before.exited);
    }
    load.end();
    const { requests: counted, errors } = await load.result;
    current.process.kill("SIGTERM");
    await current.exited;
    return { requests: counted, errors, restarts: statuses.length, statuses };
  } finally {
    endAll();
    process.off("exit", endAll);
    await origin.started.stop();
  }
}
