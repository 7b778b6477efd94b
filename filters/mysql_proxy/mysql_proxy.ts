/**
 * envoy.filters.network.mysql_proxy: follows MySQL sessions on their way to the terminal filter and changes nothing.
 * Configuration: MySQLProxy. Dynamic metadata `envoy.filters.network.mysql_proxy`: the tables of the last queries, each
 * with the list of what is done to it. `sluice.mysql_proxy`: the same of the whole session, for the log at its end.
 */
import * as Action from "../../abi/action.ts";
import { Body, downstreamData, upstreamData } from "../sdk/body.ts";
import { NetworkFilter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import { replaceDynamicMetadata } from "../sdk/extensions.ts";
import { Text } from "../sdk/memory.ts";
import { Counters } from "./counters.ts";
import { MySQLProxy } from "./mysql_proxy.pb.ts";
import { Packets } from "./packets.ts";
import { Session } from "./session.ts";

const NAMESPACE = new Text("envoy.filters.network.mysql_proxy");
const SESSION = new Text("sluice.mysql_proxy");
/** Bytes read from the host at a time; it lands them in a page of this size. */
const CHUNK_BYTES: i32 = 8192;
const chunk = new StaticArray<u8>(CHUNK_BYTES);

class MysqlRoot extends RootContext {
  counters!: Counters;

  override onConfigure(configuration: ArrayBuffer): bool {
    const message = MySQLProxy.decode(configuration);
    if (message === null) return false;
    this.counters = new Counters(message.statPrefix);
    return true;
  }

  override createFilter(): StreamContext {
    return new MysqlFilter(this.counters);
  }
}

class MysqlFilter extends NetworkFilter {
  private readonly counters: Counters;
  private readonly session: Session;

  constructor(counters: Counters) {
    super();
    this.counters = counters;
    this.session = new Session(counters);
  }

  override onNewConnection(): i32 {
    this.counters.sessions.add();
    this.counters.tell();
    return Action.CONTINUE;
  }

  override onDownstreamData(size: u32, _endOfStream: bool): i32 {
    const session = this.session;
    if (!session.decoding) return Action.CONTINUE;
    session.beginEvent();
    this.read(downstreamData, session.client, size);
    if (!session.queried) return Action.CONTINUE;
    replaceDynamicMetadata<Text>(NAMESPACE, session.tables.encode());
    if (session.everything.addAll(session.tables)) {
      replaceDynamicMetadata<Text>(SESSION, session.everything.encode());
    }
    return Action.CONTINUE;
  }

  override onUpstreamData(size: u32, _endOfStream: bool): i32 {
    if (this.session.decoding) this.read(upstreamData, this.session.server, size);
    return Action.CONTINUE;
  }

  override onDelete(): void {
    this.session.release();
  }

  private read(body: Body, packets: Packets, size: u32): void {
    let at: u32 = 0;
    while (at < size && this.session.decoding) {
      at += packets.unwanted(size - at);
      const count = body.copyTo(chunk, at);
      if (count == 0) break;
      packets.take(changetype<usize>(chunk), count);
      at += count;
    }
    this.counters.tell();
  }
}

register((): RootContext => new MysqlRoot());
