/** Registries that are slow, broken or hostile, played by a server that a test scripts. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, describe, it } from "node:test";
import { ProxyError } from "../../runtime/errors.ts";
import { MAX_LIST_PAGES } from "../../runtime/limits.ts";
import { storeModule } from "../../runtime/registry/artifact.ts";
import { findCredentials, storeCredentials } from "../../runtime/registry/credentials.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { checkHost } from "../../runtime/registry/fetch-guard.ts";
import { descriptor } from "../../runtime/registry/layout.ts";
import { manifestBytes, MediaType } from "../../runtime/registry/manifest.ts";
import type { Manifest } from "../../runtime/registry/manifest.ts";
import { Repository } from "../../runtime/registry/repository.ts";
import { Authority, folder, read } from "../tls/certificates.ts";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Play = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

const servers: Server[] = [];
const repositories: Repository[] = [];
afterEach(async () => {
  for (const one of repositories.splice(0)) await one.close();
  for (const one of servers.splice(0)) {
    one.closeAllConnections();
    one.close();
  }
});

async function serve(play: Play): Promise<string> {
  const server = createServer((request, response) => play(request, response, new URL(request.url!, "http://registry")));
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function open(host: string, credentials: { username: string; password: string } | null = null): Repository {
  const repository = new Repository(host, "team/gate", { credentials });
  repositories.push(repository);
  return repository;
}

const BLOB = Buffer.alloc(300_000, "blob");
const LAYER = descriptor(MediaType.WASM, BLOB);

describe("blobs", () => {
  it("go on where a transfer broke off", async () => {
    const ranges: (string | undefined)[] = [];
    const host = await serve((request, response) => {
      ranges.push(request.headers.range);
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, { "content-length": BLOB.length - from });
      response.write(BLOB.subarray(from, from + 100_000), () => response.destroy());
      if (from >= 200_000) response.end(BLOB.subarray(from + 100_000));
    });
    const parts: number[] = [];
    const bytes = await open(host).blob(LAYER, (done) => parts.push(done));
    assert.ok(bytes.equals(BLOB));
    assert.ok(ranges.length >= 2 && ranges[1] !== undefined, String(ranges));
    assert.equal(parts.at(-1), BLOB.length);
  });

  it("are given up after some tries, with what was there", async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { "content-length": BLOB.length });
      response.write(BLOB.subarray(0, 1000), () => response.destroy());
    });
    await assert.rejects(
      open(host).blob(LAYER),
      /ARTIFACT_UNREACHABLE: .*broke off after \d+ of 300000 bytes, 5 times/,
    );
  });

  it("that are others than named are refused", async () => {
    const host = await serve((_request, response) => void response.end(Buffer.alloc(BLOB.length, "other")));
    await assert.rejects(open(host).blob(LAYER), /ARTIFACT_DIGEST/);
  });

  it("that never end are cut off at the size that was named", async () => {
    const host = await serve((_request, response) => {
      const more = (): void => void (response.write(BLOB) ? setImmediate(more) : response.once("drain", more));
      more();
    });
    await assert.rejects(open(host).blob(LAYER), /sends more than the 300000 bytes/);
  });

  it("of a size beyond the bound are not asked for", async () => {
    let asked = 0;
    const host = await serve((_request, response) => {
      asked++;
      response.end();
    });
    await assert.rejects(open(host).blob({ ...LAYER, size: 2 ** 40 }), /ARTIFACT_TOO_LARGE/);
    assert.equal(asked, 0);
  });
});

describe("redirects", () => {
  it("are followed without the credentials", async () => {
    let shown: string | undefined = "not asked";
    const store = await serve((request, response) => {
      shown = request.headers.authorization;
      response.end(BLOB);
    });
    const host = await serve((request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      else response.writeHead(307, { location: `http://${store}/blob` }).end();
    });
    assert.ok((await open(host, { username: "a", password: "b" }).blob(LAYER)).equals(BLOB));
    assert.equal(shown, undefined);
  });

  for (const [name, location, why] of [
    ["to the cloud's metadata", "http://169.254.169.254/latest/meta-data", /link-local/],
    ["to it in other clothes", "http://[::ffff:169.254.169.254]/", /link-local/],
    ["to a file", "file:///etc/passwd", /redirects to file:/],
    ["in a circle", "/v2/team/gate/blobs/again", /redirects more than 10 times/],
  ] as const) {
    it(`${name} are refused`, async () => {
      const host = await serve((_request, response) => void response.writeHead(302, { location }).end());
      await assert.rejects(open(host).blob(LAYER), why);
    });
  }
});

describe("addresses", () => {
  for (const host of [
    "169.254.169.254",
    "169.254.0.1",
    "[fe80::1]",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.1.1",
    "[::ffff:a9fe:a9fe]",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1%eth0",
    "fd20:ce::254",
    "168.63.129.16",
  ]) {
    it(`${host} is never fetched from`, () => assert.throws(() => checkHost(host), /never fetched from/));
  }
  for (const host of [
    "127.0.0.1",
    "10.0.0.1",
    "[::1]",
    "64:ff9b::a00:1",
    "2001:db8::a9fe:a9fe",
    "registry.example.com",
  ]) {
    it(`${host} is`, () => assert.doesNotThrow(() => checkHost(host)));
  }
});

describe("authentication", () => {
  for (const [name, challenge, why] of [
    ["a realm that is no URL", 'Bearer realm="nowhere"', /its realm "nowhere" is no https URL/],
    ["a realm on the metadata address", 'Bearer realm="http://169.254.169.254/token"', /link-local/],
    ["another scheme", "Negotiate", /in a way that is not known here/],
    ["no challenge", "", /in a way that is not known here/],
  ] as const) {
    it(`refuses ${name}`, async () => {
      const host = await serve(
        (_request, response) => void response.writeHead(401, { "www-authenticate": challenge }).end(),
      );
      await assert.rejects(open(host, { username: "a", password: "b" }).manifest("1"), why);
    });
  }

  it("is for the registry alone: a store that it redirects to is told nothing, whatever realm it names", async () => {
    const asked: string[] = [];
    const store: string = await serve((request, response, url) => {
      asked.push(`${url.pathname} ${request.headers.authorization ?? "nobody"}`);
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${store}/token"` }).end();
    });
    const host = await serve(
      (_request, response) => void response.writeHead(307, { location: `http://${store}/x` }).end(),
    );
    await assert.rejects(
      open(host, { username: "a", password: "b" }).blob(LAYER),
      new RegExp(`ARTIFACT_REGISTRY: .*${store} answered 401`),
    );
    assert.deepEqual(asked, ["/x nobody"]);
  });

  it("looks for credentials under the name that the registry was given", async () => {
    const place = mkdtempSync(join(tmpdir(), "sluice-login-"));
    const before = process.env["DOCKER_CONFIG"];
    process.env["DOCKER_CONFIG"] = place;
    const name = (
      await serve((request, response) => {
        if (request.headers.authorization === undefined) response.writeHead(401, { "www-authenticate": "Basic" }).end();
        else response.end(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      })
    ).replace("127.0.0.1", "LocalHost");
    const repository = new Repository(name, "team/gate", { plainHttp: true });
    try {
      await storeCredentials(name, { username: "a", password: "b" });
      assert.ok(await repository.manifest("1"));
    } finally {
      await repository.close();
      if (before === undefined) delete process.env["DOCKER_CONFIG"];
      else process.env["DOCKER_CONFIG"] = before;
      rmSync(place, { recursive: true });
    }
  });

  it("shows a registry's own words without its control characters", async () => {
    const host = await serve(
      (_request, response) =>
        void response.writeHead(403).end(JSON.stringify({ errors: [{ code: "DENIED", message: "no\u001b[31m way" }] })),
    );
    await assert.rejects(
      open(host).manifest("1"),
      /answered 403 \(DENIED: no\?\[31m way\): these credentials may not do that/,
    );
  });

  it("sends an identity token as OAuth2 wants it", async () => {
    let body = "";
    const host: string = await serve((request, response, url) => {
      if (url.pathname === "/token") {
        request.on("data", (piece: Buffer) => (body += piece.toString()));
        request.on("end", () => response.end(JSON.stringify({ access_token: "granted" })));
      } else if (request.headers.authorization === "Bearer granted") {
        response.end(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      } else {
        response.writeHead(401, { "www-authenticate": `Bearer realm="http://${host}/token",service="r"` }).end();
      }
    });
    const repository = new Repository(host, "team/gate", {
      credentials: { username: "<token>", password: "", identityToken: "refresh" },
    });
    repositories.push(repository);
    assert.ok(await repository.manifest("1"));
    assert.equal(new URLSearchParams(body).get("refresh_token"), "refresh");
    assert.equal(new URLSearchParams(body).get("scope"), "repository:team/gate:pull");
  });
});

describe("time", () => {
  it("is bounded: whoever asked can give a trickle of bytes up", async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { "content-length": 1000 });
      const drip = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(drip));
    });
    const end = new AbortController();
    const repository = new Repository(host, "team/gate", { credentials: null, signal: end.signal });
    repositories.push(repository);
    const parts: number[] = [];
    await assert.rejects(
      repository.blob(LAYER, (done) => {
        parts.push(done);
        if (parts.length === 2) end.abort();
      }),
      /ARTIFACT_UNREACHABLE: .*given up/,
    );
    await assert.rejects(repository.manifest("1"), /ARTIFACT_UNREACHABLE: .*given up/);
  });
});

describe("lists", () => {
  const entry = descriptor(MediaType.MANIFEST, Buffer.from("one"));

  it("are asked for page by page, and a hostile registry's end", async () => {
    let pages = 0;
    const host = await serve((_request, response) => {
      response.setHeader("link", `</v2/team/gate/tags/list?page=${++pages}>; rel="next"`);
      response.end(JSON.stringify({ tags: pages === 1 ? ["a"] : [] }));
    });
    assert.deepEqual(await open(host).tags(), ["a"]);
    assert.equal(pages, MAX_LIST_PAGES);
  });

  it("of referrers have pages too, and more entries than an artifact has layers", async () => {
    const many = Array.from({ length: 300 }, () => entry);
    const host = await serve((_request, response, url) => {
      if (!url.search) response.setHeader("link", `<${url.pathname}?page=2>; rel="next"`);
      response.end(JSON.stringify({ schemaVersion: 2, manifests: url.search ? [entry] : many }));
    });
    assert.equal((await open(host).referrers(entry.digest)).length, 301);
  });

  it("do not go on over plain HTTP when they began with TLS", async (t) => {
    const place = folder(t);
    const authority = new Authority(place, "authority");
    const issued = authority.issue("localhost");
    const server = createTlsServer({ cert: read(issued.certificate), key: read(issued.key) }, (_request, response) => {
      response.setHeader("link", '<http://127.0.0.1:9/more>; rel="next"');
      response.end(JSON.stringify({ tags: ["a"] }));
    });
    servers.push(server);
    server.listen(0, "localhost");
    await once(server, "listening");
    const repository = new Repository(`localhost:${(server.address() as AddressInfo).port}`, "team/gate", {
      plainHttp: false,
      ca: read(authority.certificate).toString(),
      credentials: null,
    });
    repositories.push(repository);
    await assert.rejects(repository.tags(), /ARTIFACT_UNREACHABLE: .*redirects to http:/);
  });
});

describe("pushes", () => {
  it("tell the digest of what was pushed, even when the tag stands for something else by then", async () => {
    const stored = new Map<string, Buffer>();
    const other = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
    const host = await serve((request, response, url) => {
      if (request.method === "HEAD") return void response.writeHead(200).end();
      if (request.method === "PUT") {
        const pieces: Buffer[] = [];
        request.on("data", (piece: Buffer) => pieces.push(piece));
        request.on("end", () => {
          const bytes = Buffer.concat(pieces);
          stored.set(digestOf(bytes), bytes);
          response.writeHead(201).end();
        });
        return undefined;
      }
      return void response.end(stored.get(url.pathname.split("/").at(-1)!) ?? other);
    });
    const module = Buffer.from("0061736d01000000", "hex");
    const digest = await storeModule(open(host), "1", module, "istio", { annotations: {}, manifest: undefined });
    assert.deepEqual([...stored.keys()], [digest]);
  });
});

describe("manifests", () => {
  it("by digest must be what was named", async () => {
    const host = await serve(
      (_request, response) => void response.end(JSON.stringify({ schemaVersion: 2, manifests: [] })),
    );
    await assert.rejects(open(host).manifest(`sha256:${"1".repeat(64)}`), /ARTIFACT_DIGEST/);
  });

  it("must be what the registry says they are", async () => {
    const host = await serve((_request, response) => {
      response.setHeader("docker-content-digest", `sha256:${"1".repeat(64)}`);
      response.end(JSON.stringify({ schemaVersion: 2, manifests: [] }));
    });
    await assert.rejects(open(host).manifest("1"), /ARTIFACT_DIGEST/);
  });

  it("that never end are cut off", async () => {
    const host = await serve((_request, response) => {
      const more = (): void => void (response.write(BLOB) ? setImmediate(more) : response.once("drain", more));
      more();
    });
    await assert.rejects(open(host).manifest("1"), /ARTIFACT_TOO_LARGE/);
  });
});

describe("answers that break off or are nonsense", () => {
  for (const [name, play, why] of [
    ["a manifest", { status: 200, body: "{" }, /ARTIFACT_UNREACHABLE: .*broke off after 1 bytes/],
    ["an error", { status: 500, body: "{" }, /ARTIFACT_REGISTRY: .*answered 500/],
    ["a refusal", { status: 401, body: "{" }, /ARTIFACT_REGISTRY: .*asks for authentication/],
  ] as const) {
    it(`${name} is told with a reason, and as an error of ours`, async () => {
      const host = await serve((_request, response) => {
        response.writeHead(play.status, { "content-length": 1000, "www-authenticate": "Basic" });
        response.write(play.body, () => response.destroy());
      });
      await assert.rejects(open(host).manifest("1"), (error) => error instanceof ProxyError && why.test(error.message));
    });
  }

  it("a redirect to nowhere", async () => {
    const host = await serve((_request, response) => void response.writeHead(302, { location: "http://[" }).end());
    await assert.rejects(open(host).manifest("1"), /ARTIFACT_UNREACHABLE: .*redirects nowhere/);
  });

  it("a list of tags that is no JSON", async () => {
    const host = await serve((_request, response) => void response.end("not json"));
    await assert.rejects(open(host).tags(), /ARTIFACT_REGISTRY: .*is no JSON/);
  });

  it("a place for an upload that is none", async () => {
    const host = await serve((request, response) => {
      request.resume();
      if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(202, { location: "http://[" }).end();
    });
    await assert.rejects(open(host).putBlob(BLOB), /ARTIFACT_REGISTRY: .*names no place for the upload/);
  });
});

describe("referrers", () => {
  const subject = descriptor(MediaType.MANIFEST, Buffer.from("subject"));
  const referrer: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.MANIFEST,
    artifactType: MediaType.BUNDLE,
    config: descriptor(MediaType.EMPTY, Buffer.from("{}")),
    layers: [],
    subject,
  };

  it("are left to a registry that lists them itself", async () => {
    const put: string[] = [];
    const host = await serve((request, response, url) => {
      if (request.method === "PUT") {
        put.push(url.pathname);
        request.resume();
        response.writeHead(201, { "oci-subject": subject.digest }).end();
      } else {
        response.end(
          JSON.stringify({ schemaVersion: 2, manifests: [descriptor(MediaType.MANIFEST, manifestBytes(referrer))] }),
        );
      }
    });
    const digest = await open(host).putReferrer(referrer);
    assert.deepEqual(put, [`/v2/team/gate/manifests/${digest}`]);
    assert.deepEqual(
      (await open(host).referrers(subject.digest)).map((one) => one.digest),
      [digest],
    );
  });
});

describe("uploads", () => {
  it("follow the registry's own places, in pieces where they are long", async () => {
    const big = Buffer.alloc(20 * 1024 * 1024, "x");
    const got: [string, number][] = [];
    const host = await serve((request, response, url) => {
      let size = 0;
      request.on("data", (piece: Buffer) => (size += piece.length));
      request.on("end", () => {
        if (request.method === "HEAD") response.writeHead(404).end();
        else if (request.method === "POST") response.writeHead(202, { location: "/elsewhere/1?state=a" }).end();
        else {
          got.push([`${request.method} ${url.pathname}${url.search}`, size]);
          response
            .writeHead(request.method === "PATCH" ? 202 : 201, { location: `/elsewhere/${got.length + 1}?state=b` })
            .end();
        }
      });
    });
    const digest = await open(host).putBlob(big);
    assert.equal(digest, digestOf(big));
    assert.deepEqual(
      got.map(([, size]) => size),
      [8 << 20, 8 << 20, 4 << 20, 0],
    );
    assert.equal(got[0]![0], "PATCH /elsewhere/1?state=a");
    assert.equal(got.at(-1)![0], `PUT /elsewhere/4?state=b&digest=${encodeURIComponent(digest)}`);
  });
});

describe("credentials", () => {
  const home = mkdtempSync(join(tmpdir(), "sluice-credentials-"));
  after(() => rmSync(home, { recursive: true }));
  const config = (value: unknown): NodeJS.ProcessEnv => {
    writeFileSync(join(home, "config.json"), typeof value === "string" ? value : JSON.stringify(value));
    return { DOCKER_CONFIG: home };
  };
  const auth = Buffer.from("a:b:c").toString("base64");

  it("are found for the registry's exact name alone", async () => {
    const environment = config({ auths: { "registry.example.com": { auth } } });
    assert.deepEqual(await findCredentials("registry.example.com", environment), { username: "a", password: "b:c" });
    for (const other of [
      "example.com",
      "evil-registry.example.com",
      "registry.example.com.evil.org",
      "registry.example.com:5000",
    ])
      assert.equal(await findCredentials(other, environment), undefined, other);
  });

  it("come from a file that is named, and from no other then", async () => {
    const environment = config({ auths: { "x.y": { auth } } });
    const pull = join(home, "pull-secret.json");
    writeFileSync(pull, JSON.stringify({ auths: { "z.y": { auth } } }));
    assert.deepEqual(await findCredentials("z.y", environment, [pull]), { username: "a", password: "b:c" });
    assert.equal(await findCredentials("x.y", environment, [pull]), undefined);
  });

  it("of Docker Hub are found under each of its names", async () => {
    const environment = config({ auths: { "https://index.docker.io/v1/": { auth } } });
    assert.deepEqual(await findCredentials("docker.io", environment), { username: "a", password: "b:c" });
  });

  it("of the environment go to the registry that they are for", async () => {
    const environment = { SLUICE_REGISTRY_USERNAME: "a", SLUICE_REGISTRY_PASSWORD: "b", DOCKER_CONFIG: home };
    assert.deepEqual(await findCredentials("x.y", environment), { username: "a", password: "b" });
    const bound = { ...environment, SLUICE_REGISTRY_HOST: "x.y" };
    assert.deepEqual(await findCredentials("x.y", bound), { username: "a", password: "b" });
    config({});
    assert.equal(await findCredentials("evil.y", bound), undefined);
  });

  it("are none where Docker left an empty entry, and are no crash whatever is there", async () => {
    assert.equal(await findCredentials("x.y", config({ auths: { "x.y": {} } })), undefined);
    for (const junk of [null, 5, "x", [], [5], { "x.y": 5 }, { "x.y": null }, { "x.y": { auth: 5 } }]) {
      for (const field of ["auths", "credHelpers", "credsStore"]) {
        await findCredentials("x.y", config({ [field]: junk })).catch((error: unknown) =>
          assert.ok(error instanceof ProxyError, `${field}: ${JSON.stringify(junk)}: ${String(error)}`),
        );
      }
    }
    await assert.rejects(findCredentials("x.y", config(" ".repeat(2 ** 20 + 1))), /more than 1048576 bytes/);
  });

  it("of a helper that never ends are given up, and what a helper says is shown without its control characters", async (t) => {
    const script = (text: string): NodeJS.ProcessEnv => {
      writeFileSync(join(home, "docker-credential-slow"), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return config({ credsStore: "slow" });
    };
    const before = process.env["PATH"];
    process.env["PATH"] = `${home}:${before}`;
    t.after(() => (process.env["PATH"] = before));
    await assert.rejects(
      findCredentials("x.y", script("printf 'no\\033[31m way %0300d' 1; exit 1")),
      (error: Error) => /no\?\[31m way/.test(error.message) && error.message.length < 300,
    );
    // It is over at once, but somebody holds its output.
    const held = join(home, "pid");
    const environment = script(`sleep 1000 & echo $! > ${held}.new; mv ${held}.new ${held}; exit 0`);
    t.after(() => process.kill(Number(readFileSync(held, "utf8"))));
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const asked = findCredentials("x.y", environment);
    const verdict = assert.rejects(asked, /docker-credential-slow: it did not answer within 60000 ms/);
    while (!existsSync(held)) await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(70_000);
    await verdict;
  });

  it("that cannot be read say where, and show nothing of what is there", async () => {
    await assert.rejects(
      findCredentials("x.y", config("{ secret")),
      (error: Error) => /config\.json: it is no JSON/.test(error.message) && !error.message.includes("secret"),
    );
    await assert.rejects(
      findCredentials("x.y", config({ auths: { "x.y": { auth: "????" } } })),
      /not base64 of user:password/,
    );
    await assert.rejects(
      findCredentials("x.y", config({ credHelpers: { "x.y": "../../evil" } })),
      /is no name of a program/,
    );
    await assert.rejects(
      findCredentials("x.y", config({ credHelpers: { "x.y": "not-there" } })),
      /docker-credential-not-there/,
    );
  });
});
