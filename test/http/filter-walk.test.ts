import assert from "node:assert/strict";
import { test } from "node:test";
import type { BodyBuffer } from "../../runtime/codec/body.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { DataStatus, HeadersStatus, Phase, TrailersStatus } from "../../runtime/http/filter.ts";
import type { HttpFilter } from "../../runtime/http/filter.ts";
import { FilterWalk } from "../../runtime/http/filter-walk.ts";

/** A filter whose answers are scripted, and which writes down what it saw. */
class Scripted implements HttpFilter {
  readonly name: string;
  readonly log: string[];
  headers: number[] = [];
  data: number[] = [];
  trailers: number[] = [];
  onBody: ((body: BodyBuffer) => void) | null = null;

  constructor(name: string, log: string[]) {
    this.name = name;
    this.log = log;
  }
  onRequestHeaders(_headers: HeaderMap, endStream: boolean): number {
    this.log.push(`${this.name}:headers${endStream ? ":end" : ""}`);
    return this.headers.shift() ?? HeadersStatus.CONTINUE;
  }
  onRequestData(body: BodyBuffer, endStream: boolean): number {
    this.log.push(`${this.name}:data:${body.bytes().toString()}${endStream ? ":end" : ""}`);
    this.onBody?.(body);
    return this.data.shift() ?? DataStatus.CONTINUE;
  }
  onRequestTrailers(): number {
    this.log.push(`${this.name}:trailers`);
    return this.trailers.shift() ?? TrailersStatus.CONTINUE;
  }
  onResponseHeaders(): number {
    return 0;
  }
  onResponseData(): number {
    return 0;
  }
  onResponseTrailers(): number {
    return 0;
  }
  onLog(): void {}
  onDestroy(): void {}
}

type Slot = { filter: Scripted; phases: number };

class TestWalk extends FilterWalk<Slot> {
  protected readonly lent = true;
  protected readonly headersPhase = Phase.REQUEST_HEADERS;
  protected readonly dataPhase = Phase.REQUEST_DATA;
  protected readonly trailersPhase = Phase.REQUEST_TRAILERS;
  readonly log: string[];
  constructor(slots: Slot[], log: string[], limit = 100) {
    super(slots, limit);
    this.log = log;
  }
  protected at(p: number): Slot {
    return this.slots[p]!;
  }
  protected enter(slot: Slot): HttpFilter {
    return slot.filter;
  }
  protected callHeaders(filter: HttpFilter, headers: HeaderMap, endStream: boolean): number {
    return filter.onRequestHeaders(headers, endStream);
  }
  protected callData(filter: HttpFilter, body: BodyBuffer, endStream: boolean): number {
    return filter.onRequestData(body, endStream);
  }
  protected callTrailers(filter: HttpFilter, trailers: HeaderMap): number {
    return filter.onRequestTrailers(trailers);
  }
  protected endHeaders(headers: HeaderMap, endStream: boolean): void {
    const length = headers.get("content-length");
    this.log.push(`end:headers${endStream ? ":end" : ""}${length === undefined ? "" : `:cl=${length}`}`);
  }
  protected endData(chunk: Buffer, endStream: boolean): void {
    this.log.push(`end:data:${chunk.toString()}${endStream ? ":end" : ""}`);
  }
  protected endTrailers(): void {
    this.log.push("end:trailers");
  }
  protected overflow(): void {
    this.log.push("overflow");
    this.closed = true;
  }
  protected pushBack(): void {
    this.log.push("pushBack");
  }
  protected letGo(): void {
    this.log.push("letGo");
  }
}

const ALL = Phase.REQUEST_HEADERS | Phase.REQUEST_DATA | Phase.REQUEST_TRAILERS;

function setUp(names: string, phases = ALL, limit = 100): { walk: TestWalk; log: string[]; filters: Scripted[] } {
  const log: string[] = [];
  const filters = [...names].map((name) => new Scripted(name, log));
  return {
    walk: new TestWalk(
      filters.map((filter) => ({ filter, phases })),
      log,
      limit,
    ),
    log,
    filters,
  };
}
const b = (text: string): Buffer => Buffer.from(text);

test("a message walks every filter in order", () => {
  const { walk, log } = setUp("AB");
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.push(b("y"), false);
  walk.pushTrailers(new HeaderMap());
  assert.deepEqual(log, [
    "A:headers",
    "B:headers",
    "end:headers",
    "A:data:x",
    "B:data:x",
    "end:data:x",
    "A:data:y",
    "B:data:y",
    "end:data:y",
    "A:trailers",
    "B:trailers",
    "end:trailers",
  ]);
});

