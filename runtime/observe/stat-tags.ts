/** Envoy's default tags: parts of a statistic's name that are values (a cluster, a code) and become labels. */

export interface TaggedName {
  /** The name without its tags' values. */
  readonly name: string;
  /** Name and value, in Envoy's order. */
  readonly tags: readonly (readonly [name: string, value: string])[];
}

const ADDRESS = String.raw`(?:\d+\.\d+\.\d+\.\d+|\[[_.0-9a-fA-F]*\])_\d+`;

/** The first group is cut out of the name, the second is the value. `needs` is looked for first: it is cheap. */
const RULES: readonly { readonly tag: string; readonly needs: string; readonly regex: RegExp }[] = [
  { tag: "envoy.response_code", needs: "_rq_", regex: /_rq(_(\d{3}))$/ds },
  { tag: "envoy.response_code_class", needs: "_rq_", regex: /_rq_((\d))xx$/ds },
  { tag: "envoy.fault_downstream_cluster", needs: ".fault.", regex: /^http\.[^.]+\.fault\.(([^.]+)\.)\w+$/ds },
  { tag: "envoy.ssl_cipher", needs: ".ssl.", regex: /^listener\..*\.ssl\.ciphers(\.(.+))$/ds },
  { tag: "envoy.ssl_curve", needs: ".ssl.", regex: /^(?:listener|cluster)\..*\.ssl\.curves(\.(.+))$/ds },
  { tag: "envoy.ssl_version", needs: ".ssl.", regex: /^(?:listener|cluster)\..*\.ssl\.versions(\.(.+))$/ds },
  { tag: "envoy.ssl_sigalg", needs: ".ssl.", regex: /^(?:listener|cluster)\..*\.ssl\.sigalgs(\.(.+))$/ds },
  {
    tag: "envoy.tls_certificate",
    needs: ".ssl.certificate.",
    regex: /^(?:listener|cluster)\..*?\.ssl\.certificate\.((.+)\.)expiration_unix_time_seconds$/ds,
  },
  { tag: "envoy.virtual_cluster", needs: ".vcluster.", regex: /^vhost\..*?\.vcluster\.((.*?)\.)/ds },
  { tag: "envoy.route", needs: ".route.", regex: /^vhost\..*?\.route\.((.*?)\.)/ds },
  { tag: "envoy.virtual_host", needs: "vhost.", regex: /^vhost\.((.*?)\.)/ds },
  { tag: "envoy.rds_route_config", needs: ".rds.", regex: /^http\..*?\.rds\.((.*?)\.)\w+$/ds },
  { tag: "envoy.tcp_prefix", needs: "tcp.", regex: /^tcp\.((.*?)\.)/ds },
  { tag: "envoy.ratelimit_prefix", needs: "ratelimit.", regex: /^ratelimit\.((.*?)\.)/ds },
  {
    tag: "envoy.local_http_ratelimit_prefix",
    needs: ".http_local_rate_limit.",
    regex: /^(([^.]+)\.)http_local_rate_limit\./ds,
  },
  { tag: "envoy.cluster_name", needs: "cluster.", regex: /^cluster\.((.*?)\.)/ds },
  { tag: "envoy.http_conn_manager_prefix", needs: ".http.", regex: /^listener\..*?\.http\.((.*?)\.)/ds },
  { tag: "envoy.http_conn_manager_prefix", needs: "http.", regex: /^http\.((.*?)\.)/ds },
  {
    tag: "envoy.worker_id",
    needs: ".worker_",
    regex: new RegExp(String.raw`^(?:listener_manager|server|listener\.(?:${ADDRESS}|[^.]+))\.((worker_\d+)\.)`, "ds"),
  },
  {
    tag: "envoy.listener_address",
    needs: "listener.",
    regex: new RegExp(String.raw`^listener\.((${ADDRESS})\.)`, "ds"),
  },
];

/** Takes a name apart. */
export function extractTags(name: string): TaggedName {
  const tags: [string, string][] = [];
  const cuts: (readonly [start: number, end: number])[] = [];
  for (const { tag, needs, regex } of RULES) {
    if (!name.includes(needs) || tags.some(([known]) => known === tag)) continue;
    const match = regex.exec(name);
    const cut = match?.indices?.[1];
    if (match === null || cut === undefined) continue;
    // Two rules that want the same characters: the first one has them.
    if (cuts.some(([start, end]) => cut[0] < end && start < cut[1])) continue;
    cuts.push(cut);
    tags.push([tag, match[2]!]);
  }
  let rest = name;
  for (const [start, end] of cuts.sort(([a], [b]) => b - a)) rest = rest.slice(0, start) + rest.slice(end);
  return { name: rest, tags };
}
