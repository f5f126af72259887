/**
 * The narrow surface of Google's library: one exchange, then at most one impersonation and one
 * narrowing. A client lives for one attempt: the library caches and refreshes early by itself, which
 * is the coordinator's business here.
 */
import {
  IdentityPoolClient,
  type IdentityPoolClientOptions,
  Impersonated,
} from "google-auth-library";
import { StsCredentials } from "google-auth-library/build/src/auth/stscredentials.js";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { type DurationMs, type EpochMs, epochMs, later, seconds } from "../../../protocol/time.ts";
import { accessBoundary } from "./access-boundary.ts";
import { errorOf, type Step } from "./errors.ts";
import { CLOUD_PLATFORM, type GoogleWifOptions } from "./options.ts";
import { type GoogleCall, GoogleTransport, type StepAnswer } from "./transport.ts";

const TYPE = "urn:ietf:params:oauth:token-type:";
const EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";

export interface GoogleAnswer {
  readonly accessToken: Secret<string>;
  /** By the issuer's clock; undefined where no answer has told it. */
  readonly expiresAt: EpochMs | undefined;
  /** The issuer's clock at the last answer. */
  readonly issuerTime: EpochMs | undefined;
}

/** The library keeps its own HTTP layer, with retries, for the exchange; a subclass may replace it. */
class PoolClient extends IdentityPoolClient {
  constructor(options: IdentityPoolClientOptions, transporter: GoogleTransport, tokenUrl: string) {
    super({ ...options, transporter });
    this.stsCredential = new StsCredentials({ tokenExchangeEndpoint: tokenUrl, transporter });
  }
}

/**
 * @param learn is told the issuer's clock less ours, as soon as an answer shows it, also a refusal
 * @throws EvergrantError by the table of errors.ts, never one of the library's
 */
export async function obtainToken(
  options: GoogleWifOptions,
  subject: Secret<string>,
  call: GoogleCall,
  learn: (skew: DurationMs) => void,
): Promise<GoogleAnswer> {
  const transport = new GoogleTransport(call);
  const attempt = new Attempt(options, transport, call);
  try {
    return await attempt.run(subject.reveal());
  } catch (thrown) {
    if (transport.failed !== undefined) throw errorOf(transport.failed);
    throw EvergrantError.from(thrown, "PROVIDER_FAILED", "obtaining a Google token");
  } finally {
    if (transport.skew !== undefined) learn(transport.skew);
  }
}

class Attempt {
  readonly #options: GoogleWifOptions;
  readonly #transport: GoogleTransport;
  readonly #call: GoogleCall;
  readonly #tokenUrl: string;

