/** Network RBAC: each matcher as a table, and what a connection sees of a verdict. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkRbacConfig, RbacMatcher, RbacRules, ValueMatcher } from "../../runtime/config/network-snapshot.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type { FilterView } from "../../runtime/network/filter.ts";
import { nativeFilter } from "../../runtime/network/native.ts";
import { compileRules } from "../../runtime/network/rbac-match.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { type ConnectionInfo, StreamInfo } from "../../runtime/observe/stream-info.ts";
import { dial, passing, Plain, serve, until } from "../listener/chain.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { StillClock } from "../still-clock.ts";
import { turn } from "../upstream/fixtures.ts";
import { alone, environmentOf } from "./proxied.ts";

function connectionOf(more: Partial<ConnectionInfo>, state: Partial<StreamInfo> = {}): StreamInfo {
  return Object.assign(new StreamInfo(connectionSample("10.1.2.3:5000", "10.0.0.1:80", more), 0, 0), state);
}

const SAMPLE = connectionOf(
  {
    directRemoteIp: "10.1.2.3",
    remoteIp: "203.0.113.9",
    localAddress: "[2001:db8::5]:3306",
    serverName: "db.example.com",
  },
  {
    dynamicMetadata: new Map([
      ["mysql", { "shop.orders": ["select", "update"], count: 7, deep: { on: true, off: null } }],
    ]),
    filterState: new Map([["who", Buffer.from("team-a")]]),
  },
);

const exact = (value: string): { kind: "exact"; value: string; ignoreCase: false } => ({
  kind: "exact",
  value,
  ignoreCase: false,
});
const meta = (path: readonly string[], value: ValueMatcher, invert = false): RbacMatcher => ({
  kind: "metadata",
  metadata: { namespace: "mysql", path, value, invert },
});
const text = (value: string): ValueMatcher => ({ kind: "string", string: exact(value) });
const any: RbacMatcher = { kind: "any" };
const never: RbacMatcher = { kind: "never" };

const MATCHERS: readonly (readonly [matcher: RbacMatcher, matches: boolean])[] = [
  [any, true],
  [never, false],
  [{ kind: "and", of: [any, any] }, true],
  [{ kind: "and", of: [any, never] }, false],
  [{ kind: "or", of: [never, any] }, true],
  [{ kind: "or", of: [] }, false],
  [{ kind: "not", of: never }, true],
  [{ kind: "ip", whose: "direct_remote", cidr: "10.0.0.0/8" }, true],
  [{ kind: "ip", whose: "direct_remote", cidr: "10.2.0.0/16" }, false],
  [{ kind: "ip", whose: "remote", cidr: "203.0.113.9/32" }, true],
  [{ kind: "ip", whose: "remote", cidr: "2001:db8::/32" }, false],
  [{ kind: "ip", whose: "remote", cidr: "0.0.0.0/0" }, true],
  [{ kind: "ip", whose: "destination", cidr: "2001:db8::/32" }, true],
  [{ kind: "ip", whose: "destination", cidr: "0.0.0.0/0" }, false],
  [{ kind: "port", start: 3306, end: 3307 }, true],
  [{ kind: "port", start: 3000, end: 3306 }, false],
  [{ kind: "port", start: 0, end: 65_536 }, true],
  [{ kind: "server_name", name: { kind: "suffix", value: ".example.com", ignoreCase: false } }, true],
  [{ kind: "server_name", name: exact("DB.example.com") }, false],
  [{ kind: "server_name", name: { ...exact("DB.example.com"), ignoreCase: true } }, true],
  [{ kind: "server_name", name: { kind: "safe_regex", value: "db\\..*", ignoreCase: false } }, true],
  [{ kind: "filter_state", key: "who", value: exact("team-a") }, true],
  [{ kind: "filter_state", key: "whose", value: { kind: "prefix", value: "", ignoreCase: false } }, false],
  [meta(["shop.orders"], { kind: "one_of", value: text("update") }), true],
  [meta(["shop.orders"], { kind: "one_of", value: text("delete") }), false],
  [meta(["shop.orders"], text("update")), false],
  [meta(["shop.other"], { kind: "present", value: true }), false],
  [meta(["shop.other"], { kind: "present", value: false }), true],
  [meta(["shop.other"], { kind: "present", value: true }, true), true],
  [meta(["count"], { kind: "double", start: 7, end: 7 }), true],
  [meta(["count"], { kind: "double", start: 5, end: 7 }), false],
  [meta(["count"], { kind: "double", start: 7, end: 8 }), true],
  [meta(["deep", "on"], { kind: "bool", value: true }), true],
  [meta(["deep", "on"], { kind: "bool", value: false }), false],
  [meta(["deep", "off"], { kind: "null" }), true],
  [meta(["deep", "off"], { kind: "present", value: true }), false],
  [meta(["deep", "on", "further"], { kind: "present", value: true }), false],
  [meta(["count"], { kind: "or", of: [text("x"), { kind: "double", start: 7, end: 7 }] }), true],
  [meta(["constructor"], { kind: "present", value: true }), false],
];

for (const [matcher, matches] of MATCHERS) {
  test(`matcher ${JSON.stringify(matcher)}`, () => {
    const rules = compileRules({ action: "ALLOW", policies: [{ name: "p", match: matcher }] });
    assert.equal(rules(SAMPLE).allowed, matches);
  });
}

test("a pipe has neither address nor port", () => {
  const pipe = connectionOf({ localAddress: "/run/socket", directRemoteIp: "", remoteIp: "" });
  for (const match of [
    { kind: "port", start: 0, end: 65_536 },
    { kind: "ip", whose: "destination", cidr: "0.0.0.0/0" },
    { kind: "ip", whose: "remote", cidr: "0.0.0.0/0" },
  ] as const)
    assert.equal(compileRules({ action: "ALLOW", policies: [{ name: "p", match }] })(pipe).allowed, false);
});

test("actions, and the policy that decides is the first that matches", () => {
  const policies = [
    { name: "a", match: never },
    { name: "b", match: any },
    { name: "c", match: any },
  ];
  const verdict = (action: RbacRules["action"], of = policies): unknown =>
    compileRules({ action, policies: of })(SAMPLE);
  assert.deepEqual(verdict("ALLOW"), { allowed: true, policy: "b" });
  assert.deepEqual(verdict("DENY"), { allowed: false, policy: "b" });
  assert.deepEqual(verdict("LOG"), { allowed: true, policy: "b" });
  assert.deepEqual(verdict("ALLOW", []), { allowed: false, policy: "" });
  assert.deepEqual(verdict("DENY", []), { allowed: true, policy: "" });
  assert.deepEqual(verdict("LOG", []), { allowed: true, policy: "" });
});

function config(more: Partial<NetworkRbacConfig>): NetworkRbacConfig {
  return {
    statPrefix: "db.",
    shadowStatPrefix: "",
    rules: undefined,
    shadowRules: undefined,
    continuous: false,
    delayDenyMs: 0,
    ...more,
  };
}

/** An rbac filter before an echo, with something that names a word of each piece in dynamic metadata before it. */
async function guarded(
  t: Parameters<typeof serve>[0],
  rbac: Partial<NetworkRbacConfig>,
): Promise<{ port: number; stats: StatsStore; views: FilterView[] }> {
  const stats = new StatsStore(() => {});
  const views: FilterView[] = [];
  const learn = passing((view) => {
    views.push(view);
    return Object.assign(new Plain(view), {
      onData(bytes: Parameters<Plain["onData"]>[0]): number {
        (view.stream.dynamicMetadata ??= new Map()).set("mysql", { said: bytes.bytes().toString() });
        return NetworkStatus.CONTINUE;
      },
    });
  });
  const filter = nativeFilter({ kind: "rbac", name: "rbac", rbac: config(rbac) }, environmentOf(stats));
  const served = await serve(t, [learn, filter, alone({ kind: "echo", name: "echo" })], {}, stats);
  return { port: served.port, stats, views };
}

