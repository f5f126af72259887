/**
 * AWS Signature Version 4, from the receiving side: canonical request, string to sign, signature.
 * Pure functions of their arguments; knows no key store, no clock and no service rules.
 * Source: "Signature Version 4 signing process", AWS General Reference, and the S3 API reference.
 */
import { createHash, createHmac } from "node:crypto";

export const ALGORITHM = "AWS4-HMAC-SHA256";

/** A request as it came over the wire. */
export interface SignedRequest {
  readonly method: string;
  /** The request target: raw path and query, as on the request line. */
  readonly target: string;
  /** In wire order, names in any case, repeated names kept apart. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** The parts of an `Authorization: AWS4-HMAC-SHA256 …` header. */
export interface Authorization {
  readonly accessKeyId: string;
  /** `yyyymmdd` of the credential scope. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

export const sha256Hex = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex");

const hmac = (key: string | Uint8Array, data: string): Buffer =>
  createHmac("sha256", key).update(data).digest();

/** Percent-encodes everything but the unreserved characters of RFC 3986. */
export function awsEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Removes `.` and `..` segments and empty ones, as RFC 3986 section 5.2.4 has it. */
function normalisePath(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment);
  }
  const slash = kept.length > 0 && path.endsWith("/") ? "/" : "";
  return `/${kept.join("/")}${slash}`;
}

/** S3 signs the path encoded once and never normalised; every other service normalises and encodes again. */
function canonicalPath(path: string, s3: boolean): string {
  const source = s3 ? path : normalisePath(path);
  return source
    .split("/")
    .map((segment) => awsEncode(s3 ? decode(segment) : segment))
    .join("/");
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  return query
    .split("&")
    .map((pair): [string, string] => {
      const at = pair.indexOf("=");
      const [name, value] = at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
      return [awsEncode(decode(name)), awsEncode(decode(value))];
    })
    .sort(
      ([aName, aValue], [bName, bValue]) => byCodeUnit(aName, bName) || byCodeUnit(aValue, bValue),
    )
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

/** All values of a header, trimmed, inner runs of white space folded; undefined when it is absent. */
export function headerOf(request: SignedRequest, name: string): string | undefined {
  const values = request.headers
    .filter(([candidate]) => candidate.toLowerCase() === name)
    .map(([, value]) => value.trim().replace(/\s+/g, " "));
  return values.length === 0 ? undefined : values.join(",");
}

export function canonicalRequest(
  request: SignedRequest,
  signedHeaders: readonly string[],
  payloadHash: string,
  s3 = false,
): string {
  const at = request.target.indexOf("?");
  const path = at < 0 ? request.target : request.target.slice(0, at);
  const query = at < 0 ? "" : request.target.slice(at + 1);
  return [
    request.method,
    canonicalPath(path, s3),
    canonicalQuery(query),
    ...signedHeaders.map((name) => `${name}:${headerOf(request, name) ?? ""}`),
    "",
    signedHeaders.join(";"),
    payloadHash,
  ].join("\n");
}

/** Reads an Authorization header; undefined when it is not one of this algorithm or incomplete. */
export function parseAuthorization(header: string): Authorization | undefined {
  const prefix = `${ALGORITHM} `;
  if (!header.startsWith(prefix)) return undefined;
  const fields = new Map(
    header
      .slice(prefix.length)
      .split(",")
      .map((field): [string, string] => {
        const at = field.indexOf("=");
        return [field.slice(0, at).trim(), field.slice(at + 1).trim()];
      }),
  );
  const [accessKeyId, day, region, service, end, ...rest] = (fields.get("Credential") ?? "").split(
    "/",
  );
  const signedHeaders = (fields.get("SignedHeaders") ?? "")
    .split(";")
    .filter((name) => name !== "");
  const signature = fields.get("Signature");
  if (!accessKeyId || !day || !region || !service || end !== "aws4_request" || rest.length > 0) {
    return undefined;
  }
  if (signedHeaders.length === 0 || !signature) return undefined;
  return { accessKeyId, day, region, service, signedHeaders, signature };
}

/** `day/region/service/aws4_request` */
export function scopeOf(authorization: Authorization): string {
  return `${authorization.day}/${authorization.region}/${authorization.service}/aws4_request`;
}

export function stringToSign(amzDate: string, scope: string, canonical: string): string {
  return [ALGORITHM, amzDate, scope, sha256Hex(canonical)].join("\n");
}

/** The key of one day, region and service, derived from the secret access key. */
export function signingKey(secretAccessKey: string, scope: string): Buffer {
  return scope.split("/").reduce<Buffer>(hmac, Buffer.from(`AWS4${secretAccessKey}`));
}

export function signatureOf(key: Uint8Array, toSign: string): string {
  return hmac(key, toSign).toString("hex");
}

/** `yyyymmddThhmmssZ` to milliseconds since the epoch; undefined when it is not of that form. */
export function parseAmzDate(text: string): number | undefined {
  const parts = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (parts === null) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number);
  const instant = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  return Number.isNaN(instant) ? undefined : instant;
}
