/**
 * The command line: what there is to call and with which options. Each command's work is a file of its
 * own that is loaded when it is called, so that `--version` stays as quick as it should be.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ProxyError } from "../errors.ts";
import { DRAIN_TIME_MS, MAX_CONCURRENCY, MAX_RESTART_NUMBER, PARENT_SHUTDOWN_MS } from "../limits.ts";
import { shownLines } from "../observe/wire-text.ts";
import { configureHelp, groupCommands } from "./help.ts";
import { artifactCommands } from "./artifact-commands.ts";
import { sidecarCommands } from "./sidecar-commands.ts";
import { readComponentLevels, readLevel } from "./log-options.ts";
import type { FilterBuildOptions } from "./build.ts";
import type { ChangeOptions, LoadFileOptions } from "./plugins.ts";
import type { QuickstartOptions } from "./quickstart.ts";
import type { DevOptions } from "./dev.ts";
import type { FilterKind } from "./new.ts";
import type { FilterTestOptions } from "./test.ts";
import type { RunOptions } from "./run.ts";
import type { ConfigOptions } from "./validate.ts";
import { versionText } from "./version.ts";

/** Commands that have more to do than to print. */
const SERVING: ReadonlySet<string> = new Set(["run", "quickstart", "dev"]);

/** Runs one command; returns the exit status: 0 good, 1 failed, 2 misused. */
export async function main(args: readonly string[]): Promise<number> {
  let status = 0;
  const report = (code: number): void => {
    status = code;
  };
  // A reader that goes away (a pager, head) ends a command, without a word; a proxy goes on.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (!SERVING.has(args[0] ?? "")) process.exit(status);
  });
  try {
    await program(report).parseAsync(args, { from: "user" });
  } catch (error) {
    // Commander has printed its message already; help and version are no failure.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof ProxyError)) throw error;
    // It may quote registries, modules and guests.
    process.stderr.write(`sluice: ${shownLines(error.message)}\n`);
    return 1;
  }
  return status;
}

function program(report: (status: number) => void): Command {
  const sluice = new Command("sluice")
    .description("A WebAssembly filter runtime and proxy with Envoy's configuration and behaviour.")
    .version(versionText(), "--version", "print the version")
    .showSuggestionAfterError()
    .showHelpAfterError("(add --help for what there is)")
    .exitOverride();
  configureHelp(sluice);
  runCommand(sluice, report);
  withConfigOptions(
    sluice.command("validate").description("check a configuration and print every problem in it"),
  ).action(async (options: ConfigOptions) => {
    const { validate } = await import("./validate.ts");
    report(validate(options));
  });
  sluice
    .command("quickstart")
    .description("run the proxy with a demo upstream and a rate limit service on this machine")
    .option("--free-ports", "let the system choose all ports, instead of 10000, 9901, 10001 and 10002")
    .addOption(concurrencyOption())
    .action(async (options: QuickstartOptions) => {
      const { quickstart } = await import("./quickstart.ts");
      report(await quickstart(options));
    });
  sidecarCommands(sluice, report);
  authorCommands(sluice, report);
  pluginCommands(sluice, report);
  artifactCommands(sluice);
  groupCommands(sluice);
  return sluice;
}

