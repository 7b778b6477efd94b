/** The evangelist filter over real sockets: marks, log lines of each phase, and no garbage left behind. */
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { cluster, forward, route } from "../http/engine.ts";
import { encode, type FilterEngine, startFilters } from "./filter-engine.ts";

const FOLDER = fileURLToPath(new URL("../../filters/evangelist", import.meta.url));
const PROTO = `${FOLDER}/evangelist.proto`;

let origin: Server;
let proxy: FilterEngine;
let seen: IncomingMessage | undefined;

function configuration(fields: Record<string, unknown>): Uint8Array {
  return encode(PROTO, "sluice.filters.evangelist.v1.Evangelist", fields);
}

async function start(fields: Record<string, unknown>): Promise<FilterEngine> {
  const { port } = origin.address() as AddressInfo;
  return startFilters([{ filter: "evangelist", configuration: configuration(fields) }], {
    routes: [route("/", forward("origin"))],
    clusters: [cluster("origin", [port])],
  });
}

before(async () => {
  origin = createServer((incoming, response) => {
    seen = incoming;
    incoming.resume();
    incoming.on("end", () => {
      response.setHeader("x-evangelist", "from upstream");
      response.end("hello");
    });
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
});
after(() => {
  origin.closeAllConnections();
  origin.close();
});

async function ask(port: number, method: string, body: string): Promise<IncomingMessage> {
  const outgoing = request({ host: "127.0.0.1", port, method, path: "/", agent: false });
  outgoing.end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  return response;
}

describe("evangelist", () => {
  after(() => proxy.close());

  it("marks both ways and tells each phase", async () => {
    proxy = await start({ msg: "read the docs" });
    const response = await ask(proxy.engine.port, "POST", "some text");
    assert.equal(seen!.headers["x-evangelist"], "read the docs");
    assert.equal(response.headers["x-evangelist"], "read the docs");
    const phases = proxy.log.lines.filter((line) => line.includes("read the docs"));
    assert.deepEqual(
      phases.map((line) => /(?:decode|encode) \w+/.exec(line)![0]),
      ["decode headers", "decode data", "encode headers", "encode data"],
    );
  });

  it("is silent when told so", async () => {
    const quiet = await start({ msg: "read the docs", silent: true });
    const response = await ask(quiet.engine.port, "GET", "");
    assert.equal(response.headers["x-evangelist"], "read the docs");
    assert.deepEqual(
      quiet.log.lines.filter((line) => line.includes("read the docs")),
      [],
    );
    quiet.close();
  });

  it("refuses a configuration that is no message", async () => {
    const broken = startFilters([{ filter: "evangelist", configuration: Buffer.from([0xff]) }], { routes: [] });
    await assert.rejects(broken, /envoy\.filters\.http\.evangelist/);
  });

  it("leaves memory flat over a million callbacks", async () => {
    const { path } = await buildFilter(FOLDER);
    const guest = soakGuest(path);
    const before = guest.memory.buffer.byteLength;
    const create = guest["proxy_on_context_create"]!;
    const requestHeaders = guest["proxy_on_request_headers"]!;
    const responseHeaders = guest["proxy_on_response_headers"]!;
    const remove = guest["proxy_on_delete"]!;
    for (let id = 2; id < 250_002; id++) {
      create(id, 1);
      requestHeaders(id, 1, 1);
      responseHeaders(id, 1, 1);
      remove(id);
    }
    assert.equal(guest.memory.buffer.byteLength, before);
  });
});

type Guest = Record<string, (...args: number[]) => number> & { memory: WebAssembly.Memory };

/** The module with host functions that do nothing but accept (log level 0: every message is built). */
function soakGuest(path: string): Guest {
  const module = new WebAssembly.Module(new Uint8Array(readFileSync(path)));
  const bytes = configuration({ msg: "read the docs" });
  const imports: Record<string, Record<string, (...args: number[]) => number>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const memory = (): DataView => new DataView(guest.memory.buffer);
  imports["env"]!["proxy_get_log_level"] = (at) => (memory().setInt32(at, 0, true), 0);
  imports["env"]!["proxy_get_buffer_bytes"] = (_buffer, _start, _max, pp, sp) => {
    const address = guest["proxy_on_memory_allocate"]!(bytes.length);
    new Uint8Array(guest.memory.buffer).set(bytes, address);
    memory().setUint32(pp, address, true);
    memory().setUint32(sp, bytes.length, true);
    return 0;
  };
  const guest = new WebAssembly.Instance(module, imports).exports as unknown as Guest;
  guest["_initialize"]!();
  guest["proxy_on_context_create"]!(1, 0);
  assert.equal(guest["proxy_on_configure"]!(1, bytes.length), 1);
  return guest;
}
