/**
 * What the two issuers do: STS exchanges an assertion or narrows a token, IAM hands out tokens of
 * service accounts. Pure but for what they issue. Limits are Google's own (docs/providers/google-wif.md).
 */
import { type EpochMs, epochMs, toRfc3339 } from "../../protocol/time.ts";
import type { Ledger } from "../shared/ledger.ts";
import { granted, type Judged, refused } from "../shared/refusal.ts";
import { judgeAssertion, type PoolProvider } from "./assertion.ts";
import { readBoundary } from "./boundary.ts";
import type { GoogleKnobs } from "./knobs.ts";
import type { IssuedToken, TokenGrant, Tokens } from "./tokens.ts";

/** A service account that can be impersonated. */
export interface ServiceAccount {
  readonly email: string;
  /** `principal://…`, or e-mails of other accounts, that may impersonate it. Default: everybody. */
  readonly tokenCreators?: readonly string[] | undefined;
  /** 3600 (default), or up to 43200 where the organisation policy allows it. */
  readonly maxLifetimeSec?: number | undefined;
}

export interface GoogleWorld {
  readonly tokens: Tokens;
  readonly ledger: Ledger<IssuedToken>;
  readonly knobs: GoogleKnobs;
  readonly poolProviders: readonly PoolProvider[];
  /** Undefined: every account exists, and everybody may impersonate it. */
  readonly serviceAccounts: readonly ServiceAccount[] | undefined;
}

