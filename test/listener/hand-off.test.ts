/** Who owns a restored destination, and what happens when a connection is handed to its owner. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { Address, ListenerConfig } from "../../runtime/config/snapshot.ts";
import { AddressBook } from "../../runtime/listener/address-book.ts";
import { descriptorOf, duplicate } from "../../runtime/listener/native-sockets.ts";
import { SocketCounts } from "../../runtime/listener/socket-counts.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { reservedPort } from "../ports.ts";
import { chain, config, echo, environment, ip, open, say, start } from "./fixture.ts";

type Case = readonly [ip: string, port: number, owner: string | undefined];

const EXACT: readonly Address[] = [ip("10.0.0.1", 80)];

const TABLE: readonly (readonly [
  what: string,
  listeners: Record<string, readonly Address[]>,
  cases: readonly Case[],
])[] = [
  [
    "exactly this address, before the wildcard with its port",
    { exact: EXACT, wild: [ip("0.0.0.0", 80)], other: [ip("0.0.0.0", 443)] },
    [
      ["10.0.0.1", 80, "exact"],
      ["10.0.0.2", 80, "wild"],
      ["10.0.0.1", 443, "other"],
      ["10.0.0.1", 81, undefined],
      ["2001:db8::1", 80, undefined],
    ],
  ],
  [
    "IPv6: its own exact addresses and wildcard, in any spelling",
    { exact: [ip("2001:DB8:0:0::0001", 80)], wild: [ip("::", 80)], four: [ip("0.0.0.0", 80)] },
    [
      ["2001:db8::1", 80, "exact"],
      ["2001:db8::2", 80, "wild"],
      ["10.0.0.1", 80, "four"],
    ],
  ],
  [
    "an IPv6 wildcard takes IPv4 only if it says so",
    { wild: [ip("::", 80)], both: [ip("::", 81, true)] },
    [
      ["10.0.0.1", 80, undefined],
      ["10.0.0.1", 81, "both"],
      ["2001:db8::1", 81, "both"],
    ],
  ],
  [
    "a real IPv4 wildcard goes before an IPv6 one that takes IPv4, whichever came first",
    { both: [ip("::", 80, true)], four: [ip("0.0.0.0", 80)], four2: [ip("0.0.0.0", 81)], both2: [ip("::", 81, true)] },
    [
      ["10.0.0.1", 80, "four"],
      ["10.0.0.1", 81, "four2"],
      ["2001:db8::1", 80, "both"],
      ["2001:db8::1", 81, "both2"],
    ],
  ],
  [
    "every address of a listener counts, unix sockets do not",
    { many: [ip("10.0.0.1", 80), ip("10.0.0.2", 81), { kind: "pipe", path: "/run/x", mode: 0 }] },
    [
      ["10.0.0.1", 80, "many"],
      ["10.0.0.2", 81, "many"],
      ["10.0.0.2", 80, undefined],
    ],
  ],
  ["nobody has anything", {}, [["10.0.0.1", 80, undefined]]],
];

for (const [what, listeners, cases] of TABLE) {
  test(`owner of a destination: ${what}`, () => {
    const book = new AddressBook<string>();
    for (const [name, addresses] of Object.entries(listeners))
      for (const address of addresses) book.add(address, address.kind === "ip" ? address.port : 0, name);
    for (const [to, port, owner] of cases) assert.equal(book.find(to, port), owner, `${to} ${port}`);
  });
}

test("the table of owners is long enough", () => {
  assert.ok(TABLE.flatMap(([, , cases]) => cases).length >= 15);
});

test("an owner that leaves gives way to the next", () => {
  const book = new AddressBook<string>();
  book.add(ip("::", 80, true), 80, "both");
  book.add(ip("0.0.0.0", 80), 80, "four");
  book.remove("four");
  assert.equal(book.find("10.0.0.1", 80), "both");
  book.remove("both");
  assert.equal(book.find("10.0.0.1", 80), undefined);
});

/** Takes every address of the machine; on a transparent socket the local address is the wanted destination. */
const CATCH_ALL: Partial<ListenerConfig> = {
  name: "catch-all",
  statPrefix: "catch-all",
  useOriginalDst: true,
  socket: { transparent: true, freebind: undefined, tcpFastOpenQueueLength: undefined, options: [] },
  listenerFilters: [{ name: "o", disabled: undefined, filter: { kind: "original_dst" } }],
  filterChains: [chain("passthrough")],
};

function virtual(name: string, host: string, port: number, more: Partial<ListenerConfig> = {}): ListenerConfig {
  return config(ip(host, port), { name, statPrefix: name, bindToPort: false, filterChains: [chain(name)], ...more });
}

async function chainAt(host: string, port: number): Promise<string> {
  return JSON.parse(await say({ host, port }, "who")).filterChainName;
}

