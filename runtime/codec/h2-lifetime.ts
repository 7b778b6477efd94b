/**
 * Node 26 aborts the process when it collects a session before one of its streams that got the beginning of a header
 * block, or of trailers, and never their end (`Http2Session::~Http2Session`: `current_nghttp2_memory_ == 0`). Which of
 * two objects that nobody uses is collected first is left to chance; here it is not.
 */
import type { Http2Session, Http2Stream } from "node:http2";

/** Holds the handle of a session until that of a stream is collected, which frees what it holds of the session's. */
const sessions = new FinalizationRegistry<unknown>(() => {});
/** Under which both keep their handles; Node has no name for it. */
let handleKey: symbol | undefined;

/** From now on the session lives longer than the stream, which must not have ended yet. */
export function keepSession(stream: Http2Stream): void {
  const { session } = stream;
  handleKey ??= Object.getOwnPropertySymbols(stream).find(({ description }) => description === "kHandle");
  if (session === undefined || handleKey === undefined) return;
  const [own, whole] = [handleOf(stream, handleKey), handleOf(session, handleKey)];
  if (own !== undefined) sessions.register(own, whole);
}

function handleOf(owner: Http2Session | Http2Stream, key: symbol): object | undefined {
  return (owner as unknown as Readonly<Record<symbol, object | undefined>>)[key];
}
