/**
 * Treats one call: reads what it is, then the faults that have an answer of Google's (5xx, throttling,
 * deny, refuse, in this order), and the operation itself. Knows no sockets.
 */
import { decodeProtectedHeader } from "jose";
import type { Clock, EpochMs } from "../../protocol/time.ts";
import { headerOf, sha256Hex } from "../aws-sts/sigv4.ts";
import type { Treated } from "../shared/emulator.ts";
import type { ReceivedRequest } from "../shared/exchange.ts";
import { type Judged, type Refusal, refused } from "../shared/refusal.ts";
import { apiError, json, oauthError } from "./answers.ts";
import { withinBoundary } from "./boundary.ts";
import { ACCESS_TOKEN_TYPE, exchange, type GoogleWorld, generateAccessToken } from "./issuing.ts";
import { type GoogleCall, type GoogleOperation, strikes } from "./knobs.ts";
import type { Guard, Storage } from "./storage.ts";
import type { TokenGrant } from "./tokens.ts";

const GENERATE = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):generateAccessToken$/;
const STORAGE = /^\/(?:(?:resumable\/)?upload\/|download\/)?storage\/v1\//;
const STORAGE_SCOPES = [
  "https://www.googleapis.com/auth/cloud-platform",
  "https://www.googleapis.com/auth/devstorage.read_write",
  "https://www.googleapis.com/auth/devstorage.full_control",
];

/** The facts of a call, without its secrets. */
export function callOf(request: ReceivedRequest, sequence: number, clock: Clock): GoogleCall {
  const email = GENERATE.exec(request.path)?.[1];
  const operation = operationOf(request);
  const token = tokenOf(request);
  const keyId =
    operation === "exchange" ? keyIdOf(formOf(request).get("subject_token")) : undefined;
  return {
    ...{ operation, sequence, path: request.path, at: clock.now() },
    ...(email === undefined ? {} : { email: decodeURIComponent(email) }),
    ...(keyId === undefined ? {} : { keyId }),
    ...(token === undefined ? {} : { tokenDigest: sha256Hex(token).slice(0, 16) }),
  };
}

function operationOf(request: ReceivedRequest): GoogleOperation | "unknown" {
  const { method, path } = request;
  if (method === "POST" && path === "/v1/token") {
    const narrows = formOf(request).get("subject_token_type") === ACCESS_TOKEN_TYPE;
    return narrows ? "downscope" : "exchange";
  }
  if (method === "POST" && GENERATE.test(path)) return "generateAccessToken";
  if (path === "/tokeninfo") return "tokeninfo";
  return STORAGE.test(path) ? "resource" : "unknown";
}

const formOf = (request: ReceivedRequest): URLSearchParams =>
  new URLSearchParams(request.body.toString());

function keyIdOf(token: string | null): string | undefined {
  try {
    return decodeProtectedHeader(token ?? "").kid;
  } catch {
    return undefined;
  }
}

/** Faults and the operation itself. */
export async function treat(
  world: GoogleWorld,
  storage: Storage,
  request: ReceivedRequest,
  call: GoogleCall,
  url: string,
  now: EpochMs,
): Promise<Treated> {
  const { operation } = call;
  const isSts = operation === "exchange" || operation === "downscope";
  const no = (refusal: Refusal): Treated => ({
    answer: isSts ? oauthError(refusal) : apiError(refusal),
    outcome: refusal.code,
  });
  const fault = faultOf(world, call, isSts);
  if (fault !== undefined) return no(fault);
  const caller = callerOf(world, request, now);
  if (isSts || operation === "generateAccessToken") {
    const judged: Judged<object> = isSts
      ? await exchange(world, formOf(request), now)
      : generateAccessToken(world, call.email ?? "", caller, request.body.toString(), now);
    return judged.ok ? { answer: json(200, judged.value), outcome: "ok" } : no(judged.refusal);
  }
  if (operation === "tokeninfo") return tokenInfo(world, request, now);
  let refusal: Refusal | undefined;
  const guard: Guard = (access) => {
    const judged = authorise(caller, (grant) =>
      grant.boundary === undefined ? true : withinBoundary(grant.boundary, access),
    );
    if (!judged.ok) refusal = judged.refusal;
    return judged.ok ? undefined : apiError(judged.refusal);
  };
  const answer = storage.answer(request, guard, url, now);
  if (answer === undefined) return no({ status: 404, code: "NOT_FOUND", message: "No such path" });
  return { answer, outcome: refusal?.code ?? (answer.status < 300 ? "ok" : String(answer.status)) };
}

function faultOf(world: GoogleWorld, call: GoogleCall, isSts: boolean): Refusal | undefined {
  const { knobs } = world;
  const kinds = [
    ["fail5xx", 503, isSts ? "temporarily_unavailable" : "UNAVAILABLE"],
    ["throttle", 429, isSts ? "quota_exceeded" : "RESOURCE_EXHAUSTED"],
    ["deny", isSts ? 400 : 403, isSts ? "unauthorized_client" : "PERMISSION_DENIED"],
    ["refuse", 400, isSts ? "invalid_grant" : "INVALID_ARGUMENT"],
  ] as const;
  for (const [name, status, code] of kinds) {
    const fault = strikes(knobs, name, call);
    if (fault === undefined) continue;
    return { status: fault.status ?? status, code: fault.code ?? code, message: "On demand." };
  }
  return undefined;
}

const tokenOf = (request: ReceivedRequest): string | undefined =>
  /^Bearer (\S+)$/i.exec(headerOf(request, "authorization") ?? "")?.[1];

function callerOf(world: GoogleWorld, request: ReceivedRequest, now: EpochMs) {
  const token = tokenOf(request);
  return token === undefined ? undefined : world.tokens.find(token, now);
}

function authorise(
  caller: TokenGrant | undefined,
  allows: (grant: TokenGrant) => boolean,
): Judged<true> {
  if (caller === undefined) return refused(401, "UNAUTHENTICATED", "Invalid Credentials");
  const scoped = caller.scopes.some((scope) => STORAGE_SCOPES.includes(scope));
  if (scoped && allows(caller)) return { ok: true, value: true };
  return refused(403, "PERMISSION_DENIED", `${caller.principal} does not have this access.`);
}

/** As oauth2.googleapis.com/tokeninfo: lets services in other processes judge a token. */
function tokenInfo(world: GoogleWorld, request: ReceivedRequest, now: EpochMs): Treated {
  const asked = new URLSearchParams(request.query).get("access_token") ?? "";
  const grant = world.tokens.find(asked, now);
  if (grant === undefined) {
    const refusal = { status: 400, code: "invalid_token", message: "Invalid Value" };
    return { answer: oauthError(refusal), outcome: refusal.code };
  }
  const expiresIn = Math.floor((grant.expiresAt - now) / 1000);
  const value = { email: grant.principal, scope: grant.scopes.join(" "), expires_in: expiresIn };
  return { answer: json(200, value), outcome: "ok" };
}