test("a connection goes to the listener that owns its destination, else it stays", async (t) => {
  const port = await reservedPort(t);
  const { stats } = await start(t, [
    config(ip("0.0.0.0", port), CATCH_ALL),
    virtual("exact", "127.0.0.5", port),
    // Only the catch-all hands over: this one keeps what it gets, although its destination is not its own address.
    virtual("keeps", "127.0.0.6", port, {
      ...CATCH_ALL,
      name: "keeps",
      statPrefix: "keeps",
      filterChains: [chain("keeps")],
    }),
    virtual("elsewhere", "127.0.0.7", port + 1),
  ]);
  assert.equal(await chainAt("127.0.0.5", port), "exact");
  assert.equal(await chainAt("127.0.0.6", port), "keeps");
  assert.equal(await chainAt("127.0.0.7", port), "passthrough");
  const total = (name: string): number => stats.counter(`listener.${name}.downstream_cx_total`).value;
  assert.deepEqual([total("catch-all"), total("exact"), total("keeps"), total("elsewhere")], [1, 1, 1, 0]);
});

test("the owner's own listener filters run, and counts move along with the connection", async (t) => {
  const port = await reservedPort(t);
  const never = { ...chain("never", { destinationPort: 1 }) };
  const counts = Object.fromEntries(["", "catch-all", "owner"].map((name) => [name, SocketCounts.room(1)]));
  const stats = new StatsStore(() => {});
  const set = new ListenerSet(
    [
      config(ip("0.0.0.0", port), CATCH_ALL),
      virtual("owner", "127.0.0.5", port, {
        ...CATCH_ALL,
        name: "owner",
        statPrefix: "owner",
        filterChains: [never, chain("owner")],
      }),
    ],
    environment(stats, () => [echo], { counts }),
  );
  t.after(() => set.close());
  await set.start();
  const socket = await open({ host: "127.0.0.5", port });
  socket.write("who");
  const [answer] = (await once(socket, "data")) as [Buffer];
  const who = JSON.parse(answer.toString());
  assert.deepEqual([who.listenerName, who.localAddressRestored], ["owner", true]);
  const count = (name: string): number => new Int32Array(counts[name]!)[0]!;
  assert.deepEqual([count("catch-all"), count("owner"), count("")], [0, 1, 1]);
  socket.end();
  await once(socket, "close");
  while (count("") > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.deepEqual([count("catch-all"), count("owner")], [0, 0]);
});

test("a socket that another worker gives to a listener that is gone is closed, and counts no more", async (t) => {
  const buffer = SocketCounts.room(2);
  const set = new ListenerSet(
    [],
    environment(new StatsStore(() => {}), () => [echo], { counts: { gone: buffer }, workerIndex: 1 }),
  );
  t.after(() => set.close());
  await set.start();
  const { set: other } = await start(t, [config(ip("127.0.0.1"))]);
  const socket = await open({ host: "127.0.0.1", port: other.bound[0]!.port });
  assert.equal(
    new SocketCounts(buffer, 0).enterFewest((worker) => worker === 1),
    0,
  );
  assert.equal(
    new SocketCounts(buffer, 0).enterFewest(() => true),
    1,
  );
  set.receive({ listener: "gone", descriptor: duplicate(descriptorOf(socket)), early: null, facts: null });
  assert.deepEqual([...new Int32Array(buffer)], [1, 0]);
  socket.destroy();
});

test("a virtual listener that stopped owns nothing", async (t) => {
  const port = await reservedPort(t);
  const { set } = await start(
    t,
    [
      config(ip("0.0.0.0", port), CATCH_ALL),
      virtual("inbound", "127.0.0.5", port, { trafficDirection: 1 }),
      virtual("outbound", "127.0.0.6", port, { trafficDirection: 2 }),
    ].map((one, at) => (at === 0 ? { ...one, trafficDirection: 2 } : one)),
  );
  set.stopAccepting(true);
  assert.equal(await chainAt("127.0.0.5", port), "passthrough");
  assert.equal(await chainAt("127.0.0.6", port), "outbound");
});

test("bytes that the first listener's filters read are there for the owner's filters and chains", async (t) => {
  const port = await reservedPort(t);
  const inspect = { name: "h", disabled: undefined, filter: { kind: "http_inspector" } } as const;
  const chains = [chain("http", { applicationProtocols: ["http/1.1"] }), chain("other")];
  await start(t, [
    config(ip("0.0.0.0", port), { ...CATCH_ALL, listenerFilters: [...CATCH_ALL.listenerFilters!, inspect] }),
    virtual("owner", "127.0.0.5", port, { listenerFilters: [inspect, inspect], filterChains: chains }),
  ]);
  for (const [pieces, name] of [
    [["GET / HT", "TP/1.1\r\nhost: a\r\n\r\n"], "http"],
    [["\x01\x02nothing"], "other"],
  ] as const) {
    const socket = await open({ host: "127.0.0.5", port });
    let heard = "";
    socket.on("data", (data: Buffer) => (heard += data.toString()));
    for (const piece of pieces) {
      socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // The echo has all bytes, in order; then it tells its chain.
    while (heard !== pieces.join("")) await new Promise((resolve) => setTimeout(resolve, 2));
    heard = "";
    socket.write("who");
    while (!heard.endsWith("}")) await new Promise((resolve) => setTimeout(resolve, 2));
    assert.equal(JSON.parse(heard).filterChainName, name);
    socket.destroy();
  }
});
