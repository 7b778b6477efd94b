/**
 * What references to registries stood for, kept beside the code cache so that a start needs no registry. A record holds the
 * manifests themselves: that the code is what the reference's digest, a pin or a signature means is found anew each time,
 * by the hashes from the manifest down to the code, and not believed.
 */
import { mkdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { MAX_KEPT_REFERENCE_BYTES } from "../limits.ts";
import type { Log } from "../observe/log.ts";
import type { Signature } from "../registry/signature.ts";
import { writeWhole } from "../registry/whole-file.ts";
import { sha256Of } from "./digest-cache.ts";

/** What a reference stood for. */
export interface Kept {
  /** From what the reference names down to the manifest with the code; all but the last one are indexes. */
  readonly manifests: readonly Buffer[];
  /** Absent: they were not asked for. */
  readonly signatures: readonly Signature[] | undefined;
}

/** As it stands in the file; bytes are in base64. */
interface KeptText {
  readonly uri: string;
  readonly manifests: readonly string[];
  readonly signatures?: readonly {
    readonly form: Signature["form"];
    readonly payload: string;
    readonly signature: string;
  }[];
}

export class KeptReferences {
  readonly #folder: string;
  readonly #log: Log;

  /** `folder` is the code cache's. */
  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /** undefined when nothing is kept, or nothing that can be read. */
  get(uri: string): Kept | undefined {
    const path = this.#path(uri);
    try {
      const status = statSync(path, { throwIfNoEntry: false });
      if (status === undefined) return undefined;
      const me = process.geteuid?.() ?? status.uid;
      if (status.uid !== me && status.uid !== 0) {
        this.#log.warning(`code cache: ${path} belongs to user ${status.uid}: the registry is asked instead`);
        return undefined;
      }
      if (status.size > MAX_KEPT_REFERENCE_BYTES) throw new Error(`it has more than ${MAX_KEPT_REFERENCE_BYTES} bytes`);
      const kept = read(JSON.parse(readFileSync(path, "utf8")) as KeptText, uri);
      const now = new Date();
      utimesSync(path, now, now);
      return kept;
    } catch (error) {
      this.#log.warning(`code cache: ${path} is of no use, the registry is asked instead: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** A folder that cannot be written is told, and changes nothing else. */
  put(uri: string, { manifests, signatures }: Kept): void {
    const text: KeptText = {
      uri,
      manifests: manifests.map((bytes) => bytes.toString("base64")),
      ...(signatures === undefined
        ? {}
        : {
            signatures: signatures
              .filter(({ unread }) => unread === undefined)
              .map(({ form, payload, signature }) => ({
                form,
                payload: payload.toString("base64"),
                signature: signature.toString("base64"),
              })),
          }),
    };
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      writeWhole(this.#path(uri), JSON.stringify(text), 0o600);
    } catch (error) {
      this.#log.warning(`code cache: cannot keep what ${uri} stands for: ${(error as Error).message}`);
    }
  }

  #path(uri: string): string {
    return join(this.#folder, `${sha256Of(Buffer.from(uri))}.ref`);
  }
}

/** Throws when it is not what was written, whoever changed it; older versions kept no manifests. */
function read({ uri, manifests, signatures }: KeptText, wanted: string): Kept {
  if (uri !== wanted || !Array.isArray(manifests) || manifests.length === 0) throw new Error("it keeps no manifests");
  return {
    manifests: manifests.map((text) => Buffer.from(text, "base64")),
    signatures: signatures?.map(({ form, payload, signature }) => ({
      form,
      payload: Buffer.from(payload, "base64"),
      signature: Buffer.from(signature, "base64"),
    })),
  };
}
