/**
 * Reason phrases.
 *
 * API: `reasonOf(status)` → text ("" when none is registered), `statusLine(status, http10)` → line with CR LF.
 */

/**
 * The registered status codes. A table of our own, since `node:http` has one but brings its whole module with it,
 * which every worker thread would have to load before it can start.
 */
const REASONS: Readonly<Record<number, string>> = {
  100: "Continue",
  101: "Switching Protocols",
  102: "Processing",
  103: "Early Hints",
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  207: "Multi-Status",
  208: "Already Reported",
  226: "IM Used",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  305: "Use Proxy",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Payload Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  418: "I'm a Teapot",
  421: "Misdirected Request",
  422: "Unprocessable Entity",
  423: "Locked",
  424: "Failed Dependency",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  506: "Variant Also Negotiates",
  507: "Insufficient Storage",
  508: "Loop Detected",
  509: "Bandwidth Limit Exceeded",
  510: "Not Extended",
  511: "Network Authentication Required",
};

const lines: string[] = [];
const oldLines: string[] = [];
for (let status = 100; status < 1000; status++) {
  lines[status - 100] = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`;
  oldLines[status - 100] = `HTTP/1.0 ${status} ${reasonOf(status)}\r\n`;
}

/** The reason phrase of `status`, "" when it has none. */
export function reasonOf(status: number): string {
  return REASONS[status] ?? "";
}

/** The status line with its CR LF; a status outside 100 … 999 becomes 500. */
export function statusLine(status: number, http10: boolean): string {
  const table = http10 ? oldLines : lines;
  return table[status - 100] ?? table[400]!;
}
