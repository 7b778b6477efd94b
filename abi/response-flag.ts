/** Response flags of the access log, as bit numbers (argument of `sluice.set_response_flag`). Short names are Envoy's; the comment is the long name. */
/** FailedLocalHealthCheck */
export const LH = 0;
/** NoHealthyUpstream */
export const UH = 1;
/** UpstreamRequestTimeout */
export const UT = 2;
/** LocalReset */
export const LR = 3;
/** UpstreamRemoteReset */
export const UR = 4;
/** UpstreamConnectionFailure */
export const UF = 5;
/** UpstreamConnectionTermination */
export const UC = 6;
/** UpstreamOverflow */
export const UO = 7;
/** NoRouteFound */
export const NR = 8;
/** DelayInjected */
export const DI = 9;
/** FaultInjected */
export const FI = 10;
/** RateLimited */
export const RL = 11;
/** UnauthorizedExternalService */
export const UAEX = 12;
/** RateLimitServiceError */
export const RLSE = 13;
/** DownstreamConnectionTermination */
export const DC = 14;
/** UpstreamRetryLimitExceeded */
export const URX = 15;
/** StreamIdleTimeout */
export const SI = 16;
/** InvalidEnvoyRequestHeaders */
export const IH = 17;
/** DownstreamProtocolError */
export const DPE = 18;
/** UpstreamMaxStreamDurationReached */
export const UMSDR = 19;
/** ResponseFromCacheFilter */
export const RFCF = 20;
/** NoFilterConfigFound */
export const NFCF = 21;
/** DurationTimeout */
export const DT = 22;
/** UpstreamProtocolError */
export const UPE = 23;
/** NoClusterFound */
export const NC = 24;
/** OverloadManagerTerminated */
export const OM = 25;
/** DnsResolutionFailed */
export const DF = 26;
/** DropOverload */
export const DO = 27;
/** DownstreamRemoteReset */
export const DR = 28;
/** UnconditionalDropOverload */
export const UDO = 29;
