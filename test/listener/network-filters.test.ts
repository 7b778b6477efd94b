/** The chain of network filters over real sockets: order, stopping, holding, injecting, half-closing, closing. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { BodyBuffer } from "../../runtime/codec/body.ts";
import type { ConnectionView, FilterView } from "../../runtime/network/filter.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import { dial, End, passing, Plain, serve, terminal, until } from "./chain.ts";

/** Sends back what comes, and half-closes when downstream did. */
class Echo extends End {
  override onData(data: Buffer, endStream: boolean): void {
    if (data.length > 0) this.connection.write(Buffer.from(data));
    if (endStream) this.connection.endWrite();
  }
}
const echo = terminal((connection) => new Echo(connection));

const append = (bytes: BodyBuffer, text: string): void => bytes.splice(bytes.length, 0, Buffer.from(text));

test("filters see bytes in order, and in reverse on the way out; edits go on", async (t) => {
  const mark = (name: string): ReturnType<typeof passing> =>
    passing((view) =>
      Object.assign(new Plain(view), {
        onData(bytes: BodyBuffer): number {
          if (bytes.length > 0) append(bytes, name);
          return NetworkStatus.CONTINUE;
        },
        onWrite(bytes: BodyBuffer): number {
          if (bytes.length > 0) append(bytes, name.toUpperCase());
          return NetworkStatus.CONTINUE;
        },
      }),
    );
  const { port } = await serve(t, [mark("a"), mark("b"), mark("c"), echo]);
  const peer = await dial(t, port);
  peer.socket.end("-");
  assert.equal(await peer.ended, "-abcCBA");
});

