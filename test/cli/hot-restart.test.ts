import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, bootstrap, OK_ROUTE, ProxyProcess } from "./proxy-process.ts";

/** Rows of processes of this file, told apart from each other and from those of others on this machine. */
let lastRow = process.pid * 16;

/** A row of processes that take over from each other. */
class Row {
  readonly #baseId = String(++lastRow);
  readonly #args: readonly string[];
  epoch = -1;

  constructor(...args: string[]) {
    this.#args = ["--drain-time-s", "1", ...args];
  }

  /** The next process, which may serve another configuration. */
  next(config: string, ...more: string[]): ProxyProcess {
    const place = ["--base-id", this.#baseId, "--restart-epoch", String(++this.epoch)];
    return new ProxyProcess(config, [...this.#args, ...place, ...more]);
  }
}

const STEADY = bootstrap({ routes: [OK_ROUTE] });

/** What wrk counted. */
interface Load {
  readonly requests: number;
  /** Connections refused or broken, timeouts, and answers other than 200. */
  readonly failed: number;
}

/** wrk against an address; `end` ends it early and tells what it has counted. */
function load(address: string, seconds: number, ...args: string[]): { readonly result: Promise<Load>; end(): void } {
  const wrk = spawn("wrk", ["-t", "1", "-c", "20", "-d", String(seconds), ...args, `http://${address}/`]);
  let out = "";
  wrk.stdout.on("data", (data) => (out += String(data)));
  const result = once(wrk, "close").then((): Load => {
    const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(out)?.slice(1) ?? [];
    const non2xx = /Non-2xx or 3xx responses: (\d+)/.exec(out)?.[1] ?? "0";
    const failed = [...errors, non2xx].reduce((sum, one) => sum + Number(one), 0);
    return { requests: Number(/(\d+) requests in/.exec(out)?.[1]), failed };
  });
  return { result, end: () => void wrk.kill("SIGINT") };
}

describe("hot restart", () => {
  test("under load, over several restarts with more and fewer workers, no request fails", async () => {
    const row = new Row();
    let current = await row.next(STEADY, "--concurrency", "2").live();
    const { address } = current;
    const running = load(address, 60);
    for (const workers of ["3", "1", "2"]) {
      const before = current;
      current = await row.next(STEADY, "--concurrency", workers).live();
      assert.equal(current.address, address, "the port is the same, although the system had chosen it");
      assert.equal(await before.exited, 0, before.output);
      assert.match(before.output, /hot restart, and no connection is left/);
    }
    running.end();
    const { requests, failed } = await running.result;
    assert.equal(failed, 0);
    assert.ok(requests > 1000, `${requests} requests`);
  });
});
