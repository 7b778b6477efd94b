/** Every path of the admin interface: one table, from which `/help` and the index are printed too. */
import { jsonAnswer } from "./admin-answer.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import { callbacksJson, callbacksText } from "./callbacks-page.ts";
import { certsJson } from "./certs-page.ts";
import { clustersText } from "../upstream/cluster-status.ts";
import { clustersJson } from "./clusters-page.ts";
import { configDump } from "./config-dump.ts";
import { listenersJson, listenersText } from "./listeners-page.ts";
import { changeLogging } from "./logging-page.ts";
import { loadPlugin, promotePlugin, reloadConfiguration, rollbackPlugin } from "./plugin-commands.ts";
import { pluginsJson, pluginsText } from "./plugins-page.ts";
import { serverInfo } from "./server-info.ts";
import { statsPage } from "./stats-page.ts";
import { ADMIN_BODY_BYTES, MAX_MODULE_BYTES } from "../limits.ts";
import type { AdminSubject } from "./subject.ts";

export interface Endpoint {
  readonly path: string;
  readonly help: string;
  /** Changes something, so it needs POST. */
  readonly mutates: boolean;
  /** Query parameters that it reads, for people. */
  readonly parameters?: readonly string[];
  /** Brings in code or configuration: off the loopback only with the token. */
  readonly trusted?: true;
  /** Bytes of a body that it reads; default: ADMIN_BODY_BYTES, which nobody looks at. */
  readonly bodyBytes?: number;
  run(subject: AdminSubject, parameters: URLSearchParams, body: Buffer): AdminAnswer | Promise<AdminAnswer>;
}

/** Bytes of a request's body that an endpoint takes. */
export function bodyLimit({ bodyBytes }: Endpoint): number {
  return bodyBytes ?? ADMIN_BODY_BYTES;
}

const OK: AdminAnswer = { body: "OK\n" };

