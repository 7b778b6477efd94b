/** What every function of WASI answers, as data. */
import { MAX_RANDOM_BYTES, MAX_WRITE_PIECES } from "../../../runtime/limits.ts";
import { at, differs, out, span, text, value } from "./arguments.ts";
import type { Arg, FunctionCases } from "./arguments.ts";

/** errno of WASI. */
export const ERRNO = {
  SUCCESS: 0,
  BADF: 8,
  NOTDIR: 20,
  FAULT: 21,
  INVAL: 28,
  NOENT: 44,
  NOSYS: 52,
  NOTSUP: 58,
} as const;
const { SUCCESS, BADF, NOTDIR, FAULT, INVAL, NOENT, NOSYS, NOTSUP } = ERRNO;

const NO_LIMIT = "nothing that grows: the host keeps nothing of it";
const OUTPUT: Arg = { kind: "set", value: 1, bad: [0, 3, -1], status: BADF };
const CLOCK: Arg = { kind: "set", value: 0, bad: [2, 3, -1], status: NOTSUP };

/** The same in every phase. */
function everywhere(args: readonly Arg[], status: number, more: Partial<FunctionCases> = {}): FunctionCases {
  return { args, status, root: status, log: status, outside: FAULT, limit: NO_LIMIT, ...more };
}

/** Does not look at its arguments, of which `types` says what they are. */
function constant(types: string, status: number): FunctionCases {
  return everywhere(
    Array.from(types, (type) => value(type === "I" ? -1n : -1)),
    status,
  );
}

/** Nothing to do for the two descriptors there are. */
function forOutput(...rest: readonly Arg[]): FunctionCases {
  return everywhere([OUTPUT, ...rest], SUCCESS);
}

/** `offset`: of fd_pwrite. */
function write(...offset: readonly Arg[]): FunctionCases {
  return everywhere(
    [OUTPUT, at(Buffer.from("0800000004000000", "hex")), value(1), ...offset, out("written_p")],
    SUCCESS,
    {
      others: [
        differs("a piece outside of memory", { 1: at(Buffer.from("0000ff7f04000000", "hex")) }, FAULT),
        differs("a piece of 4 GiB", { 1: at(Buffer.from("08000000ffffffff", "hex")) }, FAULT),
        differs("no pieces", { 2: value(0) }, SUCCESS),
      ],
      limit: [differs("too many pieces", { 2: value(MAX_WRITE_PIECES + 1) }, INVAL)],
    },
  );
}

/** By name. */
export const WASI_CASES: Readonly<Record<string, FunctionCases>> = {
  args_get: constant("ii", SUCCESS),
  args_sizes_get: everywhere([out("count_p"), out("size_p")], SUCCESS),
  clock_res_get: everywhere([CLOCK, out("u64_p", 8)], SUCCESS),
  clock_time_get: everywhere([CLOCK, value(0n), out("u64_p", 8)], SUCCESS),
  environ_get: everywhere([out("pointers", 4), out("texts", 4)], SUCCESS),
  environ_sizes_get: everywhere([out("count_p"), out("size_p")], SUCCESS),
  fd_advise: constant("iIIi", SUCCESS),
  fd_allocate: forOutput(value(0n), value(0n)),
  fd_close: constant("i", SUCCESS),
  fd_datasync: forOutput(),
  fd_fdstat_get: everywhere([OUTPUT, out("fdstat_p", 24)], SUCCESS),
  fd_fdstat_set_flags: constant("ii", NOSYS),
  fd_fdstat_set_rights: forOutput(value(0n), value(0n)),
  fd_filestat_get: constant("ii", BADF),
  fd_filestat_set_size: forOutput(value(0n)),
  fd_filestat_set_times: forOutput(value(0n), value(0n), value(0)),
  fd_pread: constant("iiiIi", NOSYS),
  fd_prestat_dir_name: constant("iii", NOSYS),
  fd_prestat_get: constant("ii", BADF),
  fd_pwrite: write(value(0n)),
  fd_read: constant("iiii", NOSYS),
  fd_readdir: everywhere([value(1), value(0), value(0), value(0n), out("used_p")], NOTDIR),
  fd_renumber: everywhere([OUTPUT, value(2)], NOTSUP),
  fd_seek: constant("iIii", SUCCESS),
  fd_sync: forOutput(),
  fd_tell: forOutput(value(0)),
  fd_write: write(),
  path_create_directory: constant("iii", NOTSUP),
  path_filestat_get: constant("iiiii", NOTSUP),
  path_filestat_set_times: constant("iiiiIIi", NOTSUP),
  path_link: constant("iiiiiii", NOTSUP),
  path_open: constant("iiiiiIIii", NOENT),
  path_readlink: constant("iiiiii", NOTSUP),
  path_remove_directory: constant("iii", NOTSUP),
  path_rename: constant("iiiiii", NOTSUP),
  path_symlink: constant("iiiii", NOTSUP),
  path_unlink_file: constant("iii", NOTSUP),
  poll_oneoff: everywhere([value(0), value(0), value(1), out("events_p")], SUCCESS),
  random_get: everywhere([text(Buffer.alloc(32), "buffer")], SUCCESS, {
    others: [differs("nothing", { 0: span(0, 0) }, SUCCESS)],
    limit: [differs("too much at once", { 0: span(0, MAX_RANDOM_BYTES + 1) }, INVAL)],
    huge: INVAL,
  }),
  sched_yield: constant("", SUCCESS),
  sock_accept: constant("iii", NOTSUP),
  sock_recv: constant("iiiiii", NOTSUP),
  sock_send: constant("iiiii", NOTSUP),
  sock_shutdown: constant("ii", NOTSUP),
};
