/**
 * One session of the MySQL protocol, as a bystander follows it: greeting → login → authentication → commands. It counts
 * what Envoy's filter counts, and collects the tables of queries.
 *
 * Once it cannot follow (TLS, compression, nonsense) it stops decoding, and the bytes go their way unseen.
 */
import * as log from "../sdk/log.ts";
import { Counters } from "./counters.ts";
import { Cursor } from "./cursor.ts";
import { changedDatabase, COMPRESS, QUERY_ATTRIBUTES, readGreeting, readLogin, ZSTD_COMPRESSION } from "./login.ts";
import { Packets, PacketReader } from "./packets.ts";
import { skipAttributes } from "./query-text.ts";
import { parseQuery } from "./statement.ts";
import { Tables } from "./tables.ts";

// Who is expected to say what.
const GREETING: i32 = 0;
const LOGIN: i32 = 1;
const AUTHENTICATION: i32 = 2;
const COMMANDS: i32 = 3;
const BLIND: i32 = 4;

// First bytes of what servers answer to a login.
const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const AUTH_SWITCH: u8 = 0xfe;
const ERROR: u8 = 0xff;

// First bytes of commands.
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_CHANGE_USER: u8 = 0x11;
const COM_STMT_PREPARE: u8 = 0x16;
// Commands that are not answered.
const COM_QUIT: u8 = 0x01;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;

/** Packets before the first command are short; what is longer is another protocol. */
const MAX_LOGIN_PACKET_BYTES: u32 = 128 * 1024;
/** Of a login packet, what stands in front of its attributes. */
const LOGIN_BYTES: u32 = 4096;
/** Of a query, what is looked at: tables stand near the beginning, long lists of values behind them. */
const QUERY_BYTES: u32 = 64 * 1024;
/** Commands of one event that are looked at: more than what a socket gives at a time (64 KiB) has room for. */
const MAX_COMMANDS: i32 = 13200;

export class Session implements PacketReader {
  client!: Packets;
  server!: Packets;
  /** Tables of the queries since the last `beginEvent`. */
  readonly tables: Tables = new Tables();
  /** Those of the whole session so far. */
  readonly everything: Tables = new Tables();
  /** Queries were seen since then. */
  queried: bool = false;
  /** Commands since then. */
  private commands: i32 = 0;
  private readonly counters: Counters;
  private state: i32 = GREETING;
  private sequence: i32 = 0;
  private clientSequence: i32 = 0;
  private serverSequence: i32 = 0;
  private serverCapabilities: u32 = 0;
  private clientCapabilities: u32 = 0;
  private database: string = "";
  /** The database that a command asked for; the server's answer decides. */
  private asked: string = "";
  private asks: bool = false;
  /** Commands that are answered, answers that have begun, and which of them is about the database. */
  private sent: u32 = 0;
  private begun: u32 = 0;
  private askIndex: u32 = 0;
  /** The server has said something since the last command. */
  private inAnswer: bool = false;

  constructor(counters: Counters) {
    this.counters = counters;
    this.client = new Packets(true, this);
    this.server = new Packets(false, this);
  }

  /** False: there is nothing to be learned from further bytes. */
  get decoding(): bool {
    return this.state != BLIND;
  }

  beginEvent(): void {
    this.queried = false;
    this.commands = 0;
    this.tables.clear();
  }

  // ---- packets --------------------------------------------------------------------------------

  onHeader(fromClient: bool, length: u32, sequence: i32, goesOn: bool): bool {
    if (this.state == BLIND) return false;
    return this.state == COMMANDS
      ? this.followCommand(fromClient, sequence, goesOn)
      : this.followLogin(fromClient, length, sequence);
  }

  /** Before the first command both sides count on, in turn. */
  private followLogin(fromClient: bool, length: u32, sequence: i32): bool {
    if (length > MAX_LOGIN_PACKET_BYTES) {
      this.giveUp("a packet is too long for a login");
      return false;
    }
    const wrongSide = fromClient ? this.state == GREETING : this.state == LOGIN;
    if (sequence != this.sequence || wrongSide) {
      this.counters.protocolErrors.add();
      return false;
    }
    this.sequence = (sequence + 1) & 0xff;
    return true;
  }

  /** A command begins at 0; whatever follows it, from either side, counts on from what one of them has said. */
  private followCommand(fromClient: bool, sequence: i32, goesOn: bool): bool {
    const follows = sequence == ((this.clientSequence + 1) & 0xff) || sequence == ((this.serverSequence + 1) & 0xff);
    const begins = fromClient && sequence == 0 && !goesOn;
    if (!follows && !begins) this.counters.protocolErrors.add();
    // What clients send besides commands are files and passwords.
    if (fromClient) {
      this.clientSequence = sequence;
      if (begins) this.inAnswer = false;
      return begins;
    }
    // An answer begins at 1, which long ones come to again.
    if (sequence == 1 && !(this.inAnswer && this.serverSequence == 0)) this.begun++;
    this.inAnswer = true;
    this.serverSequence = sequence;
    return this.asks && this.begun >= this.askIndex;
  }

