/** The choice of a filter chain, case by case: chains, a connection, and the chain it gets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FilterChainTree } from "../../runtime/config/filter-chain-tree.ts";
import type { ChainFacts } from "../../runtime/config/filter-chain-tree.ts";
import type { FilterChainMatch } from "../../runtime/config/listener-snapshot.ts";
import { chain } from "../listener/fixture.ts";
import { bootstrap, load } from "./fixture.ts";

type Chains = Readonly<Record<string, Partial<FilterChainMatch>>>;
type Case = readonly [facts: Partial<ChainFacts>, chain: string | undefined];

const PLAIN: ChainFacts = {
  pipe: false,
  localIp: "10.1.2.3",
  localPort: 443,
  serverName: "",
  transportProtocol: "raw_buffer",
  applicationProtocols: [],
  directRemoteIp: "192.0.2.7",
  remoteIp: "192.0.2.7",
  remotePort: 50_000,
};
const tls = (serverName: string, ...applicationProtocols: string[]): Partial<ChainFacts> => ({
  transportProtocol: "tls",
  serverName,
  applicationProtocols,
});
const to = (localIp: string, localPort = 443): Partial<ChainFacts> => ({ localIp, localPort });
const from = (ip: string, remotePort = 50_000): Partial<ChainFacts> => ({
  directRemoteIp: ip,
  remoteIp: ip,
  remotePort,
});

const TABLE: readonly (readonly [what: string, chains: Chains, cases: readonly Case[]])[] = [
  [
    "a chain without a match takes everything",
    { all: {} },
    [
      [{}, "all"],
      [tls("a.example"), "all"],
      [{ pipe: true, localIp: "", localPort: 0, directRemoteIp: "", remoteIp: "", remotePort: 0 }, "all"],
      [to("2001:db8::1"), "all"],
    ],
  ],
  ["no chain, no match", {}, [[{}, undefined]]],
  [
    "destination port: exact, then none, and no way back",
    {
      web: { destinationPort: 443, serverNames: ["a.example"] },
      other: {},
    },
    [
      [tls("a.example"), "web"],
      // The subtree of port 443 has no match, and the chain without a port is not tried.
      [tls("b.example"), undefined],
      [{}, undefined],
      [to("10.1.2.3", 80), "other"],
      [{ ...to("10.1.2.3", 80), ...tls("a.example") }, "other"],
    ],
  ],
  [
    "destination address: the longest prefix, and no way back",
    {
      eight: { prefixRanges: ["10.0.0.0/8"] },
      sixteen: { prefixRanges: ["10.1.0.0/16"], transportProtocol: "tls" },
      host: { prefixRanges: ["10.1.2.3/32", "2001:db8::5/128"] },
      six: { prefixRanges: ["2001:db8::/32"] },
    },
    [
      [to("10.9.9.9"), "eight"],
      [to("10.1.9.9"), undefined],
      [{ ...to("10.1.9.9"), transportProtocol: "tls" }, "sixteen"],
      [to("10.1.2.3"), "host"],
      [to("2001:db8::5"), "host"],
      [to("2001:db8:0:0:0:0:0:6"), "six"],
      [to("2001:db9::5"), undefined],
      [to("11.0.0.1"), undefined],
    ],
  ],
  [
    "a prefix of length 0 is one family, and is masked",
    {
      four: { prefixRanges: ["10.0.0.0/0"] },
      five: { prefixRanges: ["10.200.3.4/9"] },
    },
    [
      [to("1.2.3.4"), "four"],
      [to("::1"), undefined],
      [to("10.128.0.1"), "five"],
      [to("10.127.0.1"), "four"],
    ],
  ],
  [
    "unix sockets compare as 255.255.255.255",
    { broadcast: { prefixRanges: ["255.255.255.255/32"] }, ten: { prefixRanges: ["10.0.0.0/8"] } },
    [[{ pipe: true, localIp: "", localPort: 0, remoteIp: "", directRemoteIp: "" }, "broadcast"]],
  ],
  [
    "server names: exact, then the nearest suffix, then none",
    {
      exact: { serverNames: ["www.a.example"] },
      near: { serverNames: ["*.a.example"] },
      far: { serverNames: ["*.example"] },
      none: {},
    },
    [
      [tls("www.a.example"), "exact"],
      [tls("x.a.example"), "near"],
      [tls("x.y.a.example"), "near"],
      [tls("a.example"), "far"],
      [tls("b.example"), "far"],
      [tls("example"), "none"],
      [tls(""), "none"],
      [tls("www.a.example."), "none"],
      [tls(".example"), "far"],
    ],
  ],
  [
    "server names: no way back from the nearest suffix",
    {
      near: { serverNames: ["*.a.example"], applicationProtocols: ["h2"] },
      far: { serverNames: ["*.example"] },
    },
    [
      [tls("x.a.example", "h2"), "near"],
      [tls("x.a.example", "http/1.1"), undefined],
      [tls("x.b.example", "http/1.1"), "far"],
    ],
  ],
  [
    "transport protocol: exact, then none, and no way back",
    {
      secure: { transportProtocol: "tls", applicationProtocols: ["h2"] },
      any: {},
    },
    [
      [tls("", "h2"), "secure"],
      [tls("", "http/1.1"), undefined],
      [{}, "any"],
      [{ transportProtocol: "raw_buffer", applicationProtocols: ["h2"] }, "any"],
    ],
  ],
  [
    "application protocols: in downstream's order",
    {
      two: { applicationProtocols: ["h2", "h2c"] },
      one: { applicationProtocols: ["http/1.1"] },
      none: {},
    },
    [
      [tls("", "h2", "http/1.1"), "two"],
      [tls("", "http/1.1", "h2"), "one"],
      [tls("", "spdy", "http/1.1"), "one"],
      [{ applicationProtocols: ["h2c"] }, "two"],
      [tls("", "mqtt"), "none"],
      [tls(""), "none"],
    ],
  ],
  [
    "direct source: the physical peer, whatever a PROXY header says",
    {
      trusted: { directSourcePrefixRanges: ["192.0.2.0/24"] },
      rest: {},
    },
    [
      [{ directRemoteIp: "192.0.2.9", remoteIp: "198.51.100.1" }, "trusted"],
      [{ directRemoteIp: "198.51.100.1", remoteIp: "192.0.2.9" }, "rest"],
    ],
  ],
  [
    "source type",
    {
      local: { sourceType: "SAME_IP_OR_LOOPBACK" },
      outside: { sourceType: "EXTERNAL" },
      any: { destinationPort: 80 },
    },
    [
      [from("127.0.0.1"), "local"],
      [from("127.8.8.8"), "local"],
      [{ ...from("::1"), localIp: "::1" }, "local"],
      [from("10.1.2.3"), "local"],
      [from("10.1.2.4"), "outside"],
      [{ pipe: true, localIp: "", remoteIp: "", directRemoteIp: "" }, "local"],
    ],
  ],
  [
    "source type: without its own entry a connection takes ANY",
    {
      local: { sourceType: "SAME_IP_OR_LOOPBACK" },
      any: {},
    },
    [
      [from("127.0.0.1"), "local"],
      [from("10.1.2.4"), "any"],
    ],
  ],
  [
    "source type: no way back from its own entry",
    {
      local: { sourceType: "SAME_IP_OR_LOOPBACK", sourcePorts: [1000] },
      any: {},
    },
    [
      [from("127.0.0.1", 1000), "local"],
      [from("127.0.0.1", 1001), undefined],
      [from("10.1.2.4", 1001), "any"],
    ],
  ],
  [
    "source address: after the PROXY header, the longest prefix",
    {
      net: { sourcePrefixRanges: ["198.51.100.0/24"] },
      host: { sourcePrefixRanges: ["198.51.100.7/32"], sourcePorts: [7] },
    },
    [
      [{ remoteIp: "198.51.100.9" }, "net"],
      [{ remoteIp: "198.51.100.7", remotePort: 7 }, "host"],
      [{ remoteIp: "198.51.100.7", remotePort: 8 }, undefined],
      [{ remoteIp: "203.0.113.1", directRemoteIp: "198.51.100.9" }, undefined],
    ],
  ],
  [
    "source port: exact, then any",
    { seven: { sourcePorts: [7, 8] }, any: {} },
    [
      [from("192.0.2.7", 7), "seven"],
      [from("192.0.2.7", 8), "seven"],
      [from("192.0.2.7", 9), "any"],
    ],
  ],
  [
    "levels above win: a port before an address before a name",
    {
      port: { destinationPort: 443 },
      address: { prefixRanges: ["10.1.2.3/32"], serverNames: ["a.example"] },
      name: { serverNames: ["a.example"] },
    },
    [
      [tls("a.example"), "port"],
      [{ ...tls("a.example"), localPort: 80 }, "address"],
      [{ ...tls("a.example"), ...to("10.1.2.4", 80) }, "name"],
      [to("10.1.2.3", 80), undefined],
    ],
  ],
  [
    "the inbound chains of a mesh",
    {
      plain9080: { destinationPort: 9080, transportProtocol: "raw_buffer" },
      mutual9080: {
        destinationPort: 9080,
        transportProtocol: "tls",
        applicationProtocols: ["istio-peer-exchange", "istio"],
      },
      http: { applicationProtocols: ["http/1.0", "http/1.1", "h2c"], transportProtocol: "raw_buffer" },
      rest: {},
    },
    [
      [to("10.1.2.3", 9080), "plain9080"],
      [{ ...to("10.1.2.3", 9080), ...tls("", "istio", "h2") }, "mutual9080"],
      [{ ...to("10.1.2.3", 9080), ...tls("", "h2") }, undefined],
      [{ ...to("10.1.2.3", 3306), applicationProtocols: ["http/1.1"] }, "http"],
      // raw_buffer has entries, so the chain for any transport is not tried.
      [to("10.1.2.3", 3306), undefined],
      [{ ...to("10.1.2.3", 3306), ...tls("") }, "rest"],
    ],
  ],
];

for (const [what, chains, cases] of TABLE) {
  test(`filter chains: ${what}`, () => {
    const tree = new FilterChainTree<string>();
    for (const [name, match] of Object.entries(chains))
      assert.equal(tree.add(chain(name, match).match, name), undefined);
    for (const [facts, expected] of cases)
      assert.equal(tree.find({ ...PLAIN, ...facts }), expected, JSON.stringify(facts));
  });
}

test("the table has enough cases", () => {
  assert.ok(TABLE.flatMap(([, , cases]) => cases).length >= 70);
});

/** Errors of a listener with these chains more, all with the first part of a chain that is right. */
function errorsOf(...matches: readonly string[]): string[] {
  const more = matches.map((match, index) => `{ name: c${index}, filter_chain_match: ${match} }`).join(", ");
  const text = bootstrap({ listener: "" }).replace("filter_chains: [ {", `filter_chains: [ ${more}, {`);
  return load(text).errors.map(
    ({ message, path, rule }) => `${path.replace(/^.*filter_chains/, "")} ${rule}: ${message}`,
  );
}

