/**
 * Provider `google-wif`: tokens by workload identity federation, without a service account's key. One
 * attempt is one exchange at STS, then one generateAccessToken where an account is impersonated, then
 * one more exchange where the token is narrowed. See docs/providers/google-wif.md.
 */
import { type Attributes, GOOGLE_TOKEN } from "../../../protocol/credential.ts";
import { Secret } from "../../../protocol/secret.ts";
import { durationMs, later, seconds } from "../../../protocol/time.ts";
import type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../../ports/credential-provider.ts";
import { obtainToken } from "./client.ts";
import { type GoogleWifOptions, googleWifOptionsSchema, projectOf } from "./options.ts";
import { subjectToken } from "./subject-token.ts";

/** What an assertion must live for where it caps the token. */
const DIRECT_LIFE_SEC = 3_600;
const POLICY_FREE_SEC = 3_600;

class GoogleWifProvider implements CredentialProvider {
  readonly credentialKind = GOOGLE_TOKEN;
  /** Outside of the 5 min in which Google's clients do not cache what they are handed. */
  readonly minRemaining = seconds(6 * 60);
  readonly #options: GoogleWifOptions;
  readonly #services: ProviderServices;
  /** The issuer's clock less ours, as answers have shown it: assertions are dated by it. */
  #skew = durationMs(0);

  constructor(options: GoogleWifOptions, services: ProviderServices) {
    this.#options = options;
    this.#services = services;
    this.#warn();
  }

  async obtain(context: ObtainContext): Promise<Obtained> {
    const { signal, freshIdentity } = context;
    const { clock, random, baseDir } = this.#services;
    const { audience } = this.#options;
    const subject = await subjectToken(this.#options.subjectToken, {
      ...{ signal, freshIdentity, clock, audience, baseDir },
      now: later(clock.now().wall, this.#skew),
      assertionId: Buffer.from(random.bytes(16)).toString("hex"),
    });
    const call = { signal, clock, countRequest: () => context.countRequest() };
    const answer = await obtainToken(this.#options, subject, call, (skew) => {
      this.#skew = skew;
    });
    return {
      material: new Secret({ accessToken: answer.accessToken.reveal() }),
      expiresAt: answer.expiresAt,
      ...(answer.issuerTime === undefined ? {} : { issuerTime: answer.issuerTime }),
      attributes: this.#attributes(),
    };
  }

  async close(): Promise<void> {}

  #attributes(): Attributes {
    const { serviceAccount, projectId, universeDomain, oauthScopes } = this.#options;
    const project = projectId ?? projectOf(serviceAccount?.email);
    return {
      universeDomain,
      scopes: oauthScopes.join(" "),
      ...(serviceAccount === undefined ? {} : { email: serviceAccount.email }),
      ...(project === undefined ? {} : { projectId: project }),
    };
  }

  #warn(): void {
    const { serviceAccount, subjectToken: subject } = this.#options;
    if (serviceAccount === undefined && "jwt" in subject) {
      const { lifetimeSec } = subject.jwt;
      if (lifetimeSec < DIRECT_LIFE_SEC) {
        const message =
          "without a service account the token ends with its assertion: a short one keeps clients from caching";
        this.#services.log("warn", message, { lifetimeSec });
      }
    }
    if (serviceAccount !== undefined && serviceAccount.lifetimeSec > POLICY_FREE_SEC) {
      const { email, lifetimeSec } = serviceAccount;
      const message =
        "more than an hour needs constraints/iam.allowServiceAccountCredentialLifetimeExtension for the account";
      this.#services.log("warn", message, { email, lifetimeSec });
    }
  }
}

export const googleWifProvider: CredentialProviderFactory<GoogleWifOptions> = {
  kind: "google-wif",
  options: googleWifOptionsSchema,
  create: (options, services) => new GoogleWifProvider(options, services),
};