/** What filter authors use. */
function authorCommands(sluice: Command, report: (status: number) => void): void {
  sluice
    .command("new")
    .description("make the folder of a new filter: source, configuration, test, and a bootstrap that runs it")
    .argument("<folder>", "the folder, named like the filter: small letters, digits and _")
    .addOption(
      new Option("--kind <kind>", "what it filters: requests and responses, or bytes of connections")
        .choices(["http", "network"])
        .default("http"),
    )
    .action(async (folder: string, { kind }: { readonly kind: FilterKind }) => {
      const { newFilter } = await import("./new.ts");
      process.stdout.write(`${newFilter(folder, kind).join("\n")}\n`);
    });
  sluice
    .command("dev")
    .description(
      "run a filter, and compile and swap it at each save; the last requests or connections are sent again and differences shown",
    )
    .argument("[folder]", "the filter's folder", ".")
    .option("-c, --config-path <file>", "bootstrap configuration (default: sluice.yaml in the folder)")
    .addOption(concurrencyOption())
    .action(async (folder: string, options: DevOptions) => {
      const { dev } = await import("./dev.ts");
      report(await dev(folder, options));
    });
  sluice
    .command("test")
    .description("build filters and run their *.test.ts against the real host, without a proxy")
    .argument("[folders...]", "folders of filters; none: the one in this folder, else the bundled ones")
    .option("--test-name-pattern <pattern>", "only tests whose name matches")
    .option("--reporter <name>", "how results are printed: spec, tap, dot, junit …")
    .option("--coverage", "tell which lines and functions the tests have run, as a table and as lcov")
    .action(async (folders: string[], options: FilterTestOptions) => {
      const { test } = await import("./test.ts");
      report(await test(folders, options));
    });
  sluice
    .command("build")
    .description("compile filters to WebAssembly (what has not changed is not compiled again)")
    .argument("[folders...]", "folders of filters; none: the one in this folder, else the bundled ones")
    .option("--debug", "do not optimise, and put the source map into the module")
    .option("--force", "compile what has not changed, too")
    .option("--out <folder>", "where the modules go (default: build in the filter's folder, with --debug build/debug)")
    .action(async (folders: string[], options: FilterBuildOptions) => {
      const { build } = await import("./build.ts");
      report(await build(folders, options));
    });
}

/** Plugins of a running proxy. */
function pluginCommands(sluice: Command, report: (status: number) => void): void {
  withAdminOptions(sluice.command("status"))
    .description("print the plugins of a running proxy: versions, streams, failures, trials")
    .option("--json", "as JSON")
    .action(async (options: ChangeOptions) => {
      const { status } = await import("./plugins.ts");
      report(await status(options));
    });
  withAdminOptions(sluice.command("load"))
    .description("replace a plugin's module in a running proxy; returns once every worker serves it")
    .argument("<plugin>", "its configured name")
    .argument("[module]", "a file, or oci://HOST/REPOSITORY[:TAG]; none: the configured artifact, as its tag is now")
    .addOption(
      new Option("--percent <n>", "try it on this share of the streams first").argParser(
        checked((text) => percentage(text)),
      ),
    )
    .option("--header <name[=value]>", "requests with this header have it, whatever the share")
    .addOption(
      new Option("--header-percent <n>", "this share of the requests with the header (default: all)").argParser(
        checked((text) => percentage(text)),
      ),
    )
    .option("--sticky", "all streams of a connection have the version that its first one had")
    .option("--shadow", "show it copies of the streams, without an effect, and count where it decides otherwise")
    .option("--now", "all streams at once, whatever rollout the configuration wants")
    .option("--no-rehearse", "it need not stand made-up requests first")
    .option("--no-watch", "failures do not take it back")
    .option("--json", "the outcome as JSON")
    .action(async (plugin: string, file: string | undefined, options: LoadFileOptions) => {
      const { load } = await import("./plugins.ts");
      report(await load(plugin, file, options));
    });
  withAdminOptions(sluice.command("promote"))
    .description("a plugin's version on trial serves all streams")
    .argument("<plugin>", "its configured name")
    .option("--json", "the outcome as JSON")
    .action(async (plugin: string, options: ChangeOptions) => {
      const { promote } = await import("./plugins.ts");
      report(await promote(plugin, options));
    });
  withAdminOptions(sluice.command("rollback"))
    .description("give a plugin's version on trial up, or bring an older version back")
    .argument("<plugin>", "its configured name")
    .argument("[version]", "number of the version, see status; none: the one before")
    .option("--json", "the outcome as JSON")
    .action(async (plugin: string, version: string | undefined, options: ChangeOptions) => {
      const { rollback } = await import("./plugins.ts");
      report(await rollback(plugin, version, options));
    });
  withAdminOptions(sluice.command("reload"))
    .description("have a running proxy read its configuration anew")
    .option("--json", "the outcome as JSON")
    .action(async (options: ChangeOptions) => {
      const { reload } = await import("./plugins.ts");
      report(await reload(options));
    });
}

function withAdminOptions(command: Command): Command {
  return command
    .option("--admin <host:port>", "where the admin interface listens; a unix socket's path, too", "127.0.0.1:9901")
    .addOption(
      new Option("--token <text>", "hot_load.token of the configuration, off the loopback").env("SLUICE_ADMIN_TOKEN"),
    );
}

