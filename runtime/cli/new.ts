/** `sluice new`: a folder with a filter, its configuration, a test, a bootstrap that runs it, and what editors need. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ProxyError } from "../errors.ts";
import { MAX_FILTER_NAME } from "../limits.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What a new filter may filter: its sample, and what to try once it runs. */
const KINDS = {
  http: { sample: "new-filter", tries: ["curl -i 127.0.0.1:10000/"] },
  network: {
    sample: "new-network-filter",
    tries: ["echo hello | curl -sm1 telnet://127.0.0.1:10000"],
  },
} as const;
export type FilterKind = keyof typeof KINDS;

/** Files of the sample, and what they are called in the new folder; `NAME` stands for its name. */
const FILES: readonly (readonly [from: string, to: string])[] = [
  ["filter/starter/starter.ts", "NAME.ts"],
  ["filter/starter/starter.proto", "NAME.proto"],
  ["filter/starter/filter.json", "filter.json"],
  ["test/starter.test.ts", "NAME.test.ts"],
  ["project/sluice.yaml", "sluice.yaml"],
  ["project/README.md", "README.md"],
  ["project/gitignore", ".gitignore"],
];

/**
 * Makes the folder `path`, named like the filter. Returns lines for people: what to do next.
 * Throws ProxyError FILTER_NAME or FILTER_EXISTS.
 */
export function newFilter(path: string, kind: FilterKind = "http"): string[] {
  const { sample, tries } = KINDS[kind];
  const folder = resolve(path);
  const name = basename(folder);
  if (!/^[a-z][a-z0-9_]*$/.test(name) || name.length > MAX_FILTER_NAME) {
    throw new ProxyError(
      "FILTER_NAME",
      "config",
      `"${name}" is no name for a filter: small letters, digits and _, a letter first, ${MAX_FILTER_NAME} characters at most`,
    );
  }
  if (existsSync(folder))
    throw new ProxyError("FILTER_EXISTS", "config", `${folder} is there already; choose another name`);
  for (const [from, to] of FILES)
    write(folder, to.replace("NAME", name), named(readFileSync(join(ROOT, "samples", sample, from), "utf8"), name));
  for (const [file, content] of Object.entries(editorFiles(folder, name))) write(folder, file, json(content));
  const shown = relative(process.cwd(), folder);
  const place = shown.startsWith("..") ? folder : shown;
  return [
    `${place}: ${kind === "http" ? "an HTTP" : "a network"} filter with its configuration, a test and a bootstrap. Next:`,
    "",
    `  npx sluice test ${place}`,
    `  npx sluice dev ${place}`,
    ...tries.map((line) => `  ${line}`),
  ];
}

/** Project settings: TypeScript's checker over AssemblyScript's library, for editors. */
function editorFiles(folder: string, name: string): Record<string, unknown> {
  const sluice = relative(folder, ROOT).replaceAll("\\", "/") || ".";
  return {
    "package.json": {
      name,
      private: true,
      type: "module",
      scripts: { build: "sluice build", test: "sluice test", dev: "sluice dev" },
      devDependencies: { sluice: `file:${sluice}` },
    },
    "tsconfig.json": {
      extends: `${sluice}/node_modules/assemblyscript/std/assembly.json`,
      compilerOptions: {
        noEmit: true,
        skipLibCheck: true,
        strict: true,
        strictPropertyInitialization: false,
        allowImportingTsExtensions: true,
        noImplicitOverride: true,
        paths: { "*": [`${sluice}/node_modules/assemblyscript/std/assembly/*`], "sluice/*": [`${sluice}/*`] },
      },
      include: ["*.ts", `${sluice}/filters/sdk/builtins.d.ts`],
      exclude: ["*.test.ts", "build", "node_modules"],
    },
  };
}

function named(text: string, name: string): string {
  const words = name.split("_").map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return text.replaceAll("Starter", words.join("")).replaceAll("starter", name);
}

function write(folder: string, file: string, text: string): void {
  const path = join(folder, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { flag: "wx" });
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
