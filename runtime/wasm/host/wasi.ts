/** WASI preview 1 as far as toolchains import it: log, clock, random, own environment; no files, no sockets. */
import { randomFillSync } from "node:crypto";
import { HOST_CALL_FUEL, MAX_GUEST_LOG_BYTES, MAX_RANDOM_BYTES, MAX_WRITE_PIECES } from "../../limits.ts";
import * as LogLevel from "../../../abi/log-level.ts";
import { GuestExit } from "../instance/failure.ts";
import type { Instance } from "../instance/instance.ts";
import { wallClockNanoseconds } from "../values/wall-clock.ts";
import type { HostFunctions } from "./functions.ts";

const Errno = { SUCCESS: 0, BADF: 8, NOTDIR: 20, FAULT: 21, INVAL: 28, NOENT: 44, NOSYS: 52, NOTSUP: 58 } as const;
type ErrnoName = keyof typeof Errno;
const OUTSIDE = "an address or size outside of memory";
const NOT_OUTPUT = "descriptor: only 1 and 2 exist";
const NO_CLOCK = "clock: only 0 and 1 exist";
const NO_FILES = "there are no files and no sockets";

/** Answers an errno, and at debug level says why. */
function refuse(instance: Instance, errno: ErrnoName, call: string, why: string): number {
  if (instance.facts.environment.log.enabled(LogLevel.DEBUG))
    instance.log(LogLevel.DEBUG, `${call} answers ${errno}: ${why}`);
  return Errno[errno];
}

/** rights_base of a descriptor that can only be written. */
const RIGHT_FD_WRITE = 64n;
const FDSTAT_BYTES = 24;

export function wasiFunctions(instance: Instance): HostFunctions {
  return {
    ...output(instance),
    ...clocks(instance),
    ...environment(instance),
    ...files(instance),
    ...constants(instance),
  };
}

function isOutput(fd: number): boolean {
  return fd === 1 || fd === 2;
}

function output(instance: Instance): HostFunctions {
  const memory = instance.memory;

  function write(call: string, fd: number, piecesAt: number, count: number, writtenAt: number): number {
    if (!isOutput(fd)) return refuse(instance, "BADF", call, NOT_OUTPUT);
    if (count >>> 0 > MAX_WRITE_PIECES) return refuse(instance, "INVAL", call, "pieces: too many");
    if (!memory.has(piecesAt >>> 0, (count >>> 0) * 8)) return refuse(instance, "FAULT", call, OUTSIDE);
    const pieces: Buffer[] = [];
    let size = 0;
    for (let n = 0; n < count >>> 0; n++) {
      const at = memory.view.getUint32((piecesAt >>> 0) + n * 8, true);
      const length = memory.view.getUint32((piecesAt >>> 0) + n * 8 + 4, true);
      if (!memory.has(at, length)) return refuse(instance, "FAULT", call, OUTSIDE);
      if (size < MAX_GUEST_LOG_BYTES)
        pieces.push(memory.bytes.subarray(at, at + Math.min(length, MAX_GUEST_LOG_BYTES - size)));
      size += length;
    }
    const lines = instance.output.write(fd, Buffer.concat(pieces).latin1Slice());
    instance.spend((lines + pieces.length) * HOST_CALL_FUEL + Math.min(size, MAX_GUEST_LOG_BYTES));
    return memory.putU32(writtenAt >>> 0, size >>> 0) ? Errno.SUCCESS : refuse(instance, "FAULT", call, OUTSIDE);
  }

  return {
    fd_write: (fd: number, at: number, count: number, writtenAt: number): number =>
      write("fd_write", fd, at, count, writtenAt),
    fd_pwrite: (fd: number, at: number, count: number, _offset: bigint, writtenAt: number): number =>
      write("fd_pwrite", fd, at, count, writtenAt),
    proc_exit(code: number): void {
      throw new GuestExit(`proc_exit(${code})`, "exit", code);
    },
  };
}

function clocks(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    clock_time_get(id: number, _precision: bigint, at: number): number {
      if (id !== 0 && id !== 1) return refuse(instance, "NOTSUP", "clock_time_get", NO_CLOCK);
      return memory.putU64(at >>> 0, id === 0 ? wallClockNanoseconds() : process.hrtime.bigint())
        ? Errno.SUCCESS
        : refuse(instance, "FAULT", "clock_time_get", OUTSIDE);
    },
    clock_res_get(id: number, at: number): number {
      if (id !== 0 && id !== 1) return refuse(instance, "NOTSUP", "clock_res_get", NO_CLOCK);
      return memory.putU64(at >>> 0, 1n) ? Errno.SUCCESS : refuse(instance, "FAULT", "clock_res_get", OUTSIDE);
    },
    random_get(at: number, size: number): number {
      if (size >>> 0 > MAX_RANDOM_BYTES) return refuse(instance, "INVAL", "random_get", "size: too much at once");
      if (!memory.has(at >>> 0, size >>> 0)) return refuse(instance, "FAULT", "random_get", OUTSIDE);
      if (size !== 0) randomFillSync(memory.bytes, at >>> 0, size >>> 0);
      return Errno.SUCCESS;
    },
    poll_oneoff(_in: number, _out: number, _count: number, eventsAt: number): number {
      return memory.putU32(eventsAt >>> 0, 0) ? Errno.SUCCESS : refuse(instance, "FAULT", "poll_oneoff", OUTSIDE);
    },
    sched_yield: (): number => Errno.SUCCESS,
  };
}