test("a filter that stops sees its bytes again with what follows, and passes them on at once when it lets go", async (t) => {
  const seen: string[] = [];
  let before = "";
  const watch = passing((view) =>
    Object.assign(new Plain(view), {
      onData(bytes: BodyBuffer): number {
        before += bytes.bytes().toString();
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const line = passing((view) =>
    Object.assign(new Plain(view), {
      onData(bytes: BodyBuffer): number {
        const text = bytes.bytes().toString();
        seen.push(text);
        return text.endsWith("\n") ? NetworkStatus.CONTINUE : NetworkStatus.STOP;
      },
    }),
  );
  const { port } = await serve(t, [watch, line, echo]);
  const peer = await dial(t, port);
  for (const piece of ["ab", "cd", "e\n"]) {
    const count = seen.length;
    peer.socket.write(piece);
    await until(() => seen.length > count, "the filter sees the piece");
  }
  await until(() => peer.text() !== "", "the line comes back");
  assert.equal(peer.text(), "abcde\n");
  assert.deepEqual(seen, ["ab", "abcd", "abcde\n"]);
  assert.equal(before, "abcde\n", "filters before the one that stopped see every byte once");
});

test("bytes of a filter that stops are its own: the thread's read buffer may be used meanwhile", async (t) => {
  let view: FilterView | undefined;
  const hold = passing((given) =>
    Object.assign(new Plain(given), {
      onData(): number {
        view ??= given;
        return given === view ? NetworkStatus.STOP : NetworkStatus.CONTINUE;
      },
    }),
  );
  const { port } = await serve(t, [hold, echo]);
  const held = await dial(t, port);
  held.socket.write("precious");
  await until(() => view !== undefined && view.heldData.length === 8, "the first connection is held");
  const other = await dial(t, port);
  other.socket.write("overwritten?");
  await until(() => other.text() === "overwritten?", "the second connection is served");
  view!.continueReading();
  await until(() => held.text() !== "", "the first goes on");
  assert.equal(held.text(), "precious");
});

test("over the buffer limit the peer is not read, and is read again when the filter goes on", async (t) => {
  let view: FilterView | undefined;
  let open = false;
  const hold = passing((given) => {
    view = given;
    return Object.assign(new Plain(given), {
      onData: (): number => (open ? NetworkStatus.CONTINUE : NetworkStatus.STOP),
    });
  });
  let got = 0;
  const count = terminal((connection) =>
    Object.assign(new End(connection), { onData: (data: Buffer): void => void (got += data.length) }),
  );
  const limit = 128 * 1024;
  const total = 32 * 1024 * 1024;
  const { port } = await serve(t, [hold, count], { perConnectionBufferLimitBytes: limit });
  const peer = await dial(t, port);
  peer.socket.write(Buffer.alloc(total));
  await until(() => view!.heldData.length >= limit, "the limit is reached");
  const most = view!.heldData.length;
  assert.ok(most < limit + 65_536, `held ${most} bytes`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(view!.heldData.length, most);
  open = true;
  view!.continueReading();
  await until(() => got === total, "everything arrives");
});

test("onNewConnection: a filter that stops keeps the news and the bytes from those behind it", async (t) => {
  const log: string[] = [];
  let gate: FilterView | undefined;
  const note = (name: string, stops: boolean): ReturnType<typeof passing> =>
    passing(
      (view) => {
        if (stops) gate = view;
        return Object.assign(new Plain(view), {
          onNewConnection(): number {
            log.push(`${name} new`);
            return stops ? NetworkStatus.STOP : NetworkStatus.CONTINUE;
          },
          onData(bytes: BodyBuffer): number {
            log.push(`${name} ${bytes.length}`);
            return NetworkStatus.CONTINUE;
          },
        });
      },
      { reads: name !== "gate" },
    );
  const end = terminal((connection) =>
    Object.assign(new Echo(connection), { onNewConnection: (): void => void log.push("end new") }),
  );
  const { port } = await serve(t, [note("first", false), note("gate", true), note("last", false), end]);
  const peer = await dial(t, port);
  peer.socket.write("hello");
  await until(() => gate?.heldData.length === 5, "the bytes wait");
  assert.deepEqual(log, ["first new", "gate new", "first 5"]);
  gate!.continueReading();
  await until(() => peer.text() === "hello", "the bytes come back");
  assert.deepEqual(log, ["first new", "gate new", "first 5", "last new", "last 5", "end new"]);
});

test("a filter behind one that stops hears neither of the connection nor of its end", async (t) => {
  const log: string[] = [];
  const gate = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection: (): number => NetworkStatus.STOP,
      onClose: (local: boolean): void => void log.push(`gate ${local}`),
    }),
  );
  const end = terminal((connection) =>
    Object.assign(new End(connection), { onClose: (local: boolean): void => void log.push(`end ${local}`) }),
  );
  const { port, stats } = await serve(t, [gate, end]);
  const peer = await dial(t, port);
  peer.socket.resetAndDestroy();
  await until(() => log.length > 0, "the connection ends");
  assert.deepEqual(log, ["gate false"]);
  await until(() => stats.gauge("listener.l.downstream_cx_active").value === 0, "no connection is left");
});

test("bytes that a filter has not seen when it lets go are shown to it", async (t) => {
  const seen: string[] = [];
  let inner: FilterView | undefined;
  let outer: FilterView | undefined;
  const first = passing((view) => {
    outer = view;
    return Object.assign(new Plain(view), { onData: (): number => NetworkStatus.STOP });
  });
  const second = passing((view) => {
    inner = view;
    return Object.assign(new Plain(view), {
      onNewConnection: (): number => NetworkStatus.STOP,
      onData(bytes: BodyBuffer): number {
        seen.push(bytes.bytes().toString());
        return NetworkStatus.CONTINUE;
      },
    });
  });
  const { port } = await serve(t, [first, second, echo]);
  const peer = await dial(t, port);
  peer.socket.write("x");
  await until(() => outer?.heldData.length === 1, "the first filter holds");
  outer!.continueReading();
  inner!.continueReading();
  await until(() => peer.text() === "x", "it comes back");
  assert.deepEqual(seen, ["x"]);
});

test("continueReading from inside a callback counts for that callback", async (t) => {
  const eager = passing((view) =>
    Object.assign(new Plain(view), {
      onNewConnection(): number {
        view.continueReading();
        return NetworkStatus.STOP;
      },
      onData(): number {
        view.continueReading();
        return NetworkStatus.STOP;
      },
    }),
  );
  const { port } = await serve(t, [eager, echo]);
  const peer = await dial(t, port);
  peer.socket.end("now");
  assert.equal(await peer.ended, "now");
});

test("writes: a filter that stops holds them, the writer is pushed back, and continueWriting sends them", async (t) => {
  let view: FilterView | undefined;
  let connection: ConnectionView | undefined;
  const events: string[] = [];
  const hold = passing((given) => {
    view = given;
    return Object.assign(new Plain(given), { onWrite: (): number => NetworkStatus.STOP });
  });
  const end = terminal((given) => {
    connection = given;
    return Object.assign(new End(given), { onWritable: (): void => void events.push("writable") });
  });
  const { port } = await serve(t, [hold, end], { perConnectionBufferLimitBytes: 1000 });
  const peer = await dial(t, port);
  await until(() => connection !== undefined, "the connection is there");
  assert.equal(connection!.write(Buffer.alloc(600, "a")), true);
  assert.equal(connection!.write(Buffer.alloc(600, "b")), false);
  connection!.endWrite();
  assert.equal(view!.heldWrite.length, 1200);
  view!.continueWriting();
  assert.equal(await peer.ended, "a".repeat(600) + "b".repeat(600));
  await until(() => events.length === 1, "the writer hears of it");
});

test("injected bytes pass the injecting filter by, in both directions", async (t) => {
  const seen: string[] = [];
  const note = (name: string): ReturnType<typeof passing> =>
    passing((view) =>
      Object.assign(new Plain(view), {
        onData(bytes: BodyBuffer): number {
          seen.push(`${name}< ${bytes.bytes().toString()}`);
          return NetworkStatus.CONTINUE;
        },
        onWrite(bytes: BodyBuffer): number {
          seen.push(`${name}> ${bytes.bytes().toString()}`);
          return NetworkStatus.CONTINUE;
        },
      }),
    );
  let middle: FilterView | undefined;
  const inject = passing((view) => {
    middle = view;
    return new Plain(view);
  });
  let got = "";
  const end = terminal((connection) =>
    Object.assign(new End(connection), { onData: (data: Buffer): void => void (got += data.toString()) }),
  );
  const { port } = await serve(t, [note("a"), inject, note("b"), end]);
  const peer = await dial(t, port);
  await until(() => middle !== undefined, "the connection is there");
  middle!.injectReadData(Buffer.from("in"), false);
  assert.equal(got, "in");
  assert.equal(middle!.injectWriteData(Buffer.from("out"), true), true);
  assert.equal(await peer.ended, "out");
  assert.deepEqual(seen, ["b< in", "a> out"]);
});

test("a filter that injects from within a write does not break in on the terminal filter", async (t) => {
  let depth = 0;
  const got: string[] = [];
  const answer = passing((view) =>
    Object.assign(new Plain(view), {
      onWrite(bytes: BodyBuffer): number {
        if (bytes.bytes().toString() === "one") {
          view.injectReadData(Buffer.from("two"), false);
          view.injectReadData(Buffer.from("three"), true);
        }
        return NetworkStatus.CONTINUE;
      },
    }),
  );
  const end = terminal((connection) =>
    Object.assign(new End(connection), {
      onData(data: Buffer, endStream: boolean): void {
        assert.equal(depth++, 0, "called while it is being called");
        got.push(data.toString());
        connection.write(Buffer.from(data));
        if (endStream) connection.endWrite();
        depth--;
      },
    }),
  );
  const { port } = await serve(t, [answer, end]);
  const peer = await dial(t, port);
  peer.socket.write("one");
  assert.equal(await peer.ended, "onetwothree");
  assert.deepEqual(got, ["one", "two", "three"]);
});

test("half-close: downstream first, then this side, and the other way round", async (t) => {
  const events: string[] = [];
  const watch = passing((view) =>
    Object.assign(new Plain(view), {
      onData(bytes: BodyBuffer, endStream: boolean): number {
        events.push(`read ${bytes.length} ${endStream}`);
        return NetworkStatus.CONTINUE;
      },
      onWrite(bytes: BodyBuffer, endStream: boolean): number {
        events.push(`write ${bytes.length} ${endStream}`);
        return NetworkStatus.CONTINUE;
      },
      onClose: (local: boolean): void => void events.push(`close ${local}`),
    }),
  );
  let connection: ConnectionView | undefined;
  let got = "";
  const end = terminal((given) => {
    connection = given;
    return Object.assign(new End(given), { onData: (data: Buffer): void => void (got += data.toString()) });
  });
  const { port } = await serve(t, [watch, end]);

  const first = await dial(t, port);
  first.socket.end("bye");
  await until(() => events.includes("read 0 true"), "the end is seen");
  connection!.write("still here");
  connection!.endWrite();
  assert.equal(await first.ended, "still here");
  await until(() => events.at(-1) === "close true", "closed");
  assert.deepEqual(events.splice(0), ["read 3 false", "read 0 true", "write 10 false", "write 0 true", "close true"]);

  const second = await dial(t, port, true);
  await until(() => !connection!.closed, "the second connection is there");
  connection!.endWrite();
  await second.ended;
  got = "";
  second.socket.end("late");
  await until(() => events.at(-1) === "close false", "closed");
  assert.equal(got, "late");
  assert.deepEqual(events, ["write 0 true", "read 4 false", "read 0 true", "close false"]);
});

test("an end that is held goes on with the bytes", async (t) => {
  let endHeld = false;
  let view: FilterView | undefined;
  const hold = passing((given) => {
    view = given;
    return Object.assign(new Plain(given), {
      onData(_bytes: BodyBuffer, endStream: boolean): number {
        endHeld = endStream;
        return NetworkStatus.STOP;
      },
    });
  });
  const ends: boolean[] = [];
  const end = terminal((connection) =>
    Object.assign(new Echo(connection), {
      onData(data: Buffer, endStream: boolean): void {
        ends.push(endStream);
        connection.write(Buffer.from(data));
        if (endStream) connection.endWrite();
      },
    }),
  );
  const { port } = await serve(t, [hold, end]);
  const peer = await dial(t, port);
  peer.socket.end("all");
  await until(() => endHeld, "the end is held");
  view!.continueReading();
  assert.equal(await peer.ended, "all");
  assert.deepEqual(ends, [true]);
});

/** How a filter may close, with what the peer sees. */
const CLOSES: readonly {
  readonly name: string;
  readonly close: (view: ConnectionView) => void;
  readonly text: string;
  readonly reset: boolean;
}[] = [
  { name: "flush", close: (view) => view.close(0, "because"), text: "hello", reset: false },
  { name: "flush and wait", close: (view) => view.close(1000, "because"), text: "hello", reset: false },
  { name: "abort", close: (view) => view.reset("because"), text: "", reset: true },
];

for (const { name, close, text, reset } of CLOSES) {
  test(`a filter closes from onData: ${name}`, async (t) => {
    let reason = "";
    let calls = 0;
    let behind = 0;
    const closer = passing((view) =>
      Object.assign(new Plain(view), {
        onData(): number {
          calls++;
          view.injectWriteData(Buffer.from("hello"), false);
          close(view);
          return NetworkStatus.CONTINUE;
        },
        onClose(local: boolean): void {
          reason = `${view.stream.localCloseReason} ${local}`;
        },
      }),
    );
    const end = terminal((connection) => Object.assign(new End(connection), { onData: (): void => void behind++ }));
    const { port } = await serve(t, [closer, end]);
    const peer = await dial(t, port, true);
    peer.socket.write("x");
    if (text !== "") assert.equal(await peer.ended, text);
    peer.socket.end("more");
    assert.equal(await peer.gone, reset);
    await until(() => reason !== "", "the filter hears of the end");
    assert.equal(reason, "because true");
    assert.deepEqual([calls, behind], [1, 0]);
  });
}

test("closing without a flush drops what waits", async (t) => {
  let unsent = 0;
  const closer = terminal((connection) =>
    Object.assign(new End(connection), {
      onData(): void {
        while (connection.write(Buffer.alloc(1024 * 1024)));
        unsent = connection.unsentBytes;
        connection.closeNow("enough");
      },
    }),
  );
  const { port, stats } = await serve(t, [closer]);
  const peer = await dial(t, port);
  peer.socket.pause();
  peer.socket.write("x");
  await until(() => stats.counter("listener.l.downstream_cx_destroy").value === 1, "the connection is closed at once");
  assert.ok(unsent > 0);
});

test("bytes of a connection are counted when it ends", async (t) => {
  let counted: readonly number[] = [];
  const end = terminal((connection) =>
    Object.assign(new Echo(connection), {
      onClose: (): void => void (counted = [connection.stream.bytesReceived, connection.stream.bytesSent]),
    }),
  );
  const { port } = await serve(t, [end]);
  const peer = await dial(t, port);
  await once(peer.socket.end("12345"), "finish");
  await until(() => counted.length > 0, "the connection ends");
  assert.deepEqual(counted, [5, 5]);
});

test("a chain without filters closes at once", async (t) => {
  const { port } = await serve(t, []);
  const peer = await dial(t, port);
  assert.equal(await peer.ended, "");
});