test("conflicts between chains are refused, with both names", () => {
  assert.deepEqual(errorsOf("{ destination_port: 80 }", "{ destination_port: 81 }"), []);
  assert.deepEqual(errorsOf("{ destination_port: 80 }", "{ destination_port: 80 }"), [
    "[1].filter_chain_match filter-chain: filter chain 'c1' has the same matching rules defined as 'c0'",
  ]);
  assert.deepEqual(errorsOf("{ server_names: [a.example, b.example] }", "{ server_names: [c.example, B.example] }"), [
    "[1].filter_chain_match filter-chain: multiple filter chains with overlapping matching rules are defined: 'c1' and 'c0'",
  ]);
  assert.deepEqual(
    errorsOf(
      "{ prefix_ranges: [{ address_prefix: 10.1.2.3, prefix_len: 8 }] }",
      "{ prefix_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
    ),
    [
      "[1].filter_chain_match filter-chain: multiple filter chains with overlapping matching rules are defined: 'c1' and 'c0'",
    ],
  );
  // The chain of the fixture has no name and matches everything.
  assert.deepEqual(errorsOf("{}"), [
    "[1].filter_chain_match filter-chain: filter chain number 2 has the same matching rules defined as 'c0'",
  ]);
});

test("what a match cannot say is refused where it stands", () => {
  assert.match(
    errorsOf('{ server_names: ["*"] }')[0]!,
    /^\[0\].filter_chain_match.server_names\[0\] server-name: partial wildcards/,
  );
  assert.match(errorsOf('{ server_names: ["a*.example"] }')[0]!, /partial wildcards/);
  assert.match(errorsOf('{ server_names: ["*.a*.example"] }')[0]!, /partial wildcards/);
  assert.match(errorsOf("{ prefix_ranges: [{ address_prefix: nonsense }] }")[0]!, /malformed IP address: nonsense/);
  assert.match(errorsOf("{ prefix_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 33 }] }")[0]!, /at most 32 bits/);
  assert.match(errorsOf("{ address_suffix: 1.2.3.4 }")[0]!, /not supported yet: address_suffix/);
  assert.match(errorsOf("{ destination_port: 65536 }")[0]!, /destination_port/);
  const ports = Array.from({ length: 500 }, (_, at) => at + 1).join(",");
  const names = Array.from({ length: 500 }, (_, at) => `a${at}.example`).join(",");
  assert.match(errorsOf(`{ source_ports: [${ports}], server_names: [${names}] }`)[0]!, /more than 200000 combinations/);
});
