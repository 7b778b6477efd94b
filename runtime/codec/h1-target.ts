/**
 * Request targets (RFC 9112 section 3.2) and authorities.
 *
 * API: `isAuthority(text)`; `isPath(text)`; `splitAbsolute(target)` → true and fills `absolute`, false when malformed.
 */

/** The parts of the absolute-form target that {@link splitAbsolute} split last. */
export const absolute = { scheme: "http", authority: "", path: "/" };

// One pass each, no backtracking: the classes of neighbouring parts do not overlap.
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]+)(?::[0-9]{0,5})?$/;
const PATH = /^(?:\/[\x21\x22\x24-\x7e]*|\*)$/;
const ABSOLUTE = /^(https?):\/\/([^/?]*)(.*)$/i;

/** Whether `text` is `host` or `host:port` (IPv6 in brackets), without user information. */
export function isAuthority(text: string): boolean {
  return AUTHORITY.test(text);
}

/** Whether `text` is a path with its query, without a fragment, or `*`. */
export function isPath(text: string): boolean {
  return PATH.test(text);
}

/** Splits `http://authority/path?query`. Other schemes are not proxied: false. */
export function splitAbsolute(target: string): boolean {
  const parts = ABSOLUTE.exec(target);
  if (parts === null || !isAuthority(parts[2]!)) return false;
  absolute.scheme = parts[1]!.toLowerCase();
  absolute.authority = parts[2]!;
  absolute.path = parts[3]!.startsWith("/") ? parts[3]! : `/${parts[3]!}`;
  return true;
}
