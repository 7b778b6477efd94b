/** Versions of one filter (test/guests/versions), made from a single build, and a proxy that runs one of them. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { bootstrap, OK_ROUTE, ProxyProcess } from "../cli/proxy-process.ts";
import type { Answer } from "../cli/proxy-process.ts";

/** What a version does wrong: see the guest. */
export type Letter = "-" | "s" | "c" | "r" | "l" | "m" | "p" | "q" | "d" | "w" | "t" | "k";

const GUESTS = fileURLToPath(new URL("../guests", import.meta.url));
const BUILT = fileURLToPath(new URL("../../build/guests", import.meta.url));
const VERSION = Buffer.from("sluice-version:0000-", "utf16le");

const CHOICE = Buffer.from("sluice-choice:-", "utf16le");

const built = new Map<string, Promise<Buffer>>();

function template(guest: string): Promise<Buffer> {
  let found = built.get(guest);
  // Not compiled again for each file of tests.
  if (found === undefined)
    built.set(
      guest,
      (found = buildFilter(join(GUESTS, guest), { outFolder: BUILT }).then(({ path }) => readFileSync(path))),
    );
  return found;
}

/** Where the text stands, of which there is one. */
function placeOf(text: Buffer, bytes: Buffer): number {
  const at = bytes.indexOf(text);
  if (at === -1 || bytes.indexOf(text, at + 1) !== -1)
    throw new Error(`${text.toString("utf16le")} stands not once there`);
  return at;
}

/** A version of test/guests/choices; the letter says in what it differs from the others. */
export async function choicesModule(letter: string): Promise<Buffer> {
  const bytes = Buffer.from(await template("choices"));
  bytes.write(`sluice-choice:${letter}`, placeOf(CHOICE, bytes), "utf16le");
  return bytes;
}

/** The module of version `number`, which does what the letter says. */
export async function versionModule(number: number, letter: Letter = "-"): Promise<Buffer> {
  const bytes = Buffer.from(await template("versions"));
  bytes.write(`sluice-version:${versionText(number)}${letter}`, placeOf(VERSION, bytes), "utf16le");
  return bytes;
}

/** As it stands in `x-version`. */
export function versionText(number: number): string {
  return String(number).padStart(4, "0");
}

/** The same with a schema in which the plugin's type is not there. */
export async function otherSchema(number: number): Promise<Buffer> {
  const bytes = await versionModule(number);
  return Buffer.from(bytes.toString("latin1").replaceAll("test.versions.v1", "test.versions.v2"), "latin1");
}

export interface Setting {
  /** Members of sluice.v1.WasmRuntime, YAML flow. */
  readonly runtime?: string;
  readonly args?: readonly string[];
  readonly routes?: readonly string[];
  readonly clusters?: string;
  readonly mark?: string;
  /** A second plugin, `twin`, shares the first one's VM under this vm_id. */
  readonly twin?: string;
  /** failure_policy of the plugin. */
  readonly policy?: "FAIL_OPEN" | "FAIL_CLOSED";
  /** The bundled fault filter aborts everything with 418. */
  readonly faultFilter?: boolean;
  /** Admin listens on all addresses. */
  readonly everywhere?: boolean;
}

export class Proxy extends ProxyProcess {
  readonly module: string;

  constructor(module: string, setting: Setting) {
    super(configuration(module, setting), setting.args ?? ["--concurrency", "2"]);
    this.module = module;
  }

  /** Posts a module. */
  load(bytes: Uint8Array, parameters = ""): Promise<Answer> {
    return send(this.admin, `/wasm/load?plugin=versions${parameters}`, bytes);
  }

  async plugin(): Promise<Plugin> {
    const { body } = await this.get("/wasm?format=json", this.admin);
    return (JSON.parse(body) as { plugins: Plugin[] }).plugins[0]!;
  }

  async stat(name: string): Promise<number> {
    const { body } = await this.get(`/stats?filter=^${name.replaceAll(".", "\\.")}$`, this.admin);
    return Number(body.split(": ")[1]);
  }

  /** The version that answers a request, and whatever else the response says. */
  async version(path = "/"): Promise<string> {
    const { headers } = await this.get(path);
    return String(headers["x-version"]);
  }
}

/** What `/wasm` says. */
export interface Plugin {
  readonly version_number: number;
  readonly previous_version?: number;
  readonly instances: number;
  readonly memory: number;
  readonly failures: Record<string, number>;
  readonly versions: readonly {
    readonly number: number;
    readonly state: string;
    readonly sha256: string;
    readonly source: string;
    readonly streams: number;
    readonly instances: number;
    readonly taken_back?: string;
  }[];
  readonly trial?: Record<string, unknown> & {
    readonly kind: string;
    readonly streams: number;
    readonly failures: number;
  };
}

/** A configuration with one plugin, `versions`, whose code is the file. */
export function configuration(module: string, setting: Setting = {}): string {
  const { runtime, mark = "mark", everywhere = false, twin, faultFilter = false } = setting;
  const type = (name: string): string => `"@type": type.googleapis.com/${name}`;
  const own = `configuration: { ${type("test.versions.v1.Versions")}, mark: ${mark} }`;
  const id = twin === undefined ? "" : `vm_id: ${twin}, `;
  const vm = `vm_config: { runtime: envoy.wasm.runtime.v8, ${id}code: { local: { filename: "${module}" } } }`;
  const policy = setting.policy === undefined ? "" : `, failure_policy: ${setting.policy}`;
  const plugin = (name: string): string =>
    `{ name: ${name}, typed_config: { ${type("envoy.extensions.filters.http.wasm.v3.Wasm")}, config: { name: ${name}, ${vm}, ${own}${policy} } } }`;
  const fault = `{ ${type("envoy.extensions.filters.http.fault.v3.HTTPFault")}, abort: { http_status: 418, percentage: { numerator: 100 } } }`;
  const filters = [plugin("versions")];
  if (twin !== undefined) filters.push(plugin("twin"));
  if (faultFilter) filters.push(`{ name: envoy.filters.http.fault, typed_config: ${fault} }`);
  const text = bootstrap({
    routes: setting.routes ?? [OK_ROUTE],
    httpFilters: filters.map((filter) => `- ${filter}`).join("\n                  "),
    ...(setting.clusters === undefined ? {} : { clusters: setting.clusters }),
  });
  const wide = everywhere ? text.replace("address: 127.0.0.1", "address: 0.0.0.0") : text;
  if (runtime === undefined) return wide;
  return `${wide}\nbootstrap_extensions: [{ name: wasm, typed_config: { ${type("sluice.v1.WasmRuntime")}, ${runtime} } }]\n`;
}

/** A live proxy whose plugin is at version 1, from a file in its folder. */
export async function startProxy(setting: Setting = {}): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-hotload-"));
  const module = join(folder, "versions.wasm");
  writeFileSync(module, await versionModule(1));
  return new Proxy(module, setting).live();
}

/** Asks until `found` holds; whoever waits for ever is ended by the test's time limit. */
export async function until<T>(look: () => Promise<T>, found: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await look();
    if (found(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function send(
  address: string,
  path: string,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const colon = address.lastIndexOf(":");
  const target = { host: address.slice(0, colon), port: address.slice(colon + 1) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, method: "POST", path, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
