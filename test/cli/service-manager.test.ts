/** sd_notify(3): a process that serves says so to the one who waits for it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, test } from "node:test";
import { bootstrap, OK_ROUTE, ProxyProcess } from "./proxy-process.ts";

const STEADY = bootstrap({ routes: [OK_ROUTE] });
/** Node has no such sockets: prints what comes to one. */
const RECEIVER = `
  use Socket; $| = 1;
  socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
  bind($s, pack_sockaddr_un($ARGV[0] =~ s/^@/\\0/r)) or die $!;
  print "ready\\n";
  while (defined recv($s, my $text, 4096, 0)) { print $text }
`;

async function receiver(name: string): Promise<{ heard(text: string): Promise<void> }> {
  const child = spawn("perl", ["-e", RECEIVER, name], { stdio: ["ignore", "pipe", "inherit"] });
  after(() => child.kill("SIGKILL"));
  let output = "";
  child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
  const heard = async (text: string): Promise<void> => {
    while (!output.includes(text)) {
      assert.equal(child.exitCode, null);
      await once(child.stdout, "data");
    }
  };
  await heard("ready");
  return { heard };
}

for (const [kind, place] of [
  ["a path", (folder: string) => join(folder, "notify")],
  ["an abstract name", () => `@sluice-notify-${process.pid}`],
] as const)
  test(`a process that serves says so, and which one it is, at ${kind}`, async () => {
    const name = place(new ProxyProcess("").folder);
    const manager = await receiver(name);
    const proxy = await new ProxyProcess(STEADY, [], ["env", `NOTIFY_SOCKET=${name}`]).live();
    await manager.heard(`READY=1\nMAINPID=${proxy.process.pid}\n`);
  });

test("a manager that is not there is no reason to end", async () => {
  const proxy = await new ProxyProcess(STEADY, [], ["env", "NOTIFY_SOCKET=/nowhere/notify"]).live();
  await proxy.printed(
    "the service manager cannot be told that this process serves: NATIVE_SOCKETS: connect to /nowhere/notify: ENOENT",
  );
  assert.equal((await proxy.get("/")).body, "ok");
});
