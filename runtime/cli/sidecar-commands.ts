/** The command `sidecar iptables` and its options. */
import { Argument, Option } from "commander";
import type { Command } from "commander";
import { SIDECAR_INBOUND_PORT, SIDECAR_OUTBOUND_PORT, SIDECAR_USER } from "../limits.ts";
import { ACTIONS, BACKENDS, MODES } from "./sidecar-rules.ts";
import type { Action } from "./sidecar-rules.ts";
import type { SidecarCommandOptions } from "./sidecar.ts";

export function sidecarCommands(sluice: Command, report: (status: number) => void): void {
  const list = (text: string): string[] =>
    text
      .split(",")
      .map((one) => one.trim())
      .filter((one) => one !== "");
  const lists = (command: Command, flag: string, text: string, value: readonly string[]): Command =>
    command.addOption(
      new Option(`${flag} <list>`, `${text}, with commas`).argParser(list).default(value, value.join(",") || "none"),
    );
  const iptables = sluice
    .command("sidecar")
    .description("what a proxy beside an application needs of its machine")
    .command("iptables")
    .description("rules that lead the application's connections through the proxy")
    .addArgument(
      new Argument(
        "<action>",
        "print them, put them in force, take them away, or check that they are in force",
      ).choices(ACTIONS),
    )
    .addOption(
      new Option("--mode <mode>", "how inbound connections come to the proxy").choices(MODES).default("REDIRECT"),
    )
    .addOption(
      new Option("--inbound-port <port>", "where the proxy takes inbound connections")
        .argParser(Number)
        .default(SIDECAR_INBOUND_PORT),
    )
    .addOption(
      new Option("--outbound-port <port>", "where it takes outbound ones")
        .argParser(Number)
        .default(SIDECAR_OUTBOUND_PORT),
    )
    .option("--no-ipv6", "IPv4 alone: what there is of IPv6 is left as it is")
    .option("--drop-invalid", "drop packets that are out of their connection's window, which else end it", false)
    .addOption(
      new Option(
        "--iptables <backend>",
        "which iptables: the system's unless only the other one works, or one of the two",
      )
        .choices(BACKENDS)
        .default("auto"),
    );
  lists(iptables, "--uid", "users whose connections are the proxy's own", [SIDECAR_USER]);
  lists(iptables, "--gid", "groups of the same kind", [SIDECAR_USER]);
  lists(iptables, "--include-inbound-ports", "ports and ranges (8000:8100) that go through the proxy", ["*"]);
  lists(iptables, "--exclude-inbound-ports", "ports that do not", []);
  lists(iptables, "--include-outbound-ports", "ports that go through the proxy", ["*"]);
  lists(iptables, "--exclude-outbound-ports", "ports that do not", []);
  lists(iptables, "--include-outbound-networks", "networks that are reached through the proxy", ["*"]);
  lists(iptables, "--exclude-outbound-networks", "networks that are not", []);
  lists(iptables, "--exclude-interfaces", "interfaces whose connections are left alone, in either direction", []);
  lists(iptables, "--include-users", "users (numbers) whose connections alone go out through the proxy", []);
  lists(iptables, "--include-groups", "groups of the same kind", []);
  lists(iptables, "--exclude-users", "users whose connections are left alone", []);
  lists(iptables, "--exclude-groups", "groups of the same kind", []);
  iptables.action(async (action: Action, options: SidecarCommandOptions) => {
    const { sidecar } = await import("./sidecar.ts");
    report(sidecar(action, options));
  });
}