/** Pushes bytes that are somebody else's as soon as the call has returned. */
function lend(walk: TestWalk, text: string, endStream: boolean): void {
  const bytes = b(text);
  walk.push(bytes, endStream);
  bytes.fill("!");
}

test("what a filter keeps of lent bytes is a copy", () => {
  const seen = setUp("AB");
  seen.filters[0]!.data = [DataStatus.STOP_AND_BUFFER, DataStatus.STOP_AND_BUFFER];
  seen.walk.start(new HeaderMap(), false);
  lend(seen.walk, "one", false);
  lend(seen.walk, "two", true);
  seen.walk.resume(0);
  assert.deepEqual(seen.log.slice(-4), ["A:data:one", "A:data:onetwo:end", "B:data:onetwo:end", "end:data:onetwo:end"]);

  const unseen = setUp("AB");
  unseen.filters[1]!.headers = [HeadersStatus.STOP_ALL_AND_BUFFER];
  unseen.walk.start(new HeaderMap(), false);
  lend(unseen.walk, "one", false);
  lend(unseen.walk, "two", true);
  unseen.walk.resume(1);
  assert.deepEqual(unseen.log.slice(-2), ["B:data:onetwo:end", "end:data:onetwo:end"]);

  const edited = setUp("A");
  edited.filters[0]!.data = [DataStatus.STOP_AND_BUFFER];
  edited.filters[0]!.onBody = (body) => body.splice(0, 1, b("O"));
  edited.walk.start(new HeaderMap(), false);
  lend(edited.walk, "one", true);
  edited.walk.resume(0);
  assert.equal(edited.log.at(-1), "end:data:One:end");
});

test("what is left in a filter's hands when the message is given up is its own", () => {
  const { walk, filters } = setUp("A");
  filters[0]!.headers = [HeadersStatus.STOP_ITERATION];
  filters[0]!.onBody = () => (walk.closed = true);
  walk.start(new HeaderMap(), false);
  lend(walk, "one", false);
  assert.equal(walk.heldBody(0)!.bytes().toString(), "one");
});

test("a filter without body callbacks is not in the way of the body", () => {
  const { walk, log } = setUp("A", Phase.REQUEST_HEADERS);
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), true);
  assert.deepEqual(log, ["A:headers", "end:headers", "end:data:x:end"]);
});

test("stop-all holds body and trailers, then shows them to the same filter", () => {
  const { walk, log, filters } = setUp("AB");
  filters[0]!.headers = [HeadersStatus.STOP_ALL_AND_WATERMARK];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.push(b("y"), false);
  walk.pushTrailers(new HeaderMap());
  assert.deepEqual(log, ["A:headers"]);
  assert.ok(walk.paused(0));
  walk.resume(0);
  assert.deepEqual(log.slice(1), [
    "B:headers",
    "end:headers",
    "A:data:xy",
    "B:data:xy",
    "end:data:xy",
    "A:trailers",
    "B:trailers",
    "end:trailers",
  ]);
  walk.resume(0);
  assert.equal(log.length, 9);
});

test("stop-all on headers that end the stream goes on with the end", () => {
  const { walk, log, filters } = setUp("AB");
  filters[1]!.headers = [HeadersStatus.STOP_ALL_AND_BUFFER];
  walk.start(new HeaderMap(), true);
  walk.resume(1);
  assert.deepEqual(log, ["A:headers:end", "B:headers:end", "end:headers:end"]);
});

test("stop-iteration holds headers; the filter's continue from the body releases them", () => {
  const { walk, log, filters } = setUp("AB");
  filters[0]!.headers = [HeadersStatus.STOP_ITERATION];
  filters[0]!.data = [DataStatus.STOP_AND_BUFFER, DataStatus.CONTINUE];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  assert.deepEqual(log, ["A:headers", "A:data:x"]);
  walk.push(b("y"), true);
  assert.deepEqual(log.slice(2), ["A:data:xy:end", "B:headers", "end:headers", "B:data:xy:end", "end:data:xy:end"]);
});

test("headers held back get the length of a body that was changed", () => {
  const { walk, log, filters } = setUp("A");
  filters[0]!.headers = [HeadersStatus.STOP_ITERATION];
  filters[0]!.onBody = (body) => body.splice(0, body.length, b("longer"));
  walk.start(new HeaderMap(["content-length", "1"]), false);
  filters[0]!.data = [DataStatus.STOP_AND_BUFFER];
  walk.push(b("x"), true);
  walk.resume(0);
  assert.deepEqual(log.slice(2), ["end:headers:cl=6", "end:data:longer:end"]);
});

