/**
 * The family of a Google client: a label of bounded cardinality for metrics. Most name themselves in
 * `x-goog-api-client`, since their user agent is that of an HTTP library.
 */
import type { IncomingHttpHeaders } from "node:http";
import { clientFamily } from "../client-family.ts";

const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/google-cloud-sdk|gcloud\//i, "gcloud"],
  [/gl-python/i, "google-python"],
  [/gl-node|google-api-nodejs|gcp-metadata/i, "google-node"],
  [/gl-java|google-http-java/i, "google-java"],
  [/gl-go|gcloud-golang|google-api-go/i, "google-go"],
  [/gl-dotnet/i, "google-dotnet"],
];

export function googleClientFamily(headers: IncomingHttpHeaders): string {
  const named = `${headers["x-goog-api-client"] ?? ""} ${headers["user-agent"] ?? ""}`;
  const family = FAMILIES.find(([pattern]) => pattern.test(named))?.[1];
  return family ?? clientFamily(headers["user-agent"]);
}
