/** WASI preview 1 as far as toolchains import it: log, clock, random, own environment; no files, no sockets. */
import { randomFillSync } from "node:crypto";
import { HOST_CALL_FUEL, MAX_GUEST_LOG_BYTES, MAX_RANDOM_BYTES, MAX_WRITE_PIECES } from "../../limits.ts";
import { GuestExit } from "../instance/failure.ts";
import type { Instance } from "../instance/instance.ts";
import { wallClockNanoseconds } from "../values/wall-clock.ts";
import type { HostFunctions } from "./functions.ts";

const Errno = { SUCCESS: 0, BADF: 8, NOTDIR: 20, FAULT: 21, INVAL: 28, NOENT: 44, NOSYS: 52, NOTSUP: 58 } as const;
/** rights_base of a descriptor that can only be written. */
const RIGHT_FD_WRITE = 64n;
const FDSTAT_BYTES = 24;

export function wasiFunctions(instance: Instance): HostFunctions {
  return { ...output(instance), ...clocks(instance), ...environment(instance), ...files(instance), ...constants() };
}

function isOutput(fd: number): boolean {
  return fd === 1 || fd === 2;
}

function output(instance: Instance): HostFunctions {
  const memory = instance.memory;

  function write(fd: number, piecesAt: number, count: number, writtenAt: number): number {
    if (!isOutput(fd)) return Errno.BADF;
    if (count >>> 0 > MAX_WRITE_PIECES) return Errno.INVAL;
    if (!memory.has(piecesAt >>> 0, (count >>> 0) * 8)) return Errno.FAULT;
    const pieces: Buffer[] = [];
    let size = 0;
    for (let n = 0; n < count >>> 0; n++) {
      const at = memory.view.getUint32((piecesAt >>> 0) + n * 8, true);
      const length = memory.view.getUint32((piecesAt >>> 0) + n * 8 + 4, true);
      if (!memory.has(at, length)) return Errno.FAULT;
      if (size < MAX_GUEST_LOG_BYTES)
        pieces.push(memory.bytes.subarray(at, at + Math.min(length, MAX_GUEST_LOG_BYTES - size)));
      size += length;
    }
    const lines = instance.output.write(fd, Buffer.concat(pieces).latin1Slice());
    instance.spend((lines + pieces.length) * HOST_CALL_FUEL + Math.min(size, MAX_GUEST_LOG_BYTES));
    return memory.putU32(writtenAt >>> 0, size >>> 0) ? Errno.SUCCESS : Errno.FAULT;
  }

  return {
    fd_write: write,
    fd_pwrite: (fd: number, at: number, count: number, _offset: bigint, writtenAt: number): number =>
      write(fd, at, count, writtenAt),
    proc_exit(code: number): void {
      throw new GuestExit(`proc_exit(${code})`, "exit", code);
    },
  };
}

function clocks(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    clock_time_get(id: number, _precision: bigint, at: number): number {
      if (id !== 0 && id !== 1) return Errno.NOTSUP;
      return memory.putU64(at >>> 0, id === 0 ? wallClockNanoseconds() : process.hrtime.bigint())
        ? Errno.SUCCESS
        : Errno.FAULT;
    },
    clock_res_get(id: number, at: number): number {
      if (id !== 0 && id !== 1) return Errno.NOTSUP;
      return memory.putU64(at >>> 0, 1n) ? Errno.SUCCESS : Errno.FAULT;
    },
    random_get(at: number, size: number): number {
      if (size >>> 0 > MAX_RANDOM_BYTES) return Errno.INVAL;
      if (!memory.has(at >>> 0, size >>> 0)) return Errno.FAULT;
      if (size !== 0) randomFillSync(memory.bytes, at >>> 0, size >>> 0);
      return Errno.SUCCESS;
    },
    poll_oneoff(_in: number, _out: number, _count: number, eventsAt: number): number {
      return memory.putU32(eventsAt >>> 0, 0) ? Errno.SUCCESS : Errno.FAULT;
    },
    sched_yield: (): number => Errno.SUCCESS,
  };
}

