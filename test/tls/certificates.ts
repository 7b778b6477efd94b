/** An authority of the test's own, and the certificates it issues, made by openssl. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

export interface Issued {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
}

export interface Wanted {
  /** RFC 2253, without the leading slash: `CN=a,O=b` as openssl wants it: `/O=b/CN=a`. */
  readonly subject?: string;
  /** `DNS:a.test,URI:spiffe://x/y`; "" for none. */
  readonly names?: string;
  readonly rsa?: boolean;
  /** Valid from and to, as `20200101000000Z`; else from now for thirty days. */
  readonly from?: string;
  readonly to?: string;
  readonly usage?: "serverAuth" | "clientAuth";
  readonly authority?: boolean;
  /** Lines of the extensions' section, as openssl wants them. */
  readonly extensions?: readonly string[];
}

/** One folder of keys; each authority has its own name in it. */
export class Authority {
  readonly folder: string;
  readonly certificate: string;
  readonly key: string;
  readonly #config: string;
  readonly #name: string;

  /** `above`: the authority that signs this one; none: it signs itself. */
  constructor(folder: string, name: string, above?: Authority) {
    this.folder = folder;
    this.#name = name;
    this.#config = join(folder, `${name}.cnf`);
    writeFileSync(join(folder, `${name}.index`), "");
    writeFileSync(join(folder, `${name}.crlnumber`), "01\n");
    writeFileSync(
      this.#config,
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${join(folder, `${name}.index`)}\ncrlnumber=${join(folder, `${name}.crlnumber`)}\n` +
        "rand_serial=yes\ndefault_md=sha256\ndefault_crl_days=30\n[any]\norganizationName=optional\ncommonName=optional\n[req]\ndistinguished_name=dn\n[dn]\n",
    );
    const subject = `/O=Sluice test/CN=${name}`;
    if (above === undefined) {
      this.key = join(folder, `${name}.key`);
      this.certificate = join(folder, `${name}.pem`);
      openssl(
        ["req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"],
        ["-config", this.#config, "-keyout", this.key, "-out", this.certificate, "-subj", subject],
        ["-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=keyCertSign,cRLSign"],
      );
    } else {
      const issued = above.issue(name, { subject, names: "", authority: true });
      this.key = issued.key;
      this.certificate = issued.certificate;
    }
  }

  issue(name: string, wanted: Wanted = {}): Issued {
    const at = (suffix: string): string => join(this.folder, `${name}.${suffix}`);
    const { names = `DNS:${name}`, subject = `/O=Sluice test/CN=${name}` } = wanted;
    const extensions = [
      wanted.authority === true
        ? "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign"
        : "basicConstraints=CA:false",
      ...(names === "" ? [] : [`subjectAltName=${names}`]),
      ...(wanted.usage === undefined ? [] : [`extendedKeyUsage=${wanted.usage}`]),
      ...(wanted.extensions ?? []),
    ];
    writeFileSync(at("ext"), extensions.join("\n"));
    const kind = wanted.rsa === true ? ["rsa:2048"] : ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    openssl(
      ["req", "-new", "-nodes", "-config", this.#config, "-subj", subject, "-newkey", ...kind],
      ["-keyout", at("key"), "-out", at("csr")],
    );
    if (wanted.to === undefined) {
      openssl(
        ["x509", "-req", "-in", at("csr"), "-CA", this.certificate, "-CAkey", this.key, "-CAcreateserial"],
        ["-days", "30", "-extfile", at("ext"), "-out", at("pem")],
      );
    } else {
      openssl(
        ["ca", "-batch", "-config", this.#config, "-policy", "any", "-notext", "-outdir", this.folder],
        ["-in", at("csr"), "-cert", this.certificate, "-keyfile", this.key, "-extfile", at("ext"), "-out", at("pem")],
        ["-startdate", wanted.from ?? "20200101000000Z", "-enddate", wanted.to, "-preserveDN"],
      );
    }
    return { certificate: at("pem"), key: at("key") };
  }

  /** Writes a key again with a password. */
  lock(key: string, to: string, password: string): void {
    openssl(["pkey", "-in", key, "-aes256", "-passout", `pass:${password}`, "-out", to]);
  }

  /** An OCSP response for a certificate, for the days given; the path of its DER file. 0: it does not say how long it holds. */
  staple({ certificate }: Issued, days: number): string {
    const path = certificate.replace(/\.pem$/, `.${days}.ocsp`);
    openssl(
      [
        "ocsp",
        "-index",
        join(this.folder, `${this.#name}.index`),
        "-CA",
        this.certificate,
        "-issuer",
        this.certificate,
      ],
      ["-rsigner", this.certificate, "-rkey", this.key, "-cert", certificate, "-respout", path, "-noverify"],
      days === 0 ? [] : ["-ndays", String(days)],
    );
    return path;
  }

  /** A PKCS #12 file with a certificate, its key and this authority; `more` as openssl wants it. */
  store({ certificate, key }: Issued, password: string, more: readonly string[] = []): string {
    const path = certificate.replace(/\.pem$/, ".p12");
    openssl(
      ["pkcs12", "-export", "-in", certificate, "-inkey", key, "-certfile", this.certificate],
      ["-passout", `pass:${password}`, "-out", path, ...more],
    );
    return path;
  }

  /** A list of revoked certificates; the path of its PEM file. */
  revoke(...revoked: readonly Issued[]): string {
    const own = ["-config", this.#config, "-cert", this.certificate, "-keyfile", this.key];
    for (const { certificate } of revoked) openssl(["ca", ...own, "-revoke", certificate]);
    const path = join(this.folder, `${this.#name}.crl`);
    openssl(["ca", ...own, "-gencrl", "-out", path]);
    return path;
  }
}

/** A certificate that nobody but itself vouches for. */
export function selfSigned(folder: string, name: string): Issued {
  const [certificate, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  openssl(
    ["req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"],
    ["-keyout", key, "-out", certificate, "-subj", `/CN=${name}`, "-addext", "basicConstraints=CA:false"],
  );
  return { certificate, key };
}

/** A folder that is gone after the test. */
export function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

export function read(path: string): Buffer {
  if (!existsSync(path)) throw new Error(`no file ${path}`);
  return readFileSync(path);
}

export function openssl(...parts: readonly (readonly string[])[]): string {
  return execFileSync("openssl", parts.flat(), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
