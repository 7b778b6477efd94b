/** What `sluice load`, `status`, `promote`, `rollback` and `reload` say when something is wrong, how they end, and their JSON. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { MAX_MODULE_BYTES } from "../../runtime/limits.ts";
import { type Outcome, runNode, SLUICE } from "../cli/command.ts";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { configuration, startProxy, versionModule } from "./versions.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-commands-"));
const sluice = (...args: string[]): Promise<Outcome> =>
  runNode(SLUICE, args, { env: { SLUICE_ADMIN_TOKEN: undefined } });

async function moduleFile(number: number): Promise<string> {
  const path = join(folder, `versions-${number}.wasm`);
  writeFileSync(path, await versionModule(number));
  return path;
}

/** Something else than Sluice at an address. */
async function other(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => (server.close(), server.closeAllConnections()));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** `code`: 1, or 2 when the command line itself is wrong. */
function assertRefused({ status, stdout, stderr }: Outcome, says: RegExp, code = 1): void {
  assert.match(stderr, says);
  assert.deepEqual([status, stdout], [code, ""]);
}

describe("commands for a running proxy", () => {
  test("a name that is nearly one is told", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    const admin = ["--admin", proxy.admin];
    const near = /^sluice: PLUGIN_UNKNOWN: no plugin has the name "version"; did you mean "versions"\?\n$/;
    assertRefused(await sluice("load", ...admin, "version", await moduleFile(2)), near);
    assertRefused(await sluice("promote", ...admin, "version"), near);
    assertRefused(await sluice("rollback", ...admin, "version"), near);
    assertRefused(
      await sluice("rollback", ...admin, "altogether"),
      /no plugin has the name "altogether"; there is versions\n$/,
    );
    assertRefused(
      await sluice("promote", ...admin, "versions"),
      /PLUGIN_NO_CANDIDATE: no version of versions is on trial/,
    );
    assertRefused(await sluice("rollback", ...admin, "versions", "x"), /PLUGIN_PARAMETER: version is a number/);
  });

  test("plugins of one name in several listeners are changed together, and that is told", async () => {
    const module = await moduleFile(1);
    const one = configuration(module);
    const listeners = one.slice(one.indexOf("    - name: ingress"));
    const proxy = await new ProxyProcess(one + listeners.replace("name: ingress", "name: second"), [
      "--concurrency",
      "1",
    ]).live();
    const { stdout } = await sluice("load", "--admin", proxy.admin, "versions", await moduleFile(2));
    assert.match(stdout, /^versions \(in 2 places\): version 2 /);
    const lines = (await proxy.get("/listeners", proxy.admin)).body.trim().split("\n");
    assert.equal(lines.length, 2);
    for (const line of lines) assert.equal((await proxy.get("/", line.split("::")[1])).headers["x-version"], "0002");
  });

  test("outcomes as JSON", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    const json = async (...args: string[]): Promise<Record<string, unknown>> => {
      const { status, stdout, stderr } = await sluice(...args, "--json", "--admin", proxy.admin);
      assert.deepEqual([status, stderr], [0, ""]);
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    const tried = await json("load", "versions", await moduleFile(2), "--percent", "5");
    assert.deepEqual(
      [tried["plugins"], tried["places"], tried["number"], tried["state"]],
      [["versions"], 1, 2, "share"],
    );
    assert.equal((await json("promote", "versions"))["state"], "live");
    assert.deepEqual((await json("rollback", "versions"))["number"], 1);
    assert.equal((await json("reload"))["state"], "unchanged");
    assert.ok(Array.isArray((await json("status"))["plugins"]));
  });

  test("modules that are too large, or none", async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1"] });
    const admin = ["--admin", proxy.admin];
    const large = join(folder, "large.wasm");
    writeFileSync(large, "");
    truncateSync(large, MAX_MODULE_BYTES + 1);
    const says = `MODULE_TOO_LARGE: ${large} has ${MAX_MODULE_BYTES + 1} bytes, more than ${MAX_MODULE_BYTES}\n`;
    assertRefused(await sluice("load", ...admin, "versions", large), new RegExp(`^sluice: ${says}$`));
    const posted = await proxy.post(`/wasm/load?plugin=versions&file=${large}`);
    assert.deepEqual([posted.status, posted.body], [422, says]);
    assertRefused(await sluice("load", ...admin, "versions", folder), /MODULE_UNREADABLE: /);
    assertRefused(
      await sluice("load", ...admin, "versions"),
      /is not configured to come from a registry; name the artifact/,
    );
  });

  test("without the token, and with another", async () => {
    const open = await startProxy({
      runtime: `hot_load: { token: { inline_string: "open sesame" } }`,
      everywhere: true,
    });
    const admin = ["--admin", open.admin.replace("0.0.0.0", "127.0.0.1")];
    const module = await moduleFile(2);
    const load = (...more: string[]): Promise<Outcome> => sluice("load", ...admin, ...more, "versions", module);
    assertRefused(
      await load(),
      /^sluice: Plugins are changed over the loopback, or with the token of the configuration/,
    );
    const wrong = await load("--token", "open sesam");
    assertRefused(wrong, /^sluice: This is not the token of the configuration \(hot_load\.token\)\.\n$/);
    assert.equal((await load("--token", "open sesame")).status, 0);
    const closed = await startProxy({ everywhere: true });
    const refused = await sluice(
      "load",
      "--admin",
      closed.admin.replace("0.0.0.0", "127.0.0.1"),
      "--token",
      "any",
      "versions",
      module,
    );
    assertRefused(refused, /over the loopback only: the configuration has no hot_load\.token for others/);
  });

  test("something else at the address", async () => {
    const module = await moduleFile(2);
    const older = await other((_request, response) =>
      response.writeHead(404).end("invalid path. admin commands are:\n  /: Admin home page\n"),
    );
    assertRefused(
      await sluice("load", "--admin", older, "versions", module),
      /^sluice: ADMIN_UNSUPPORTED: the admin interface at [\d.:]+ has no \/wasm\/load: it is that of an older version, or not of Sluice\n$/,
    );
    for (const body of ["<html>hello</html>", "[1]", "null", '{"other":1}']) {
      const web = await other((_request, response) => response.end(body));
      assertRefused(await sluice("status", "--admin", web), /ADMIN_UNSUPPORTED: what answers at [\d.:]+ is no admin/);
      assertRefused(await sluice("reload", "--admin", web), /ADMIN_UNSUPPORTED: what answers at [\d.:]+ is no admin/);
    }
    const deaf = await other((request) => request.socket.destroy());
    assertRefused(await sluice("status", "--admin", deaf), /ADMIN_UNREACHABLE: no answer from the admin interface/);
    assertRefused(await sluice("status", "--admin", "nonsense"), /ADMIN_ADDRESS: "nonsense" is neither/);
    assertRefused(await sluice("status", "--admin", "127.0.0.1:1"), /ADMIN_UNREACHABLE: .*ECONNREFUSED/);
  });

  test("options that say nothing, or too much", async () => {
    for (const [args, says] of [
      [["load"], /missing required argument 'plugin'/],
      [["load", "--percent", "101", "a", "b"], /no number from 0 to 100/],
      [["load", "--header-percent", "-1", "a", "b"], /no number from 0 to 100/],
      [["load", "--frist", "a", "b"], /unknown option '--frist'/],
      [["rollback"], /missing required argument 'plugin'/],
      [["promote", "a", "b"], /too many arguments/],
    ] as const)
      assertRefused(await sluice(...args), says, 2);
  });
});
