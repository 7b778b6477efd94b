/**
 * Tells what files there are, once, and when they have changed: written anew, renamed into place, or reached over another symbolic link, as Kubernetes
 * swaps mounted volumes. Looks at them now and then, which works on every file system; a change counts once it has stood
 * still between two looks, so that a file that is just being written is left alone.
 */
import { stat } from "node:fs/promises";
import { FILE_LOOK_MS } from "../limits.ts";
import { RegularLook } from "./regular-look.ts";

interface Watched {
  /** Whom the owner knows. */
  known: string;
  /** As it was at the last look. */
  seen: string;
}

export class FileWatch {
  readonly #files: () => readonly string[];
  readonly #onChange: (path: string) => Promise<void>;
  readonly #watched = new Map<string, Watched>();
  readonly #looks = new RegularLook(() => this.#look(), FILE_LOOK_MS);

  /** `files` is asked at each look; `onChange` decides whether it is news, must not reject, and is waited for. */
  constructor(files: () => readonly string[], onChange: (path: string) => Promise<void>) {
    this.#files = files;
    this.#onChange = onChange;
  }

  /** Each file is told of once, even if it does not change: it may have changed before anybody looked. */
  start(): void {
    this.#looks.start();
  }

  stop(): void {
    this.#looks.stop();
  }

  async #look(): Promise<void> {
    const files = this.#files();
    for (const path of this.#watched.keys()) if (!files.includes(path)) this.#watched.delete(path);
    for (const path of files) {
      const now = await signature(path);
      const watched = this.#watched.get(path);
      if (watched === undefined) {
        this.#watched.set(path, { known: "", seen: now });
        continue;
      }
      const still = now === watched.seen;
      watched.seen = now;
      // A file that is gone may be on its way back.
      if (!still || now === watched.known || now === "") continue;
      watched.known = now;
      if (!this.#looks.stopped) await this.#onChange(path);
    }
  }
}

/** Which file it is, and how it is; "" when there is none. */
async function signature(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs}`;
  } catch {
    // Absent, or out of reach: as good as absent.
    return "";
  }
}
