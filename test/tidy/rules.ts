/** The rules of the house, as data. `test/tidy.test.ts` reads them and says what breaks which. */

/** Rooms of `runtime/` from left to right: a file may import from its own room and from those to the left of it. */
export const ROOMS: readonly (readonly string[])[] = [
  ["errors", "limits"],
  ["timers"],
  ["codec"],
  ["observe"],
  ["tls"],
  ["registry"],
  ["config"],
  ["upstream"],
  ["listener"],
  ["network"],
  ["http"],
  ["wasm"],
  ["extensions"],
  ["worker"],
  ["artifact"],
  ["testkit"],
  ["control"],
  ["cli"],
];

/** Contracts between rooms, types and closed sets alone: an interface sits with its caller, and both sides read it. */
export const FACES: readonly string[] = [
  "runtime/config/snapshot.ts",
  "runtime/config/hot-load-snapshot.ts",
  "runtime/config/listener-snapshot.ts",
  "runtime/config/rate-limit-snapshot.ts",
  "runtime/config/network-snapshot.ts",
  "runtime/config/plugin-snapshot.ts",
  "runtime/config/tls-snapshot.ts",
  "runtime/network/filter.ts",
];

/** Who may import whom: the first rule whose `from` is the file's path decides. */
export const ARROWS: readonly { readonly from: RegExp; readonly may: RegExp; readonly why: string }[] = [
  { from: /^abi\//, may: /^abi\//, why: "abi/ is the contract: it imports nothing but itself" },
  { from: /^filters\//, may: /^(filters|abi)\//, why: "filters/ imports abi/ and itself only" },
  {
    from: /^runtime\//,
    may: /^(runtime|abi)\/|^(filters\/build\/main\.ts|build\/filters\/|samples\/quickstart\/|package\.json$|node_modules$)/,
    why: "runtime/ imports abi/ and itself only",
  },
  {
    from: /^samples\/[^/]+\/filter\//,
    may: /^samples\/|^filters\/sdk\/sluice\.ts$|^abi\/proto\//,
    why: "a sample filter has the SDK's face and nothing else of ours",
  },
  { from: /^samples\//, may: /^samples\//, why: "samples import nothing of ours but the published faces" },
];

/** Names that say nothing about what lives in a file. */
export const BANNED_NAMES: readonly string[] = [
  "utils",
  "util",
  "helpers",
  "helper",
  "common",
  "misc",
  "manager",
  "base",
  "types",
  "impl",
  "handler",
  "shared-utils",
  "index",
];

/** Lists of one kind of thing, which stay in one file however long they grow. */
export const LISTS: ReadonlySet<string> = new Set(["runtime/limits.ts"]);
/** Lines of a file at most. Tests are lists, and may be longer. */
export const MAX_LINES = 500;
export const MAX_TEST_LINES = 800;

/** Text that must not stand in a file. `where` and `unless` are matched against path and line. */
export const BANNED_TEXT: readonly {
  readonly text: RegExp;
  readonly where: RegExp;
  readonly unless?: RegExp;
  readonly why: string;
}[] = [
  { text: /\b(TODO|FIXME|XXX|HACK)\b/, where: /./, why: "unfinished work belongs in an issue" },
  { text: /(^|[\s"'`(=:])\/(work|root|home|Users)\//, where: /./, why: "a path of one machine" },
  {
    text: /["'`]\/tmp\//,
    where: /\.(ts|js)$/,
    unless: /path: "\/tmp\/x\.sock"|name: "pipe"|pipe::/,
    why: "temporary files go to os.tmpdir()",
  },
  {
    text: /registry\.npmjs|deb\.debian\.org|\/artifactory\/|yarnpkg\.com|"resolved":/,
    where: /./,
    why: "a download host: lockfile and scripts work behind any mirror",
  },
  {
    text: /\b(test|it|describe|suite)\.(skip|only|todo)\b|\bt\.(skip|todo)\(|\b(skip|only|todo):\s*(true|["'`])/,
    where: /^test\/.*\.ts$/,
    why: "a test that does not run",
  },
  {
    text: /\bconsole\.(log|info|debug|error|warn)\(/,
    where: /^runtime\/(?!cli\/)/,
    why: "the host's own log goes through runtime/observe",
  },
  {
    text: /@ts-(ignore|nocheck)|oxlint-disable(?!-(next-)?line)|oxfmt-ignore-file/,
    where: /\.(ts|js)$/,
    why: "a check switched off for more than one line",
  },
  {
    text: /\bexport default\b/,
    where: /^(runtime|abi|filters|samples|test)\/.*(?<!\.d)\.ts$/,
    unless: /["'`].*export default/,
    why: "a name of the importer's choosing",
  },
];

/** Where a path from the outside into `runtime/` begins. */
export const ENTRIES: readonly string[] = ["runtime/cli/sluice.js", "runtime/testkit/testkit.ts"];

/** Files of `runtime/` that are run by hand or by a script, and their reason. */
export const RUN_BY_HAND: ReadonlyMap<string, string> = new Map([
  ["runtime/config/bundle/generate.ts", "writes the descriptor bundle: npm run bundle"],
]);

/** Words that say what a bound counts. Every bound's comment begins with its unit or holds one. */
export const UNIT_WORDS =
  /\b(bytes?|milliseconds|seconds|header fields|pages|characters|levels|percent|tokens?|connections?|streams|hosts?|entries|pairs|items|names|types|imports|exports|metrics|doubles|slots|calls|looks|tries|restarts|threads?|values|buckets|lines|heads|responses|expressions|levels|problems|messages|the same)\b/i;

/** Bounds of other things begin with their name in the plural: "Namespaces …", "Empty lines …". */
export const COUNTED_THINGS = /^\s*\/\*\* (\S+ )?\S+s\b/;