const saying = (word: string): RbacRules["policies"] => [{ name: `said ${word}`, match: meta(["said"], text(word)) }];
const count = (stats: StatsStore, name: string): number => stats.counter(`db.rbac.${name}`).value;

test("a refused connection is closed and says which policy it was", async (t) => {
  const { port, stats, views } = await guarded(t, { rules: { action: "DENY", policies: saying("drop") } });
  const good = await dial(t, port);
  good.socket.end("select");
  assert.equal(await good.ended, "select");
  const bad = await dial(t, port);
  bad.socket.write("drop");
  assert.equal(await bad.ended, "");
  await bad.gone;
  assert.deepEqual([count(stats, "allowed"), count(stats, "denied")], [1, 1]);
  const { stream } = views[1]!;
  assert.equal(stream.connectionTerminationDetails, "rbac_access_denied_matched_policy[said drop]");
  assert.equal(stream.localCloseReason, "rbac_deny_close");
});

test("without a matching policy nothing is allowed, and the details say none", async (t) => {
  const { port, views } = await guarded(t, { rules: { action: "ALLOW", policies: [] } });
  const peer = await dial(t, port);
  peer.socket.write("x");
  await peer.gone;
  assert.equal(views[0]!.stream.connectionTerminationDetails, "rbac_access_denied_matched_policy[none]");
});

