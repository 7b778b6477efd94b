/** When changes of files are seen: in a folder that never rests, and with files that come and go. */
import assert from "node:assert/strict";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readSecrets } from "../../runtime/config/secret-reader.ts";
import type { UpstreamTlsConfig } from "../../runtime/config/tls-snapshot.ts";
import { MAX_SECRET_BYTES } from "../../runtime/limits.ts";
import { SecretFiles } from "../../runtime/tls/secret-files.ts";
import { until } from "../upstream/fixtures.ts";
import { folder } from "./certificates.ts";
import { source, upstreamTls, validation } from "./contexts.ts";

test("a folder in which something always happens; files that are gone, come back, or are too large", async (t) => {
  const place = folder(t);
  const path = join(place, "ca.pem");
  writeFileSync(path, "one");
  const seen: string[] = [];
  const refused: string[] = [];
  const trusted = source(path);
  const config = upstreamTls({ validation: validation({ trustedCa: trusted }) });
  const files: SecretFiles<UpstreamTlsConfig> = new SecretFiles(config, readSecrets, {
    onChanged: () => {
      const text = Buffer.from(files.read(trusted)).toString();
      if (text === "bad") throw new Error("it is bad");
      seen.push(text);
    },
    onRefused: (reason) => refused.push(reason),
  });
  t.after(() => files.close());
  const noise = setInterval(() => writeFileSync(join(place, "noise"), String(performance.now())), 5);
  t.after(() => clearInterval(noise));
  writeFileSync(path, "two");
  await until(() => seen.includes("two"));
  writeFileSync(path, "bad");
  await until(() => refused.includes("it is bad"));
  assert.equal(Buffer.from(files.read(trusted)).toString(), "two");
  rmSync(path);
  await until(() => refused.some((reason) => reason.includes("ENOENT")));
  writeFileSync(join(place, "next"), Buffer.alloc(MAX_SECRET_BYTES + 1));
  renameSync(join(place, "next"), path);
  await until(() => refused.some((reason) => reason.includes(`more than ${MAX_SECRET_BYTES}`)));
  writeFileSync(path, "three");
  await until(() => seen.includes("three"));
  files.close();
  assert.deepEqual(seen, ["two", "three"]);
});

test("what is refused is told once, however often the folder is looked at, and again after it was right", async (t) => {
  const place = folder(t);
  const path = join(place, "ca.pem");
  writeFileSync(path, "one");
  const refused: string[] = [];
  let looks = 0;
  const trusted = source(path);
  const config = upstreamTls({ validation: validation({ trustedCa: trusted }) });
  const files: SecretFiles<UpstreamTlsConfig> = new SecretFiles(config, readSecrets, {
    onChanged: () => {
      looks++;
      const text = Buffer.from(files.read(trusted)).toString();
      if (text.startsWith("bad")) throw new Error("it is bad");
    },
    onRefused: (reason) => refused.push(reason),
  });
  t.after(() => files.close());
  // As a log in the same folder does it, in which each refusal is a line.
  const noise = setInterval(() => writeFileSync(join(place, "noise"), String(performance.now())), 5);
  t.after(() => clearInterval(noise));
  const lookedAgain = async (): Promise<void> => {
    const before = looks;
    await until(() => looks >= before + 3);
  };
  writeFileSync(path, "bad");
  await lookedAgain();
  assert.deepEqual(refused, ["it is bad"]);
  writeFileSync(path, "bad in another way");
  await until(() => refused.length > 1);
  await lookedAgain();
  assert.equal(refused.length, 2);
  writeFileSync(path, "two");
  await until(() => Buffer.from(files.read(trusted)).toString() === "two");
  writeFileSync(path, "bad");
  await until(() => refused.length > 2);
  await lookedAgain();
  assert.equal(refused.length, 3);
});

test("a folder that is not there is told, not thrown", (t) => {
  const place = folder(t);
  const path = join(place, "ca.pem");
  writeFileSync(path, "one");
  const refused: string[] = [];
  const config = upstreamTls({
    validation: validation({ trustedCa: source(path) }),
    watchedDirectories: [join(place, "none")],
  });
  const files = new SecretFiles(config, readSecrets, {
    onChanged: () => {},
    onRefused: (reason) => refused.push(reason),
  });
  files.close();
  assert.match(refused.join(), /changes in .*none are not seen: ENOENT/);
});
