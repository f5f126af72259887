/**
 * Treats one call: reads what it is, then in this order 5xx, throttling, authentication, deny, refuse
 * and the action itself. Knows no sockets, and no fault that is not an answer of STS.
 */
import type { Clock, EpochMs } from "../../protocol/time.ts";
import type { ReceivedRequest } from "../shared/exchange.ts";
import { type Judged, refused } from "../shared/refusal.ts";
import { ACTIONS, UNSIGNED_ACTIONS } from "./actions.ts";
import { STS_AUTH_RULES, stsRefusalOf } from "./auth-codes.ts";
import { authenticate } from "./authenticate.ts";
import type { StsWorld } from "./issuing.ts";
import type { HeldKey } from "./keyring.ts";
import { STS_ACTIONS, type StsCall, strikes } from "./knobs.ts";
import type { QueryParameters } from "./parameters.ts";
import { headerOf, parseAuthorization, sha256Hex } from "./sigv4.ts";

const VERSION = "2011-06-15";

/** Faults, authentication and the action itself. */
export async function treat(
  world: StsWorld,
  request: ReceivedRequest,
  parameters: QueryParameters,
  call: StsCall,
  now: EpochMs,
): Promise<Judged<string>> {
  const { knobs } = world;
  const broken = strikes(knobs, "fail5xx", call);
  if (broken !== undefined) {
    const status = broken.status ?? 500;
    const code = broken.code ?? (status === 503 ? "ServiceUnavailable" : "InternalFailure");
    return refused(status, code, "The request processing has failed because of an unknown error.");
  }
  const throttled = strikes(knobs, "throttle", call);
  if (throttled !== undefined) {
    return refused(throttled.status ?? 400, throttled.code ?? "Throttling", "Rate exceeded");
  }
  if (call.action === "unknown" || parameters.get("Version") !== VERSION) {
    return refused(400, "InvalidAction", `Could not find operation for version ${VERSION}`);
  }
  let key: HeldKey | undefined;
  if (!UNSIGNED_ACTIONS.has(call.action)) {
    const payloadHash = sha256Hex(request.body);
    const checked = authenticate(request, payloadHash, world.keyring, now, STS_AUTH_RULES);
    if (!checked.ok) return stsRefusalOf(checked);
    key = checked.key;
  }
  if (strikes(knobs, "deny", call) !== undefined) {
    return refused(403, "AccessDenied", `Not authorized to perform sts:${call.action}`);
  }
  const refusal = strikes(knobs, "refuse", call);
  if (refusal !== undefined) {
    return refused(refusal.status ?? 400, refusal.code ?? "ValidationError", "Refused on demand");
  }
  return ACTIONS[call.action](world, { parameters, key, now });
}

/** The facts of a call, without its secrets. */
export function callOf(
  request: ReceivedRequest,
  parameters: QueryParameters,
  sequence: number,
  clock: Clock,
): StsCall {
  const named = parameters.get("Action");
  const accessKeyId = parseAuthorization(headerOf(request, "authorization") ?? "")?.accessKeyId;
  const roleArn = parameters.get("RoleArn");
  const sessionName = parameters.get("RoleSessionName");
  return {
    action: STS_ACTIONS.find((action) => action === named) ?? "unknown",
    sequence,
    at: clock.now(),
    ...(accessKeyId === undefined ? {} : { accessKeyId }),
    ...(roleArn === undefined ? {} : { roleArn }),
    ...(sessionName === undefined ? {} : { sessionName }),
  };
}