const TYPE = "urn:ietf:params:oauth:token-type:";
export const ACCESS_TOKEN_TYPE = `${TYPE}access_token`;
const EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
const IAM_SCOPES = [CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"];
const HOUR_SEC = 3_600;
const PAST_MS = 3_600_000;

/** `POST /v1/token` with a JWT or an access token as the subject. */
export async function exchange(
  world: GoogleWorld,
  form: URLSearchParams,
  now: EpochMs,
): Promise<Judged<object>> {
  const invalid = (message: string) => refused(400, "invalid_request", message);
  if (form.get("grant_type") !== EXCHANGE_GRANT) {
    return refused(400, "unsupported_grant_type", "Only token exchange is supported.");
  }
  if (form.get("requested_token_type") !== ACCESS_TOKEN_TYPE) {
    return invalid("Only access tokens can be requested.");
  }
  const subject = form.get("subject_token") ?? "";
  if (subject === "") return invalid("Missing required field: subject_token");
  if (form.get("subject_token_type") === ACCESS_TOKEN_TYPE) {
    return downscope(world, subject, form.get("options") ?? "", now);
  }
  if (![`${TYPE}jwt`, `${TYPE}id_token`].includes(form.get("subject_token_type") ?? "")) {
    return invalid("Invalid value for subject_token_type");
  }
  const provider = world.poolProviders.find(({ name }) => name === form.get("audience"));
  if (provider === undefined) {
    const message = 'The target service indicated by the "audience" parameters is invalid.';
    return refused(400, "invalid_target", message);
  }
  const scopes = scopesOf(form.get("scope"));
  if (scopes.length === 0) return refused(400, "invalid_scope", "At least one scope is needed.");
  const identity = await judgeAssertion(subject, provider, now);
  if (!identity.ok) return identity;
  const { principal, expiresAt, assertionId } = identity.value;
  // Never longer than the assertion itself.
  const lifeSec = Math.min(HOUR_SEC, Math.floor((expiresAt - now) / 1000));
  const asked = { kind: "federated", principal, scopes, boundary: undefined } as const;
  const issued = issue(world, asked, lifeSec, now, assertionId);
  return granted(stsAnswer(world, issued, now, true));
}

function downscope(
  world: GoogleWorld,
  subject: string,
  options: string,
  now: EpochMs,
): Judged<object> {
  const source = world.tokens.find(subject, now);
  if (source === undefined) {
    return refused(400, "invalid_grant", "The subject token is invalid or has expired.");
  }
  const boundary = readBoundary(options);
  if (boundary === undefined || source.boundary !== undefined) {
    return refused(400, "invalid_request", "Invalid access boundary.");
  }
  const grant = { ...source, kind: "downscoped", boundary } as const;
  const token = world.tokens.issue(grant, now);
  const { kind, principal, scopes, expiresAt } = grant;
  world.ledger.issue({ kind, principal, scopes, issuedAt: now, expiresAt });
  // Its end is that of its source, and is told only where that is a service account's.
  return granted(stsAnswer(world, { token, expiresAt }, now, source.kind === "service-account"));
}

function stsAnswer(
  { knobs }: GoogleWorld,
  { token, expiresAt }: { readonly token: string; readonly expiresAt: EpochMs },
  now: EpochMs,
  tellsEnd: boolean,
): object {
  const expiresIn = Math.floor((expiresAt - now) / 1000);
  return {
    access_token: token,
    issued_token_type: ACCESS_TOKEN_TYPE,
    token_type: "Bearer",
    ...(tellsEnd && !knobs.noExpiration ? { expires_in: expiresIn } : {}),
  };
}

/** `POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken` */
export function generateAccessToken(
  world: GoogleWorld,
  email: string,
  caller: TokenGrant | undefined,
  body: string,
  now: EpochMs,
): Judged<object> {
  if (caller === undefined) {
    const message = "Request had invalid authentication credentials.";
    return refused(401, "UNAUTHENTICATED", message);
  }
  if (!caller.scopes.some((scope) => IAM_SCOPES.includes(scope))) {
    return denied("Request had insufficient authentication scopes.");
  }
  const invalid = (message: string) => refused(400, "INVALID_ARGUMENT", message);
  const { scope, lifetime, delegates } = parsed(body);
  if (!isTexts(scope) || scope.length === 0) return invalid("At least one scope must be given.");
  if (delegates !== undefined && !isTexts(delegates)) return invalid("Invalid delegates.");
  const lifeSec = lifetimeOf(lifetime);
  if (lifeSec === undefined) return invalid("Invalid value at 'lifetime'");
  const chain = [...(delegates ?? []).map(accountOf), email];
  let principal = caller.principal;
  for (const next of chain) {
    const account = findAccount(world, next);
    // Google tells no difference between what is not there and what is not allowed.
    if (account?.tokenCreators?.includes(principal) === false || account === undefined) {
      return denied(
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
      );
    }
    principal = next;
  }
  if (lifeSec > (findAccount(world, email)?.maxLifetimeSec ?? HOUR_SEC)) {
    return invalid(
      "The access token lifetime cannot exceed 3600 seconds without constraints/iam.allowServiceAccountCredentialLifetimeExtension.",
    );
  }
  const asked = { kind: "service-account", principal: email, boundary: undefined } as const;
  const { token, expiresAt } = issue(world, { ...asked, scopes: scope }, lifeSec, now);
  return granted({
    accessToken: token,
    ...(world.knobs.noExpiration ? {} : { expireTime: toRfc3339(expiresAt) }),
  });
}

const denied = (message: string): Judged<never> => refused(403, "PERMISSION_DENIED", message);

function issue(
  world: GoogleWorld,
  asked: Omit<TokenGrant, "expiresAt">,
  lifeSec: number,
  now: EpochMs,
  assertionId?: string,
): { readonly token: string; readonly expiresAt: EpochMs } {
  const { lifetimeMs, expiryInPast } = world.knobs;
  const past = expiryInPast === true ? asked.kind !== "federated" : expiryInPast === asked.kind;
  const lifeMs = past ? -PAST_MS : (lifetimeMs ?? lifeSec * 1000);
  const grant: TokenGrant = { ...asked, expiresAt: epochMs(now + lifeMs) };
  const token = world.tokens.issue(grant, now);
  const { kind, principal, scopes, expiresAt } = grant;
  world.ledger.issue({
    ...{ kind, principal, scopes, issuedAt: now, expiresAt },
    ...(assertionId === undefined ? {} : { assertionId }),
  });
  return { token, expiresAt };
}

const findAccount = (
  { serviceAccounts }: GoogleWorld,
  email: string,
): ServiceAccount | undefined =>
  serviceAccounts === undefined
    ? { email }
    : serviceAccounts.find((account) => account.email === email);

const accountOf = (delegate: string): string =>
  delegate.replace(/^projects\/-\/serviceAccounts\//, "");

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((part) => typeof part === "string" && part !== "");

const scopesOf = (text: string | null): string[] =>
  (text ?? "").split(" ").filter((scope) => scope !== "");

/** Whole seconds of `"3600s"`; 3600 where it is left out. */
function lifetimeOf(given: unknown): number | undefined {
  if (given === undefined) return HOUR_SEC;
  const [, digits] = typeof given === "string" ? (/^(\d+)s$/.exec(given) ?? []) : [];
  const value = Number(digits);
  return digits !== undefined && value > 0 ? value : undefined;
}

function parsed(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