/** Sorted by path, as `/help` prints it. */
export const ENDPOINTS: readonly Endpoint[] = [
  {
    path: "/",
    help: "Admin home page",
    mutates: false,
    run: () => ({ contentType: "text/html; charset=UTF-8", body: indexPage() }),
  },
  {
    path: "/certs",
    help: "print certs on machine",
    mutates: false,
    run: async (subject) => jsonAnswer(certsJson(await subject.certificates(), Date.now())),
  },
  {
    path: "/clusters",
    help: "upstream cluster status",
    mutates: false,
    parameters: ["format: json or text"],
    run: async (subject, parameters) => {
      const clusters = await subject.clusters();
      return parameters.get("format") === "json"
        ? jsonAnswer(clustersJson(clusters))
        : { body: clustersText(clusters) };
    },
  },
  {
    path: "/config_dump",
    help: "dump current configs",
    mutates: false,
    parameters: ["resource: one list of resources only", "name_regex: resources whose name matches"],
    run: async (subject, parameters) => configDump(subject, parameters),
  },
  {
    path: "/drain_listeners",
    help: "drain listeners",
    mutates: true,
    parameters: [
      "graceful: during the drain time responses ask downstream to leave, then listening stops",
      "inboundonly: listeners of INBOUND traffic only",
      "skip_exit: with graceful, listening goes on",
    ],
    run: async (subject, parameters) => {
      const graceful = parameters.has("graceful");
      const skipExit = parameters.has("skip_exit");
      if (skipExit && !graceful) return { status: 400, body: "skip_exit works with graceful only\n" };
      await subject.drainListeners({ graceful, inboundOnly: parameters.has("inboundonly"), skipExit });
      return OK;
    },
  },
  {
    path: "/healthcheck/fail",
    help: "cause the server to fail health checks",
    mutates: true,
    run: async (subject) => (await subject.failHealthCheck(true), OK),
  },
  {
    path: "/healthcheck/ok",
    help: "cause the server to pass health checks",
    mutates: true,
    run: async (subject) => (await subject.failHealthCheck(false), OK),
  },
  { path: "/help", help: "print out list of admin commands", mutates: false, run: () => ({ body: helpText() }) },
  {
    path: "/hot_restart_version",
    help: "print the hot restart compatibility version",
    mutates: false,
    run: ({ hotRestartVersion }) => ({ body: `${hotRestartVersion}\n` }),
  },
  {
    path: "/listeners",
    help: "print listener info",
    mutates: false,
    parameters: ["format: json or text"],
    run: (subject, parameters) =>
      parameters.get("format") === "json" ? jsonAnswer(listenersJson(subject)) : { body: listenersText(subject) },
  },
  {
    path: "/logging",
    help: "query or change logging levels",
    mutates: true,
    parameters: ["level: of everything", "paths: component:level,component:level", "COMPONENT: its level"],
    run: changeLogging,
  },
  {
    path: "/quitquitquit",
    help: "exit the server",
    mutates: true,
    run: (subject) => (subject.quit(), OK),
  },
  {
    path: "/ready",
    help: "print server state, return 200 if LIVE, otherwise return 503",
    mutates: false,
    run: ({ state }) => ({ status: state === "LIVE" ? 200 : 503, body: `${state}\n` }),
  },
  {
    path: "/reload",
    help: "read the configuration anew and put it in force: clusters, listeners, routes and plugins",
    mutates: true,
    trusted: true,
    run: reloadConfiguration,
  },
  {
    path: "/reopen_logs",
    help: "reopen access logs",
    mutates: true,
    run: async (subject) => (await subject.reopenLogs(), OK),
  },
  {
    path: "/reset_counters",
    help: "reset all counters to zero",
    mutates: true,
    run: (subject) => (subject.resetCounters(), OK),
  },
  {
    path: "/server_info",
    help: "print server version/status information",
    mutates: false,
    run: (subject) => jsonAnswer(serverInfo(subject)),
  },
  {
    path: "/stats",
    help: "print server stats",
    mutates: false,
    parameters: [
      "usedonly: statistics that were touched since the start",
      "filter: a regular expression (RE2) for names",
      "format: text, json or prometheus",
      "type: All, Counters, Gauges or Histograms",
      "histogram_buckets: none, cumulative or disjoint",
    ],
    run: statsPage,
  },
  {
    path: "/stats/prometheus",
    help: "print server stats in prometheus format",
    mutates: false,
    parameters: ["usedonly", "filter", "type"],
    run: (subject, parameters) => {
      parameters.set("format", "prometheus");
      return statsPage(subject, parameters);
    },
  },
  {
    path: "/wasm",
    help: "print plugins: versions, instances, memory, fuel, failures, trials",
    mutates: false,
    parameters: ["format: json or text"],
    run: async (subject, parameters) => {
      const plugins = await (await subject.hotLoad()).reports();
      return parameters.get("format") === "json"
        ? jsonAnswer({ ...pluginsJson(plugins), ...callbacksJson(await subject.stats()) })
        : { body: pluginsText(plugins) };
    },
  },
  {
    path: "/wasm/callbacks",
    help: "print what callbacks of plugins take: time and fuel of those that were measured",
    mutates: false,
    parameters: ["format: json or text"],
    run: async (subject, parameters) =>
      parameters.get("format") === "json"
        ? jsonAnswer(callbacksJson(await subject.stats()))
        : { body: callbacksText(await subject.stats()) },
  },
  {
    path: "/wasm/load",
    help: "replace the module of a plugin while it runs",
    mutates: true,
    trusted: true,
    bodyBytes: MAX_MODULE_BYTES,
    parameters: [
      "plugin: its name; the module is the body, or",
      "file: where it lies on this machine, or",
      "artifact: oci://HOST/REPOSITORY[:TAG][@DIGEST]; empty: the configured one, as its tag is now",
      "percent, header, header_value, header_percent, sticky: which streams have it, until it is promoted",
      "shadow: it is shown copies of streams, percent of them",
      "now: it serves all streams at once, whatever rollout is configured",
      "unrehearsed: it need not stand made-up requests first",
      "unwatched: failures do not take it back",
    ],
    run: loadPlugin,
  },
  {
    path: "/wasm/promote",
    help: "a plugin's version on trial serves all streams",
    mutates: true,
    trusted: true,
    parameters: ["plugin: its name"],
    run: promotePlugin,
  },
  {
    path: "/wasm/rollback",
    help: "bring a plugin's version back, or give the one on trial up",
    mutates: true,
    trusted: true,
    parameters: ["plugin: its name", "version: its number; default: the one before"],
    run: rollbackPlugin,
  },
  {
    path: "/workers",
    help: "print worker threads",
    mutates: false,
    run: (subject) => jsonAnswer({ workers: subject.workers() }),
  },
  {
    path: "/workers/replace",
    help: "end one worker thread at once; a new one takes its place",
    mutates: true,
    parameters: ["index: of the worker"],
    run: (subject, parameters) => {
      const index = parameters.get("index") ?? "";
      if (/^\d{1,4}$/.test(index) && subject.replaceWorker(Number(index))) return OK;
      return { status: 404, body: `there is no serving worker "${index}"\n` };
    },
  },
];

/** What `/help` prints. */
export function helpText(): string {
  const lines = ["admin commands are:"];
  for (const { path, help, mutates, parameters } of ENDPOINTS) {
    lines.push(`  ${path}${mutates ? " (POST)" : ""}: ${help}`);
    for (const parameter of parameters ?? []) lines.push(`      ${parameter}`);
  }
  return `${lines.join("\n")}\n`;
}

function indexPage(): string {
  const rows = ENDPOINTS.map(({ path, help, mutates }) => {
    const name = path.slice(1) || "home";
    const cell = mutates
      ? `<form action="${path.slice(1)}" method="post"><button>${name}</button></form>`
      : `<a href="${path.slice(1) || "/"}">${name}</a>`;
    return `<tr><td>${cell}</td><td>${help}</td></tr>`;
  });
  return `<!DOCTYPE html>\n<html lang="en"><head><title>Sluice Admin</title></head>\n<body><table>\n${rows.join("\n")}\n</table></body></html>\n`;
}