test("a body held by stop-and-buffer is one piece and is sent on once", () => {
  const { walk, log, filters } = setUp("AB");
  filters[0]!.data = [DataStatus.STOP_AND_BUFFER, DataStatus.STOP_AND_BUFFER];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.push(b("y"), false);
  walk.resume(0);
  walk.push(b("z"), true);
  assert.deepEqual(log.slice(3), [
    "A:data:x",
    "A:data:xy",
    "B:data:xy",
    "end:data:xy",
    "A:data:z:end",
    "B:data:z:end",
    "end:data:z:end",
  ]);
});

test("stop-no-buffer drops the data unless it is continued with more", () => {
  const { walk, log, filters } = setUp("A");
  filters[0]!.data = [DataStatus.STOP_NO_BUFFER];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.push(b("y"), true);
  assert.deepEqual(log.slice(2), ["A:data:x", "A:data:y:end", "end:data:y:end"]);
});

test("over the limit: buffering fails the stream, watermark pushes the source back and lets go", () => {
  const buffered = setUp("A", ALL, 3);
  buffered.filters[0]!.data = [DataStatus.STOP_AND_BUFFER];
  buffered.walk.start(new HeaderMap(), false);
  buffered.walk.push(b("four"), false);
  assert.equal(buffered.log.at(-1), "overflow");

  const marked = setUp("A", ALL, 3);
  marked.filters[0]!.data = [DataStatus.STOP_AND_WATERMARK];
  marked.walk.start(new HeaderMap(), false);
  marked.walk.push(b("four"), false);
  assert.equal(marked.log.at(-1), "pushBack");
  marked.walk.resume(0);
  assert.deepEqual(marked.log.slice(-2), ["letGo", "end:data:four"]);

  const stopped = setUp("A", ALL, 3);
  stopped.filters[0]!.headers = [HeadersStatus.STOP_ALL_AND_WATERMARK];
  stopped.walk.start(new HeaderMap(), false);
  stopped.walk.push(b("four"), false);
  stopped.walk.push(b("more"), true);
  assert.equal(stopped.log.filter((line) => line === "pushBack").length, 1);
  stopped.walk.resume(0);
  assert.deepEqual(stopped.log.slice(1), [
    "pushBack",
    "letGo",
    "end:headers",
    "A:data:fourmore:end",
    "end:data:fourmore:end",
  ]);
});

test("two filters of a chain may each pause", () => {
  const { walk, log, filters } = setUp("AB");
  filters[0]!.headers = [HeadersStatus.STOP_ALL_AND_WATERMARK];
  filters[1]!.headers = [HeadersStatus.STOP_ALL_AND_WATERMARK];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), true);
  walk.resume(0);
  assert.deepEqual(log, ["A:headers", "B:headers", "A:data:x:end"]);
  walk.resume(1);
  assert.deepEqual(log.slice(3), ["end:headers", "B:data:x:end", "end:data:x:end"]);
});

test("trailers stop and go on; body held before them goes first", () => {
  const { walk, log, filters } = setUp("A");
  filters[0]!.data = [DataStatus.STOP_AND_BUFFER];
  filters[0]!.trailers = [TrailersStatus.STOP];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.pushTrailers(new HeaderMap());
  assert.deepEqual(log.slice(2), ["A:data:x", "A:trailers"]);
  walk.resume(0);
  assert.deepEqual(log.slice(4), ["end:data:x", "end:trailers"]);
});

test("a paused body without a trailers callback waits for resume", () => {
  const { walk, log, filters } = setUp("A", Phase.REQUEST_HEADERS | Phase.REQUEST_DATA);
  filters[0]!.data = [DataStatus.STOP_AND_BUFFER];
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), false);
  walk.pushTrailers(new HeaderMap());
  assert.equal(log.at(-1), "A:data:x");
  walk.resume(0);
  assert.deepEqual(log.slice(-2), ["end:data:x", "end:trailers"]);
});

test("trailers added in the last body callback end the message", () => {
  const { walk, log, filters } = setUp("AB");
  filters[0]!.onBody = () => (walk.trailers = new HeaderMap(["a", "1"]));
  walk.start(new HeaderMap(), false);
  walk.push(b("x"), true);
  assert.deepEqual(log.slice(3), ["A:data:x:end", "B:data:x", "end:data:x", "B:trailers", "end:trailers"]);
});
