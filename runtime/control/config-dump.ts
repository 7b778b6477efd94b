/** `/config_dump`: the configuration in force as admin.v3.ConfigDump, cut out of the bootstrap as it was read. */
import { RE2JS } from "re2js";
import { ADMIN_REGEX_LENGTH } from "../limits.ts";
import { jsonAnswer } from "./admin-answer.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import type { AdminSubject } from "./subject.ts";

const ADMIN_PACKAGE = "type.googleapis.com/envoy.admin.v3";
type Json = Readonly<Record<string, unknown>>;

/** `?resource=FIELD` gives that list only (static_clusters, …); `?name_regex=RE` keeps resources whose name matches. */
export function configDump({ snapshot, configuredAt }: AdminSubject, parameters: URLSearchParams): AdminAnswer {
  const pattern = parameters.get("name_regex");
  const keeps = pattern === null ? undefined : nameFilter(pattern);
  if (keeps === null) return { status: 400, body: "Error while parsing name_regex\n" };
  const configs = dumpConfigs(record(snapshot.dump), configuredAt.toISOString(), keeps);
  const resource = parameters.get("resource");
  if (resource === null) return jsonAnswer({ configs });
  const owner = configs.find((config) => resource in config && Array.isArray(config[resource]));
  if (owner === undefined) return { status: 404, body: `${resource} not found in config dump\n` };
  const type = RESOURCE_TYPES[resource];
  return jsonAnswer({ configs: list(owner[resource]).map((one) => ({ "@type": `${ADMIN_PACKAGE}.${type}`, ...one })) });
}

const RESOURCE_TYPES: Readonly<Record<string, string>> = {
  static_clusters: "ClustersConfigDump.StaticCluster",
  static_listeners: "ListenersConfigDump.StaticListener",
  static_route_configs: "RoutesConfigDump.StaticRouteConfig",
};

function dumpConfigs(bootstrap: Json, updated: string, keeps: ((name: string) => boolean) | undefined): Json[] {
  const resources = record(bootstrap["static_resources"]);
  const wrap = (key: string, type: string, found: readonly Json[]): Json[] =>
    found
      .filter((one) => keeps === undefined || keeps(nameOf(one)))
      .map((one) => ({ [key]: { "@type": `type.googleapis.com/${type}`, ...one }, last_updated: updated }));
  const listeners = list(resources["listeners"]);
  return [
    ...(keeps === undefined
      ? [{ "@type": `${ADMIN_PACKAGE}.BootstrapConfigDump`, bootstrap, last_updated: updated }]
      : []),
    {
      "@type": `${ADMIN_PACKAGE}.ClustersConfigDump`,
      static_clusters: wrap("cluster", "envoy.config.cluster.v3.Cluster", list(resources["clusters"])),
    },
    {
      "@type": `${ADMIN_PACKAGE}.ListenersConfigDump`,
      static_listeners: wrap("listener", "envoy.config.listener.v3.Listener", listeners),
    },
    {
      "@type": `${ADMIN_PACKAGE}.RoutesConfigDump`,
      static_route_configs: wrap("route_config", "envoy.config.route.v3.RouteConfiguration", routeConfigs(listeners)),
    },
  ];
}

function nameOf(resource: Json): string {
  const name = resource["name"];
  return typeof name === "string" ? name : "";
}

/** The route tables that stand inside connection managers. */
function routeConfigs(listeners: readonly Json[]): Json[] {
  const found: Json[] = [];
  for (const listener of listeners) {
    for (const chain of [...list(listener["filter_chains"]), record(listener["default_filter_chain"])]) {
      for (const filter of list(chain["filters"])) {
        const routeConfig = record(filter["typed_config"])["route_config"];
        if (routeConfig !== undefined) found.push(record(routeConfig));
      }
    }
  }
  return found;
}

/** null: not a regular expression. The whole name has to match, as in Envoy. */
function nameFilter(pattern: string): ((name: string) => boolean) | null {
  if (pattern.length > ADMIN_REGEX_LENGTH) return null;
  try {
    const compiled = RE2JS.compile(pattern);
    return (name) => compiled.matches(name);
  } catch {
    // The one thing RE2JS.compile throws for is a pattern that it cannot read.
    return null;
  }
}

function record(value: unknown): Json {
  return typeof value === "object" && value !== null ? (value as Json) : {};
}
function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? (value as Json[]) : [];
}