test("the first bytes decide, unless enforcement is continuous", async (t) => {
  for (const continuous of [false, true]) {
    const { port, stats } = await guarded(t, { continuous, rules: { action: "DENY", policies: saying("drop") } });
    const peer = await dial(t, port);
    peer.socket.write("select");
    await until(() => peer.text() === "select", "the first piece passes");
    peer.socket.write("drop");
    if (continuous) {
      await peer.gone;
      assert.equal(peer.text(), "select");
      assert.deepEqual([count(stats, "allowed"), count(stats, "denied")], [1, 1]);
    } else {
      await until(() => peer.text() === "selectdrop", "so does the second");
      assert.deepEqual([count(stats, "allowed"), count(stats, "denied")], [1, 0]);
      peer.socket.destroy();
    }
  }
});

test("shadow rules are counted and told in dynamic metadata, and refuse nobody", async (t) => {
  const { port, stats, views } = await guarded(t, {
    shadowStatPrefix: "trial_",
    shadowRules: { action: "DENY", policies: saying("drop") },
  });
  const peer = await dial(t, port);
  peer.socket.end("drop");
  assert.equal(await peer.ended, "drop");
  assert.equal(count(stats, "trial_shadow_denied"), 1);
  assert.equal(count(stats, "denied"), 0);
  assert.deepEqual(views[0]!.stream.dynamicMetadata!.get("envoy.filters.network.rbac"), {
    trial_shadow_engine_result: "denied",
    trial_shadow_effective_policy_id: "said drop",
  });
});

test("LOG rules leave a hint for access logs", async (t) => {
  const { port, views } = await guarded(t, { rules: { action: "LOG", policies: saying("drop") } });
  for (const [at, word] of ["drop", "select"].entries()) {
    const peer = await dial(t, port);
    peer.socket.end(word);
    assert.equal(await peer.ended, word);
    assert.deepEqual(views[at]!.stream.dynamicMetadata!.get("envoy.common"), { access_log_hint: word === "drop" });
  }
});

test("a delay keeps a refused connection waiting, and nothing of it goes on", async (t) => {
  const { port, stats } = await guarded(t, { delayDenyMs: 60, rules: { action: "ALLOW", policies: [] } });
  const clock = new StillClock(t);
  const peer = await dial(t, port);
  peer.socket.write("x");
  await until(() => count(stats, "denied") === 1, "refused");
  clock.pass(59);
  peer.socket.write("y");
  await turn();
  assert.equal(peer.socket.destroyed, false);
  clock.pass(1);
  await peer.gone;
  assert.equal(peer.text(), "");
  assert.equal(count(stats, "denied"), 1);
});
