/** The proxies that the benchmark compares: how each is configured and started with one worker. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, PROXY_CORE, startPinned } from "./processes.ts";
import type { Started } from "./processes.ts";

const CONFIGS = fileURLToPath(new URL("./configs/", import.meta.url));
const BUILD = fileURLToPath(new URL("../../build/filters", import.meta.url));
export const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));

/** What the load of a scenario is made of. */
export const SCENARIOS = {
  plain: "64 kept connections, GET of 12 bytes",
  filters: "64 kept connections, GET of 12 bytes",
  bodies: "16 kept connections, POST of 64 KiB, answered by 64 KiB",
  h2: "8 kept connections of HTTP/2 with 8 streams each, GET of 12 bytes",
} as const;
export type Scenario = keyof typeof SCENARIOS;

export interface Side {
  readonly name: string;
  readonly scenario: Scenario;
  /** Answers the command line, having written what it needs to the folder. */
  readonly command: (place: Place) => readonly string[];
}

export interface Place {
  readonly folder: string;
  readonly port: number;
  readonly upstream: number;
  /** What has the listener speak HTTP/2, in the proxy's own words. */
  readonly h2?: string;
}

/** Sluice first: the ratios are its own against the others. */
export const SIDES: readonly Side[] = [
  { name: "sluice", scenario: "plain", command: (place) => sluice(place) },
  { name: "nginx", scenario: "plain", command: (place) => nginx(place) },
  { name: "haproxy", scenario: "plain", command: (place) => haproxy(place) },
  {
    name: "http-proxy-3",
    scenario: "plain",
    command: ({ port, upstream }) => [
      process.execPath,
      join(CONFIGS, "http-proxy-3.ts"),
      String(port),
      String(upstream),
    ],
  },
  { name: "sluice, 3 filters", scenario: "filters", command: (place) => sluice(place, "WASM") },
  { name: "nginx + njs", scenario: "filters", command: (place) => nginx(place, "NJS") },
  { name: "haproxy + Lua", scenario: "filters", command: (place) => haproxy(place, "LUA") },
  { name: "sluice, bodies", scenario: "bodies", command: (place) => sluice(place) },
  { name: "nginx, bodies", scenario: "bodies", command: (place) => nginx(place) },
  { name: "haproxy, bodies", scenario: "bodies", command: (place) => haproxy(place) },
  { name: "sluice, h2", scenario: "h2", command: (place) => sluice(place) },
  { name: "nginx, h2", scenario: "h2", command: (place) => nginx({ ...place, h2: "http2" }) },
  { name: "haproxy, h2", scenario: "h2", command: (place) => haproxy({ ...place, h2: "proto h2" }) },
];

function sluice(place: Place, mark?: string): readonly string[] {
  return [
    process.execPath,
    SLUICE,
    "run",
    "-c",
    fill("sluice.yaml", place, mark),
    "--concurrency",
    "1",
    "--log-level",
    "warning",
  ];
}

function nginx(place: Place, mark?: string): readonly string[] {
  return ["nginx", "-p", place.folder, "-e", "stderr", "-c", fill("nginx.conf", place, mark)];
}

function haproxy(place: Place, mark?: string): readonly string[] {
  return ["haproxy", "-db", "-q", "-f", fill("haproxy.cfg", place, mark)];
}

/** Writes a configuration with its blanks filled; lines that begin with `#MARK ` count when the mark is given. Returns its path. */
export function fill(name: string, place: Place, mark?: string, timeout = "15s"): string {
  const { folder, port, upstream, h2 = "" } = place;
  let text = readFileSync(join(CONFIGS, name), "utf8");
  if (mark !== undefined) text = text.replaceAll(`#${mark} `, "");
  const blanks = { PORT: port, UPSTREAM: upstream, FOLDER: folder, CONFIGS, BUILD, TIMEOUT: timeout, H2: h2 };
  for (const [blank, value] of Object.entries(blanks)) text = text.replaceAll(`__${blank}__`, String(value));
  const path = join(folder, `${port}-${name}`);
  writeFileSync(path, text);
  return path;
}

/** Starts one side on a free port. */
export async function startSide(
  side: Side,
  folder: string,
  upstream: number,
  cores: number | string = PROXY_CORE,
): Promise<{ readonly started: Started; readonly port: number }> {
  const port = await freePort();
  return { started: startPinned(cores, side.command({ folder, port, upstream })), port };
}