  wanted(fromClient: bool, first: u8): u32 {
    if (this.state == GREETING || this.state == LOGIN) return LOGIN_BYTES;
    if (!fromClient) return 1;
    if (this.state != COMMANDS) return 0;
    if (first != COM_QUIT && first != COM_STMT_SEND_LONG_DATA && first != COM_STMT_CLOSE) this.sent++;
    if (first == COM_QUERY || first == COM_STMT_PREPARE) return QUERY_BYTES;
    return first == COM_INIT_DB || first == COM_CHANGE_USER ? LOGIN_BYTES : 0;
  }

  onPayload(fromClient: bool, address: usize, size: u32, total: u64): void {
    switch (this.state) {
      case GREETING:
        this.onGreeting(new Cursor(address, size));
        break;
      case LOGIN:
        this.onLogin(new Cursor(address, size), total);
        break;
      case AUTHENTICATION:
        if (!fromClient && size > 0) this.onAuthentication(load<u8>(address));
        break;
      case COMMANDS:
        if (fromClient && size > 0) this.onCommand(address, size, total);
        else if (!fromClient && size > 0) this.onAnswer(load<u8>(address));
        break;
    }
  }

  /** Nothing is decoded from here on. */
  private goBlind(): void {
    this.state = BLIND;
    this.release();
  }

  /** The connection is over, or nobody looks at its bytes any more. */
  release(): void {
    this.client.release();
    this.server.release();
  }

  private giveUp(reason: string): void {
    this.goBlind();
    this.counters.decoderErrors.add();
    log.info("mysql_proxy: no further decoding: " + reason);
  }

  // ---- login ----------------------------------------------------------------------------------

  private onGreeting(cursor: Cursor): void {
    // A server that is full or does not like the address says so instead of a greeting, and closes.
    if (cursor.left > 0 && load<u8>(cursor.address) == ERROR) {
      this.goBlind();
      return;
    }
    const greeting = readGreeting(cursor);
    if (!greeting.valid) {
      this.giveUp("the first packet is no greeting");
      return;
    }
    this.counters.loginAttempts.add();
    this.serverCapabilities = greeting.capabilities;
    this.state = LOGIN;
  }

  private onLogin(cursor: Cursor, total: u64): void {
    const login = readLogin(cursor, total);
    if (!login.valid) {
      this.giveUp("a malformed login");
      return;
    }
    if (login.wantsTls) {
      this.counters.upgradedToSsl.add();
      this.goBlind();
      return;
    }
    this.clientCapabilities = login.capabilities;
    this.database = login.database;
    this.state = AUTHENTICATION;
  }

  /** `first`: first byte of the server's packet. Others than these belong to plugins that ask in their own way. */
  private onAuthentication(first: u8): void {
    if (first == OK) this.loggedIn();
    else if (first == AUTH_SWITCH) this.counters.authSwitchRequest.add();
    else if (first == ERROR) {
      this.counters.loginFailures.add();
      this.goBlind();
    } else if (first != MORE_DATA && log.enabled(1)) log.debug("mysql_proxy: an answer of a plugin");
  }

  private loggedIn(): void {
    const both = this.serverCapabilities & this.clientCapabilities;
    if ((both & (COMPRESS | ZSTD_COMPRESSION)) != 0) {
      log.debug("mysql_proxy: the session is compressed from here on, no further decoding");
      this.goBlind();
      return;
    }
    this.state = COMMANDS;
    this.clientSequence = this.serverSequence = 0;
  }

  // ---- commands -------------------------------------------------------------------------------

  private onCommand(address: usize, size: u32, total: u64): void {
    const command = load<u8>(address);
    const isQuery = command == COM_QUERY || command == COM_STMT_PREPARE;
    if (++this.commands > MAX_COMMANDS) {
      // More than any client sends at a time: what the rest is about is not known.
      if (isQuery) this.counters.queriesParseError.add();
      else this.ask("");
      return;
    }
    const cursor = new Cursor(address + 1, size - 1);
    if (command == COM_INIT_DB) this.ask(cursor.rest());
    else if (command == COM_CHANGE_USER) this.ask(changedDatabase(cursor, this.clientCapabilities));
    else if (isQuery) {
      const both = this.serverCapabilities & this.clientCapabilities;
      const attributes = command == COM_QUERY && (both & QUERY_ATTRIBUTES) != 0;
      this.onQuery(cursor, attributes, <u64>size < total);
    }
  }

  private onQuery(cursor: Cursor, attributes: bool, cut: bool): void {
    this.queried = true;
    if (attributes && !skipAttributes(cursor)) {
      this.counters.queriesParseError.add();
      return;
    }
    const query = parseQuery(cursor.address, cursor.left, cut, this.database, this.tables);
    // Asked for before, and not answered yet: which of the two it will be, nobody knows.
    if (this.asks && this.asked != this.database) {
      parseQuery(cursor.address, cursor.left, cut, this.asked, this.tables);
    }
    if (query.valid) this.counters.queriesParsed.add();
    else this.counters.queriesParseError.add();
    if (query.changesDatabase) this.ask(query.database);
  }

  private ask(database: string): void {
    this.asked = database;
    this.asks = true;
    this.askIndex = this.sent;
  }

  private onAnswer(first: u8): void {
    if (!this.asks || first == AUTH_SWITCH || first == MORE_DATA) return;
    this.asks = false;
    if (first == OK) this.database = this.asked;
  }
}
