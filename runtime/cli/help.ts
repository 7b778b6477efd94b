/** How the list of commands looks: in groups, each in a line that a terminal of 80 columns holds. */
import { Help } from "commander";
import type { Command, Option } from "commander";

/** By group, then by command: what it does, in few words. `sluice COMMAND --help` says it in full. */
export const GROUPS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "Run a proxy:": {
    run: "run the proxy",
    validate: "print every problem of a configuration",
    quickstart: "run the proxy with a demo upstream",
    sidecar: "lead an application's traffic through the proxy",
  },
  "Write filters:": {
    new: "make the folder of a new filter",
    dev: "run a filter; compile and swap it at each save",
    test: "run a filter's tests against the real host",
    build: "compile filters to WebAssembly",
  },
  "Filters of a running proxy:": {
    status: "print versions, streams, failures, trials",
    load: "replace a plugin's module, at once or on trial",
    promote: "have a version on trial serve all streams",
    rollback: "give a trial up, or bring an older version back",
    reload: "read the configuration anew",
  },
  "Share filters:": {
    inspect: "show what an artifact is, without running it",
    push: "store a module in a registry or an OCI layout",
    pull: "fetch a module from a registry or an OCI layout",
    copy: "copy an artifact with its signatures",
    tags: "list a repository's tags",
    login: "keep a registry's user name and password",
    logout: "forget them",
    sign: "sign an artifact or a file",
    verify: "check who has signed an artifact or a file",
    "generate-key-pair": "write a fresh key pair",
  },
};

/** Settings for the program, before its commands are added: they take them over. */
export function configureHelp(sluice: Command): void {
  sluice.configureHelp({
    // Options are told by the command's own help.
    subcommandTerm: (command: Command) =>
      [
        command.name(),
        ...command.registeredArguments.map((one) => (one.required ? `<${one.name()}>` : `[${one.name()}]`)),
      ].join(" "),
    // An empty list as default tells a person nothing.
    optionDescription(this: Help, option: Option): string {
      return Help.prototype.optionDescription.call(this, option).replace(/ \(default: \[\]\)$/, "");
    },
  });
}

/** Gives each command its group and its line. */
export function groupCommands(sluice: Command): void {
  for (const [group, commands] of Object.entries(GROUPS)) {
    for (const [name, summary] of Object.entries(commands))
      sluice.commands
        .find((command) => command.name() === name)
        ?.helpGroup(group)
        .summary(summary);
  }
}
