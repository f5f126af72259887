/** What a consumer of the metadata server does on the wire, and tokens to serve to it. */
import { request } from "node:http";
import { type Credential, GOOGLE_TOKEN } from "../../../src/protocol/credential.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { type Clock, durationMs, epochMs, later } from "../../../src/protocol/time.ts";
import type {
  ConsumerEnvironment,
  Serving,
} from "../../../src/worker-agent/ports/credential-receiver.ts";
import type { Answer } from "./aws-consumers.ts";
import { accessKeyOf, secretsOf } from "./receiver-bench.ts";

export const EMAIL = "lake-reader@acme-data.iam.gserviceaccount.com";
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";

/** The token of generation `n`. */
export const googleTokenOf = (n: number): string =>
  `ya29.${accessKeyOf(n)}.${secretsOf(n).join(".")}`;

/** A Google token of generation `n` that lives `lifeMs` from now on both of the clock's readings. */
export function googleServing(
  clock: Clock,
  n: number,
  lifeMs = 3_600_000,
  attributes: Credential["attributes"] = {
    email: EMAIL,
    projectId: "acme-data",
    universeDomain: "googleapis.com",
    scopes: SCOPE,
  },
): Serving {
  const now = clock.now();
  const credential: Credential = {
    provider: "lake",
    kind: GOOGLE_TOKEN,
    generation: n,
    issuedAt: now.wall,
    expiresAt: epochMs(now.wall + lifeMs),
    issuerSkew: durationMs(0),
    attributes,
    material: new Secret({ accessToken: googleTokenOf(n) }),
  };
  return { credential, until: later(now.mono, durationMs(lifeMs)) };
}

export const TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token";

/** One GET of a path, with the headers that every Google client sends unless told otherwise. */
export function askMetadata(
  environment: ConsumerEnvironment,
  path = TOKEN_PATH,
  headers: Readonly<Record<string, string>> = { "metadata-flavor": "Google" },
  method = "GET",
): Promise<Answer> {
  const url = new URL(path, `http://${environment.set["GCE_METADATA_HOST"]}`);
  return new Promise((resolve, reject) => {
    const call = request(url, { headers, method, agent: false });
    call.once("error", reject);
    call.once("response", (reply) => {
      let body = "";
      reply.setEncoding("utf8");
      reply.on("data", (part: string) => {
        body += part;
      });
      reply.once("end", () => {
        resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body });
      });
    });
    call.end();
  });
}