  constructor(options: GoogleWifOptions, transport: GoogleTransport, call: GoogleCall) {
    this.#options = options;
    this.#transport = transport;
    this.#call = call;
    const { endpoints, universeDomain } = options;
    this.#tokenUrl = new URL(
      "/v1/token",
      endpoints.sts ?? `https://sts.${universeDomain}`,
    ).toString();
  }

  async run(subject: string): Promise<GoogleAnswer> {
    const { serviceAccount, scopes } = this.#options;
    const client = this.#poolClient(subject);
    this.#transport.begin("exchange", subject);
    await client.getAccessToken();
    let answer = this.#read("exchange", "access_token");
    if (serviceAccount !== undefined) answer = await this.#impersonate(client, answer);
    return scopes === undefined ? answer : await this.#narrow(answer);
  }

  #poolClient(subject: string): PoolClient {
    const { audience, subjectTokenType, universeDomain, serviceAccount, oauthScopes } =
      this.#options;
    const options: IdentityPoolClientOptions = {
      type: "external_account",
      audience,
      subject_token_type: `${TYPE}${subjectTokenType}`,
      token_url: this.#tokenUrl,
      universe_domain: universeDomain,
      // IAM wants this one of the token that impersonates; the account's get their own.
      scopes: serviceAccount === undefined ? oauthScopes : [CLOUD_PLATFORM],
      subject_token_supplier: { getSubjectToken: async () => subject },
      // Default 5 min before its end: a short-lived federated token would be exchanged twice.
      eagerRefreshThresholdMillis: 1,
      // The library's interceptors can be told to log bodies by an environment variable (I9).
      useAuthRequestParameters: false,
    };
    return new PoolClient(options, this.#transport, this.#tokenUrl);
  }

  async #impersonate(source: PoolClient, federated: GoogleAnswer): Promise<GoogleAnswer> {
    const { serviceAccount, oauthScopes, endpoints, universeDomain } = this.#options;
    if (federated.expiresAt !== undefined && federated.expiresAt <= (federated.issuerTime ?? 0)) {
      // The library would exchange once more, and again.
      throw new EvergrantError("ISSUER_EXPIRY_PAST", "the federated token has ended at once");
    }
    const impersonated = new Impersonated({
      sourceClient: source,
      targetPrincipal: serviceAccount?.email ?? "",
      targetScopes: oauthScopes,
      lifetime: serviceAccount?.lifetimeSec ?? 0,
      delegates: (serviceAccount?.delegates ?? []).map(
        (delegate) => `projects/-/serviceAccounts/${delegate}`,
      ),
      endpoint: (endpoints.iamCredentials ?? `https://iamcredentials.${universeDomain}`).replace(
        /\/+$/,
        "",
      ),
      useAuthRequestParameters: false,
    });
    this.#transport.begin("impersonate", federated.accessToken.reveal());
    await impersonated.getAccessToken();
    return this.#read("impersonate", "accessToken");
  }

  /** Its end is that of the source, which counts where STS does not tell one. */
  async #narrow(source: GoogleAnswer): Promise<GoogleAnswer> {
    const token = source.accessToken.reveal();
    const client = new StsCredentials({
      tokenExchangeEndpoint: this.#tokenUrl,
      transporter: this.#transport,
    });
    this.#transport.begin("downscope", token);
    const request = {
      grantType: EXCHANGE_GRANT,
      requestedTokenType: `${TYPE}access_token`,
      subjectToken: token,
      subjectTokenType: `${TYPE}access_token`,
    };
    const boundary = accessBoundary(this.#options.scopes ?? []);
    await client.exchangeToken(request, undefined, { ...boundary });
    const narrowed = this.#read("downscope", "access_token");
    const ends = [source.expiresAt, narrowed.expiresAt].filter((end) => end !== undefined);
    return { ...narrowed, expiresAt: ends.length === 0 ? undefined : epochMs(Math.min(...ends)) };
  }

  /** @throws EvergrantError ISSUER_ANSWER_UNUSABLE where there is no token in the answer. */
  #read(step: Step, field: "access_token" | "accessToken"): GoogleAnswer {
    const { body, date } = this.#transport.answered ?? { body: {}, date: undefined };
    const token = body[field];
    if (typeof token !== "string" || token === "") {
      const message = `the answer to ${step} holds no token`;
      throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message, { details: { step } });
    }
    const expiresAt = expiryOf({ body, date }, date ?? this.#call.clock.now().wall);
    return { accessToken: new Secret(token), expiresAt, issuerTime: date };
  }
}

/** `expireTime` of IAM, or `expires_in` of STS, which may be a text and may be missing. */
function expiryOf({ body }: StepAnswer, now: EpochMs): EpochMs | undefined {
  const { expireTime, expires_in: expiresIn } = body;
  if (typeof expireTime === "string") {
    const parsed = Date.parse(expireTime);
    return Number.isNaN(parsed) ? undefined : epochMs(parsed);
  }
  const left = typeof expiresIn === "string" && expiresIn !== "" ? Number(expiresIn) : expiresIn;
  return typeof left === "number" && Number.isFinite(left) ? later(now, seconds(left)) : undefined;
}
