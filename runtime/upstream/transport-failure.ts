/** The one place that reads an errno of an upstream socket. */
import { ResetReason } from "../errors.ts";

/** strerror(3) texts, which Envoy prints; Node's own are in another case and wording. */
const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  ECONNABORTED: "Software caused connection abort",
  ETIMEDOUT: "Connection timed out",
  EHOSTUNREACH: "No route to host",
  EHOSTDOWN: "Host is down",
  ENETUNREACH: "Network is unreachable",
  ENETDOWN: "Network is down",
  EADDRNOTAVAIL: "Cannot assign requested address",
  EADDRINUSE: "Address already in use",
  EAFNOSUPPORT: "Address family not supported by protocol",
  EACCES: "Permission denied",
  EPERM: "Operation not permitted",
  EINVAL: "Invalid argument",
  ENOENT: "No such file or directory",
  ENOTSOCK: "Socket operation on non-socket",
  ENOTDIR: "Not a directory",
  ENAMETOOLONG: "File name too long",
  EAGAIN: "Resource temporarily unavailable",
  EPIPE: "Broken pipe",
  EMFILE: "Too many open files",
  ENFILE: "Too many open files in system",
  ENOBUFS: "No buffer space available",
  ENOMEM: "Cannot allocate memory",
};

/** The host itself had no means to connect: nothing was wrong with the other side. */
const LOCAL = new Set(["EADDRNOTAVAIL", "EADDRINUSE", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"]);
/** connect(2) says these at once for TCP; the others come with the poll. */
const IMMEDIATE = new Set([...LOCAL, "ENETUNREACH", "ENETDOWN", "EAFNOSUPPORT", "EINVAL"]);

/** Why a connection could not be made, in Envoy's words. */
export interface ConnectFailure {
  readonly reason: ResetReason;
  readonly text: string;
}

/** Reads the error that a socket emitted before it was connected; `pipe`: a unix socket. */
export function connectFailure(error: NodeJS.ErrnoException, pipe: boolean): ConnectFailure {
  const code = error.code ?? "";
  const when = pipe || IMMEDIATE.has(code) ? "immediate" : "delayed";
  return {
    reason: !pipe && LOCAL.has(code) ? ResetReason.LOCAL_CONNECTION_FAILURE : ResetReason.REMOTE_CONNECTION_FAILURE,
    text: `${when} connect error: ${ERRNO_TEXTS[code] ?? (code || error.message)}`,
  };
}
