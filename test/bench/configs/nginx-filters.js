// The jobs of fault and evangelist in njs. njs of Debian 12 starts each request with a fresh VM and has no shared
// dictionary, so the token bucket is nginx's own limit_req: that is to nginx's advantage.
const MESSAGE = "hello from wasm";

function fault(r) {
  const wanted = r.headersIn["x-envoy-fault-abort-request"];
  if (wanted === undefined) return "";
  const status = Number(wanted);
  return status >= 200 && status < 600 ? "1" : "";
}

function mark() {
  return MESSAGE;
}

function markResponse(r) {
  r.headersOut["x-evangelist"] = MESSAGE;
}

export default { fault, mark, markResponse };