function runCommand(sluice: Command, report: (status: number) => void): void {
  withConfigOptions(sluice.command("run").description("run the proxy"))
    .addOption(concurrencyOption())
    .addOption(
      new Option("--mode <mode>", "serve, or only validate the configuration")
        .choices(["serve", "validate"])
        .default("serve"),
    )
    .addOption(
      new Option("-l, --log-level <level>", "trace, debug, info, warning, error, critical or off")
        .argParser(checked(readLevel))
        .default("info"),
    )
    .addOption(
      new Option("--component-log-level <list>", "levels of single components, a:debug,b:info").argParser(
        checked(readComponentLevels),
      ),
    )
    .addOption(new Option("--log-format <format>", "how the process logs").choices(["text", "json"]).default("text"))
    .option("--watch", "take up changes of the configuration's file and of the modules it names")
    .option("--admin-address-path <file>", "write the bound admin address to this file")
    .addOption(
      new Option("--drain-time-s <seconds>", "how long streams may finish after SIGTERM, and replaced listeners drain")
        .argParser(checked((text) => wholeNumber(text, 86_400)))
        .default(DRAIN_TIME_MS / 1000),
    )
    .addOption(
      new Option("--drain-strategy <strategy>", "whether responses ask downstream to leave by and by, or at once")
        .choices(["gradual", "immediate"])
        .default("gradual"),
    )
    .addOption(
      new Option(
        "--restart-epoch <n>",
        "n > 0: take the listening sockets over from the process of epoch n - 1",
      ).argParser(checked((text) => wholeNumber(text, MAX_RESTART_NUMBER))),
    )
    .addOption(
      new Option("--base-id <n>", "keeps processes apart that hot restart on one machine").argParser(
        checked((text) => wholeNumber(text, MAX_RESTART_NUMBER)),
      ),
    )
    .addOption(
      new Option("--parent-shutdown-time-s <seconds>", "when the process that was taken over from ends at the latest")
        .argParser(checked((text) => wholeNumber(text, 86_400)))
        .default(PARENT_SHUTDOWN_MS / 1000),
    )
    .addOption(
      new Option(
        "--restart-trial-s <seconds>",
        "how long this process serves beside the one before until that drains; if this one ends or loses a worker meanwhile, that one goes on",
      )
        .argParser(checked((text) => wholeNumber(text, 86_400)))
        .default(0),
    )
    .option("--disable-hot-restart", "as if neither --restart-epoch nor --base-id were given")
    .action(async (options: RunOptions) => {
      if (options.mode === "validate") {
        const { validate } = await import("./validate.ts");
        report(validate(options));
      } else {
        const { run } = await import("./run.ts");
        report(await run(options));
      }
    });
}

function withConfigOptions(command: Command): Command {
  return command
    .option("-c, --config-path <file>", "bootstrap configuration, YAML or JSON")
    .option("--config-yaml <text>", "more of it as text, merged over the file")
    .option("--service-cluster <name>", "node.cluster, unless the configuration sets it")
    .option("--service-node <id>", "node.id, unless the configuration sets it")
    .option("--service-zone <zone>", "node.locality.zone, unless the configuration sets it");
}

function concurrencyOption(): Option {
  return new Option("--concurrency <n>", "number of worker threads (default: one per core)").argParser(
    checked((text) => Math.max(1, wholeNumber(text, MAX_CONCURRENCY))),
  );
}

function wholeNumber(text: string, maximum: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  if (number < 0 || number > maximum)
    throw new ProxyError("NOT_A_NUMBER", "config", `"${text}" is no whole number from 0 to ${maximum}`);
  return number;
}

function percentage(text: string): number {
  const number = /^\d{1,3}(\.\d{1,6})?$/.test(text) ? Number(text) : -1;
  if (number < 0 || number > 100)
    throw new ProxyError("NOT_A_NUMBER", "config", `"${text}" is no number from 0 to 100`);
  return number;
}

/** Turns our error into the one that commander prints beside the option's name. */
function checked<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      throw new InvalidArgumentError(error.message.slice(error.code.length + 2));
    }
  };
}
