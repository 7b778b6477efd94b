/** The filter's statistics, `mysql.<stat_prefix>.`; names as Envoy has them. */
import { Counter } from "../sdk/metric.ts";

/** Counts here, and tells the host once for all that an event brought. */
export class Tally {
  private readonly counter: Counter;
  private waiting: i64 = 0;

  constructor(name: string) {
    this.counter = new Counter(name);
  }
  add(): void {
    this.waiting++;
  }
  tell(): void {
    if (this.waiting == 0) return;
    this.counter.increment(this.waiting);
    this.waiting = 0;
  }
}

export class Counters {
  readonly authSwitchRequest: Tally;
  readonly decoderErrors: Tally;
  readonly loginAttempts: Tally;
  readonly loginFailures: Tally;
  readonly protocolErrors: Tally;
  readonly queriesParseError: Tally;
  readonly queriesParsed: Tally;
  readonly sessions: Tally;
  readonly upgradedToSsl: Tally;

  constructor(statPrefix: string) {
    const prefix = "mysql." + statPrefix + ".";
    this.authSwitchRequest = new Tally(prefix + "auth_switch_request");
    this.decoderErrors = new Tally(prefix + "decoder_errors");
    this.loginAttempts = new Tally(prefix + "login_attempts");
    this.loginFailures = new Tally(prefix + "login_failures");
    this.protocolErrors = new Tally(prefix + "protocol_errors");
    this.queriesParseError = new Tally(prefix + "queries_parse_error");
    this.queriesParsed = new Tally(prefix + "queries_parsed");
    this.sessions = new Tally(prefix + "sessions");
    this.upgradedToSsl = new Tally(prefix + "upgraded_to_ssl");
  }

  /** An event is over. */
  tell(): void {
    this.protocolErrors.tell();
    this.queriesParsed.tell();
    this.queriesParseError.tell();
    this.authSwitchRequest.tell();
    this.decoderErrors.tell();
    this.loginAttempts.tell();
    this.loginFailures.tell();
    this.sessions.tell();
    this.upgradedToSsl.tell();
  }
}
