/** Modules that must not serve, each with the exact reason; and a registry that says what a test wants. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { descriptor } from "../../runtime/registry/layout.ts";
import { MediaType } from "../../runtime/registry/manifest.ts";
import { otherSchema, versionModule } from "./versions.ts";

export interface BadCandidate {
  readonly title: string;
  readonly module: () => Promise<Uint8Array>;
  /** The whole reason, as a regular expression; SOURCE stands for where the module is from. */
  readonly says: string;
  /** The same where the registry's side sees it first. */
  readonly saysOfArtifact?: string;
}

const CODE_SECTION = 10;
const I32_ADD = 0x6a;
const I64_ADD = 0x7c;

/** A module of which each instruction is one, but that adds numbers of another kind than it has. */
async function uncompilable(): Promise<Buffer> {
  const bytes = await versionModule(9);
  for (let at = codeSection(bytes); at < bytes.length; at++) {
    if (bytes[at] !== I32_ADD) continue;
    bytes[at] = I64_ADD;
    if (!WebAssembly.validate(new Uint8Array(bytes))) return bytes;
    bytes[at] = I32_ADD;
  }
  throw new Error("there is no i32.add in it");
}

/** Where the code of a module begins. */
function codeSection(bytes: Buffer): number {
  for (let at = 8; at < bytes.length;) {
    const id = bytes[at++];
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      size |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (id === CODE_SECTION) return at;
    at += size;
  }
  throw new Error("it has no code");
}

/** A module that imports what no host has. */
async function unknownImport(): Promise<Buffer> {
  const bytes = await versionModule(9);
  bytes.write("proxy_get_shared_dato", bytes.indexOf("proxy_get_shared_data"), "latin1");
  return bytes;
}

const REHEARSED =
  "GUEST_REHEARSAL: on a made-up request of versions: plugin versions \\(0\\.0\\.0, sha256 [0-9a-f]{12}\\)";
const AT = "(?:\\n +at \\S+ \\(.+:0x[0-9a-f]+\\))+";

export const BAD_CANDIDATES: readonly BadCandidate[] = [
  {
    title: "no module at all",
    module: () => Promise.resolve(Buffer.from("hello")),
    says: "MODULE_CORRUPTED: SOURCE: not a WebAssembly module \\(wrong first eight bytes\\)",
    saysOfArtifact: "ARTIFACT_CONTENT: [^:]+:\\d+/team/versions:bad-0: it holds no WebAssembly module",
  },
  {
    title: "a truncated file",
    module: async () => (await versionModule(9)).subarray(0, -1000),
    says: "MODULE_CORRUPTED: SOURCE: section \\d+ at byte \\d+ is cut off",
  },
  {
    title: "one that does not compile",
    module: uncompilable,
    says: 'MODULE_CORRUPTED: SOURCE: is not valid: WebAssembly.Module\\(\\): Compiling function #\\d+:"\\S+" failed: i64\\.add\\[0\\] expected type i64, .*',
  },
  {
    title: "an unknown import",
    module: unknownImport,
    says: "MODULE_IMPORT: SOURCE: import env\\.proxy_get_shared_dato: this host has no such function",
  },
  {
    title: "a trap in its start",
    module: () => versionModule(9, "s"),
    says: `GUEST_START: plugin versions: proxy_on_vm_start: trap: divide by zero${AT}`,
  },
  {
    title: "one that refuses the configuration",
    module: () => versionModule(9, "c"),
    says: "GUEST_CONFIGURE: plugin versions: proxy_on_configure refused the configuration",
  },
  {
    title: "a trap at the first request",
    module: () => versionModule(9, "r"),
    says: `${REHEARSED}: trap: divide by zero in proxy_on_request_headers, context \\d+ \\(root 1\\)${AT}`,
  },
  {
    title: "an endless loop",
    module: () => versionModule(9, "l"),
    says: `${REHEARSED}: out of fuel: unreachable in proxy_on_request_headers, context \\d+ \\(root 1\\)${AT}`,
  },
  {
    title: "a schema without the configured type",
    module: () => otherSchema(9),
    says: 'CONFIG_INVALID: \\S+/bootstrap\\.yaml:\\d+:\\d+: error: \\S+configuration\\["@type"\\]: unknown type test\\.versions\\.v1\\.Versions; did you mean "test\\.versions\\.v2\\.Versions"\\? \\[unknown-type\\]',
  },
];

/** What a tag of the played registry stands for. */
export interface Played {
  readonly bytes: Uint8Array;
  /** The transfer breaks off after so many bytes, each time. */
  readonly breaksAt?: number;
  /** Other bytes come than the digest says. */
  readonly lies?: boolean;
}

/** A registry with one repository, `team/versions`. */
export class PlayedRegistry {
  readonly tags = new Map<string, Played>();
  host = "";
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((incoming, response) => {
      const found = /^\/v2\/team\/versions\/(manifests|blobs)\/(.+)$/.exec(incoming.url!);
      const [, kind, name] = found ?? [];
      for (const [tag, played] of this.tags) {
        const bytes = Buffer.from(played.bytes);
        const layer = descriptor(MediaType.WASM, bytes);
        const config = descriptor(MediaType.EMPTY, Buffer.from("{}"));
        const manifest = Buffer.from(
          JSON.stringify({ schemaVersion: 2, mediaType: MediaType.MANIFEST, config, layers: [layer] }),
        );
        if (kind === "manifests" && (name === tag || name === descriptor(MediaType.MANIFEST, manifest).digest)) {
          response.writeHead(200, { "content-type": MediaType.MANIFEST }).end(manifest);
          return;
        }
        if (kind !== "blobs" || name !== layer.digest) continue;
        response.writeHead(200, { "content-length": bytes.length });
        if (played.breaksAt !== undefined) response.write(bytes.subarray(0, played.breaksAt), () => response.destroy());
        else response.end(played.lies === true ? Buffer.alloc(bytes.length) : bytes);
        return;
      }
      response.writeHead(404).end();
    });
  }

  static async start(): Promise<PlayedRegistry> {
    const registry = new PlayedRegistry();
    const server = registry.#server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // It ends with the process that plays it.
    server.unref();
    registry.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return registry;
  }

  reference(tag: string): string {
    return `oci://${this.host}/team/versions:${tag}`;
  }
}
