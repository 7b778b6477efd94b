/** The filter's statistics, `mysql.<stat_prefix>.`; names as Envoy has them. */
import { Counter } from "../sdk/metric.ts";

export class Counters {
  readonly authSwitchRequest: Counter;
  readonly decoderErrors: Counter;
  readonly loginAttempts: Counter;
  readonly loginFailures: Counter;
  readonly protocolErrors: Counter;
  readonly queriesParseError: Counter;
  readonly queriesParsed: Counter;
  readonly sessions: Counter;
  readonly upgradedToSsl: Counter;

  constructor(statPrefix: string) {
    const prefix = "mysql." + statPrefix + ".";
    this.authSwitchRequest = new Counter(prefix + "auth_switch_request");
    this.decoderErrors = new Counter(prefix + "decoder_errors");
    this.loginAttempts = new Counter(prefix + "login_attempts");
    this.loginFailures = new Counter(prefix + "login_failures");
    this.protocolErrors = new Counter(prefix + "protocol_errors");
    this.queriesParseError = new Counter(prefix + "queries_parse_error");
    this.queriesParsed = new Counter(prefix + "queries_parsed");
    this.sessions = new Counter(prefix + "sessions");
    this.upgradedToSsl = new Counter(prefix + "upgraded_to_ssl");
  }
}