function environment(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { environ } = instance.facts;
  const bytes = environ.reduce((sum, one) => sum + one.length, 0);

  function sizes(call: string, count: number, size: number, countAt: number, sizeAt: number): number {
    return memory.putU32(countAt >>> 0, count) && memory.putU32(sizeAt >>> 0, size)
      ? Errno.SUCCESS
      : refuse(instance, "FAULT", call, OUTSIDE);
  }

  return {
    args_sizes_get: (countAt: number, sizeAt: number): number => sizes("args_sizes_get", 0, 0, countAt, sizeAt),
    args_get: (): number => Errno.SUCCESS,
    environ_sizes_get: (countAt: number, sizeAt: number): number =>
      sizes("environ_sizes_get", environ.length, bytes, countAt, sizeAt),
    environ_get(pointersAt: number, textAt: number): number {
      if (!memory.has(pointersAt >>> 0, environ.length * 4) || !memory.has(textAt >>> 0, bytes))
        return refuse(instance, "FAULT", "environ_get", OUTSIDE);
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
  function nothing(call: string): (fd: number) => number {
    return (fd) => (isOutput(fd) ? Errno.SUCCESS : refuse(instance, "BADF", call, NOT_OUTPUT));
  }

  return {
    fd_fdstat_get(fd: number, at: number): number {
      if (!isOutput(fd)) return refuse(instance, "BADF", "fd_fdstat_get", NOT_OUTPUT);
      if (!memory.has(at >>> 0, FDSTAT_BYTES)) return refuse(instance, "FAULT", "fd_fdstat_get", OUTSIDE);
      memory.bytes.fill(0, at >>> 0, (at >>> 0) + FDSTAT_BYTES);
      memory.putU64((at >>> 0) + 8, RIGHT_FD_WRITE);
      return Errno.SUCCESS;
    },
    fd_readdir(_fd: number, _at: number, _size: number, _cookie: bigint, usedAt: number): number {
      return refuse(instance, memory.putU32(usedAt >>> 0, 0) ? "NOTDIR" : "FAULT", "fd_readdir", NO_FILES);
    },
    fd_allocate: nothing("fd_allocate"),
    fd_datasync: nothing("fd_datasync"),
    fd_sync: nothing("fd_sync"),
    fd_tell: nothing("fd_tell"),
    fd_fdstat_set_rights: nothing("fd_fdstat_set_rights"),
    fd_filestat_set_size: nothing("fd_filestat_set_size"),
    fd_filestat_set_times: nothing("fd_filestat_set_times"),
    fd_renumber: (fd: number): number => refuse(instance, isOutput(fd) ? "NOTSUP" : "BADF", "fd_renumber", NO_FILES),
  };
}

/** Answers that need no look at anything. */
function constants(instance: Instance): HostFunctions {
  const answers: Readonly<Record<string, ErrnoName>> = {
    fd_advise: "SUCCESS",
    fd_close: "SUCCESS",
    fd_seek: "SUCCESS",
    fd_read: "NOSYS",
    fd_pread: "NOSYS",
    fd_fdstat_set_flags: "NOSYS",
    fd_prestat_dir_name: "NOSYS",
    fd_filestat_get: "BADF",
    fd_prestat_get: "BADF",
    path_open: "NOENT",
    path_filestat_get: "NOTSUP",
    path_create_directory: "NOTSUP",
    path_filestat_set_times: "NOTSUP",
    path_link: "NOTSUP",
    path_readlink: "NOTSUP",
    path_remove_directory: "NOTSUP",
    path_rename: "NOTSUP",
    path_symlink: "NOTSUP",
    path_unlink_file: "NOTSUP",
    sock_accept: "NOTSUP",
    sock_recv: "NOTSUP",
    sock_send: "NOTSUP",
    sock_shutdown: "NOTSUP",
  };
  return Object.fromEntries(
    Object.entries(answers).map(([name, errno]) => [
      name,
      errno === "SUCCESS" ? (): number => Errno.SUCCESS : (): number => refuse(instance, errno, name, NO_FILES),
    ]),
  );
}
