/** Which hosts a retry is not to meet: RetryPolicy.retry_host_predicate and host_selection_retry_max_attempts. */
import type { Message } from "../document/message.ts";
import type { RetryPolicy } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { filterMetadata } from "./metadata.ts";

const PREDICATES = "envoy.extensions.retry.host.";
/** Names that older configurations give instead of a message. */
const BY_NAME: Readonly<Record<string, string>> = {
  "envoy.retry_host_predicates.previous_hosts": `${PREDICATES}previous_hosts.v3.PreviousHostsPredicate`,
  "envoy.retry_host_predicates.omit_canary_hosts": `${PREDICATES}omit_canary_hosts.v3.OmitCanaryHostsPredicate`,
};

/** Nothing without predicates. */
export function buildHostSelection(context: BuildContext, policy: Message): Pick<RetryPolicy, "hostSelection"> {
  const predicates = policy.messages("retry_host_predicate");
  if (predicates.length === 0) return {};
  const more = policy.number("host_selection_retry_max_attempts") || 1;
  if (more < 0) context.error(policy, "host_selection_retry_max_attempts", "retry-policy", "must not be negative");
  let [previous, canaries] = [false, false];
  let metadata: Readonly<Record<string, unknown>> | undefined;
  for (const predicate of predicates) {
    const any = predicate.message("typed_config");
    const type = any?.anyType || (BY_NAME[predicate.text("name")] ?? "");
    if (type === `${PREDICATES}previous_hosts.v3.PreviousHostsPredicate`) previous = true;
    else if (type === `${PREDICATES}omit_canary_hosts.v3.OmitCanaryHostsPredicate`) canaries = true;
    else if (any?.any !== undefined && type === `${PREDICATES}omit_host_metadata.v3.OmitHostMetadataConfig`)
      metadata = { ...metadata, ...(filterMetadata(any.any, "metadata_match")["envoy.lb"] as object | undefined) };
    else context.unsupported(predicate, "typed_config", `the predicate ${type || predicate.text("name")}`);
  }
  return { hostSelection: { more, previous, canaries, ...(metadata === undefined ? {} : { metadata }) } };
}
