/** http-proxy-3 as its documentation has it, with kept connections: `node http-proxy-3.ts PORT UPSTREAM`. */
import { Agent } from "node:http";
import { createProxyServer } from "http-proxy-3";

const [port, upstream] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 128 });
createProxyServer({ target: `http://127.0.0.1:${upstream}`, agent }).listen(Number(port), "127.0.0.1");
