/** An OIDC issuer for tests: signs tokens, and says what the emulator must trust. Opens no port. */
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { IdentityProvider } from "../../../src/emulators/aws-sts/web-identity.ts";

export interface OidcIssuer {
  readonly provider: IdentityProvider;
  /** Every token that was signed so far. */
  readonly issued: readonly string[];
  /** A token for `subject` that ends in `lifeSec` seconds (default 600; negative: has ended). */
  token(subject?: string, lifeSec?: number): Promise<string>;
  /** From now on tokens are signed with a new key, and those of the old one are refused. */
  rotateKey(): Promise<void>;
}

export async function startOidcIssuer(issuer = "https://oidc.example.test"): Promise<OidcIssuer> {
  let { privateKey, publicKey } = await generateKeyPair("RS256");
  const jwks = { keys: [await exportJWK(publicKey)] };
  const issued: string[] = [];
  return {
    provider: { issuer, audiences: ["sts.amazonaws.com"], jwks },
    issued,
    async rotateKey() {
      ({ privateKey, publicKey } = await generateKeyPair("RS256"));
      jwks.keys = [await exportJWK(publicKey)];
    },
    async token(subject = "system:serviceaccount:etl:coordinator", lifeSec = 600) {
      const now = Math.floor(Date.now() / 1000);
      const token = await new SignJWT()
        .setProtectedHeader({ alg: "RS256" })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience("sts.amazonaws.com")
        .setIssuedAt(now - 3_600)
        .setExpirationTime(now + lifeSec)
        .sign(privateKey);
      issued.push(token);
      return token;
    },
  };
}
