/**
 * An example of a provider for evergrant: it fetches a credential as JSON from a URL, as in-house
 * credential brokers offer it. It needs no package, not even evergrant: an error is known by its
 * `code`, and the material may be a plain object.
 *
 *   providers:
 *     - name: lake
 *       kind: evergrant-provider-token-url
 *       url: https://broker.example.com/credentials/lake
 *       tokenFile: /var/run/broker/token
 *
 * The broker answers {"material": {…}, "expiresAt": "2026-01-01T00:00:00Z"}.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";

/** An error that evergrant can class. Its text is shown, so it holds nothing secret. */
class ProviderError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ProviderError";
    this.code = code;
  }
}

/** What each status means for the renewal; the codes are listed in docs/plugins.md. */
function codeOf(status) {
  if (status === 429) return "ISSUER_THROTTLED";
  if (status === 401) return "ISSUER_IDENTITY_REJECTED";
  if (status === 403) return "ISSUER_DENIED";
  if (status >= 500) return "ISSUER_UNAVAILABLE";
  return "ISSUER_REQUEST_INVALID";
}

/** Anything with zod's `safeParse` will do. Every fault is reported, with its path. */
const options = {
  safeParse(given) {
    const { url, tokenFile, credentialKind = "aws-session", ...unknown } = given ?? {};
    const issues = Object.keys(unknown).map((key) => ({ path: [key], message: "unknown option" }));
    const expect = (fine, key, message) => fine || issues.push({ path: [key], message });
    expect(URL.canParse(url) && /^https?:/.test(url), "url", "expected an http or https URL");
    expect(typeof tokenFile === "string" && tokenFile !== "", "tokenFile", "expected a path");
    expect(typeof credentialKind === "string", "credentialKind", "expected a kind");
    return issues.length > 0
      ? { success: false, error: { issues } }
      : { success: true, data: { url, tokenFile, credentialKind } };
  },
};

/** Read at each attempt, so that a rotated token is found. */
async function readToken(path) {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    throw new ProviderError("PROVIDER_INPUT_MISSING", `cannot read ${path} (${error.code})`);
  }
}

async function obtain({ url, tokenFile }, context) {
  const token = await readToken(tokenFile);
  if (context.signal.aborted) throw new ProviderError("ISSUER_TIMEOUT", "no time was left");
  let response;
  let body;
  context.countRequest();
  try {
    const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
    response = await fetch(url, { headers, signal: context.signal, redirect: "error" });
    body = await response.text();
  } catch {
    const code = context.signal.aborted ? "ISSUER_TIMEOUT" : "ISSUER_UNAVAILABLE";
    throw new ProviderError(code, `no answer from ${new URL(url).host}`);
  }
  if (!response.ok) {
    throw new ProviderError(codeOf(response.status), `answered with HTTP ${response.status}`);
  }
  let answer;
  try {
    answer = JSON.parse(body);
  } catch {
    throw new ProviderError("ISSUER_ANSWER_UNUSABLE", "the answer is no JSON");
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  return {
    material: answer?.material,
    // Undefined where the broker tells none: evergrant then wants assumedLifetimeSec.
    expiresAt: answer?.expiresAt === undefined ? undefined : Date.parse(answer.expiresAt),
    // The issuer's own clock: the remaining life is counted from it, whatever ours says.
    issuerTime: Number.isNaN(date) ? undefined : date,
    attributes: {},
  };
}

/** What evergrant looks for in the package. */
export const provider = {
  kind: "evergrant-provider-token-url",
  options,
  create(given, services) {
    // Relative paths are relative to the configuration's folder.
    const configured = { ...given, tokenFile: resolve(services.baseDir, given.tokenFile) };
    services.log("info", "credentials come from a URL", { host: new URL(configured.url).host });
    return {
      credentialKind: configured.credentialKind,
      /** Milliseconds of life that must remain at renewal: what SDKs of this kind want. */
      minRemaining: configured.credentialKind === "aws-session" ? 16 * 60_000 : 0,
      obtain: (context) => obtain(configured, context),
      async close() {},
    };
  },
};
