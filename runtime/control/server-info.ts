/** `/server_info`: admin.v3.ServerInfo in protobuf JSON. */
import { BUNDLED_FILTERS, NATIVE_EXTENSIONS } from "../extensions.ts";
import type { AdminSubject } from "./subject.ts";

export function serverInfo(subject: AdminSubject): object {
  const { version, state, uptimeMs, uptimeOfRowMs, commandLine, snapshot, hotRestartVersion } = subject;
  const { id, cluster, region, zone, subZone, metadata } = snapshot.node;
  return {
    version,
    state,
    uptime_current_epoch: seconds(uptimeMs),
    uptime_all_epochs: seconds(uptimeOfRowMs),
    hot_restart_version: hotRestartVersion,
    command_line_options: commandLine,
    node: {
      id,
      cluster,
      metadata,
      locality: { region, zone, sub_zone: subZone },
      user_agent_name: "sluice",
      extensions: extensions(),
    },
  };
}

/** A google.protobuf.Duration without its fraction. */
function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)}s`;
}

/** core.v3.Extension of everything that is built in. */
function extensions(): object[] {
  const native = Object.entries(NATIVE_EXTENSIONS);
  const bundled = Object.entries(BUNDLED_FILTERS).map(([type, { name }]) => [type, name] as const);
  return [...native, ...bundled].map(([type, name]) => ({ name, type_urls: [type] }));
}