function environment(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { environ } = instance.facts;
  const bytes = environ.reduce((sum, one) => sum + one.length, 0);

  function sizes(count: number, size: number, countAt: number, sizeAt: number): number {
    return memory.putU32(countAt >>> 0, count) && memory.putU32(sizeAt >>> 0, size) ? Errno.SUCCESS : Errno.FAULT;
  }

  return {
    args_sizes_get: (countAt: number, sizeAt: number): number => sizes(0, 0, countAt, sizeAt),
    args_get: (): number => Errno.SUCCESS,
    environ_sizes_get: (countAt: number, sizeAt: number): number => sizes(environ.length, bytes, countAt, sizeAt),
    environ_get(pointersAt: number, textAt: number): number {
      if (!memory.has(pointersAt >>> 0, environ.length * 4) || !memory.has(textAt >>> 0, bytes)) return Errno.FAULT;
      let at = textAt >>> 0;
      environ.forEach((one, n) => {
        memory.view.setUint32((pointersAt >>> 0) + n * 4, at, true);
        memory.bytes.set(one, at);
        at += one.length;
      });
      return Errno.SUCCESS;
    },
  };
}

function files(instance: Instance): HostFunctions {
  const memory = instance.memory;

  /** Calls that have nothing to do for the two descriptors there are. */
  function nothing(fd: number): number {
    return isOutput(fd) ? Errno.SUCCESS : Errno.BADF;
  }

  return {
    fd_fdstat_get(fd: number, at: number): number {
      if (!isOutput(fd)) return Errno.BADF;
      if (!memory.has(at >>> 0, FDSTAT_BYTES)) return Errno.FAULT;
      memory.bytes.fill(0, at >>> 0, (at >>> 0) + FDSTAT_BYTES);
      memory.putU64((at >>> 0) + 8, RIGHT_FD_WRITE);
      return Errno.SUCCESS;
    },
    fd_readdir(_fd: number, _at: number, _size: number, _cookie: bigint, usedAt: number): number {
      return memory.putU32(usedAt >>> 0, 0) ? Errno.NOTDIR : Errno.FAULT;
    },
    fd_allocate: nothing,
    fd_datasync: nothing,
    fd_sync: nothing,
    fd_tell: nothing,
    fd_fdstat_set_rights: nothing,
    fd_filestat_set_size: nothing,
    fd_filestat_set_times: nothing,
    fd_renumber: (fd: number): number => (isOutput(fd) ? Errno.NOTSUP : Errno.BADF),
  };
}

/** Answers that need no look at anything. */
function constants(): HostFunctions {
  const answers: Readonly<Record<string, number>> = {
    fd_advise: Errno.SUCCESS,
    fd_close: Errno.SUCCESS,
    fd_seek: Errno.SUCCESS,
    fd_read: Errno.NOSYS,
    fd_pread: Errno.NOSYS,
    fd_fdstat_set_flags: Errno.NOSYS,
    fd_prestat_dir_name: Errno.NOSYS,
    fd_filestat_get: Errno.BADF,
    fd_prestat_get: Errno.BADF,
    path_open: Errno.NOENT,
    path_filestat_get: Errno.NOTSUP,
    path_create_directory: Errno.NOTSUP,
    path_filestat_set_times: Errno.NOTSUP,
    path_link: Errno.NOTSUP,
    path_readlink: Errno.NOTSUP,
    path_remove_directory: Errno.NOTSUP,
    path_rename: Errno.NOTSUP,
    path_symlink: Errno.NOTSUP,
    path_unlink_file: Errno.NOTSUP,
    sock_accept: Errno.NOTSUP,
    sock_recv: Errno.NOTSUP,
    sock_send: Errno.NOTSUP,
    sock_shutdown: Errno.NOTSUP,
  };
  return Object.fromEntries(Object.entries(answers).map(([name, errno]) => [name, (): number => errno]));
}
