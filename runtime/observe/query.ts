/** Query parameters of a request's `:path`, for route matches, rate limits and access logs. */

/** The first value of `name`, percent-decoded to a byte string; undefined when absent, "" when it has no value. */
export function queryParameter(path: string, name: string): string | undefined {
  const start = path.indexOf("?");
  if (start === -1) return undefined;
  const hash = path.indexOf("#", start);
  const end = hash === -1 ? path.length : hash;
  for (let at = start + 1; at <= end;) {
    let next = path.indexOf("&", at);
    if (next === -1 || next > end) next = end;
    let equals = path.indexOf("=", at);
    if (equals === -1 || equals > next) equals = next;
    if (percentDecode(path.slice(at, equals)) === name && (name !== "" || equals < next)) {
      return percentDecode(path.slice(equals + 1, next));
    }
    at = next + 1;
  }
  return undefined;
}

function percentDecode(text: string): string {
  if (!text.includes("%")) return text;
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
