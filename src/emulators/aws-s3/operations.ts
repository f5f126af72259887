/**
 * The operations of the store: PUT, GET and HEAD of an object, HEAD and location of a bucket, and
 * ListObjectsV2. Path style only; everything else is answered NotImplemented.
 */
import type { EpochMs } from "../../protocol/time.ts";
import { awsEncode, headerOf } from "../aws-sts/sigv4.ts";
import { element, wrap } from "../aws-sts/xml.ts";
import type { Answer, ReceivedRequest } from "../shared/exchange.ts";
import { granted, type Judged, refused } from "../shared/refusal.ts";
import type { Admitted } from "./admission.ts";
import { judgeChecksums } from "./checksums.ts";
import type { ObjectStore, StoredObject } from "./store.ts";

export const S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
const MOST_KEYS = 1_000;

export type S3Operation =
  | "PutObject"
  | "GetObject"
  | "HeadObject"
  | "HeadBucket"
  | "GetBucketLocation"
  | "ListObjectsV2"
  | "unknown";

export interface S3Target {
  readonly operation: S3Operation;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
}

/** What a request asks for, before anybody has checked who asks. */
export function targetOf(request: ReceivedRequest): S3Target {
  const query = new URLSearchParams(request.query);
  const [bucket = "", ...rest] = request.path.slice(1).split("/").map(decodePart);
  const key = rest.join("/");
  return { operation: operationOf(request, bucket, key, query), bucket, key, query };
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function operationOf(
  request: ReceivedRequest,
  bucket: string,
  key: string,
  query: URLSearchParams,
): S3Operation {
  if (bucket === "") return "unknown";
  if (key !== "") {
    if (query.has("uploadId") || query.has("partNumber") || query.has("tagging")) return "unknown";
    if (headerOf(request, "x-amz-copy-source") !== undefined) return "unknown";
    if (request.method === "PUT") return "PutObject";
    if (request.method === "GET") return "GetObject";
    return request.method === "HEAD" ? "HeadObject" : "unknown";
  }
  if (request.method === "HEAD") return "HeadBucket";
  if (request.method !== "GET") return "unknown";
  if (query.has("location")) return "GetBucketLocation";
  return query.get("list-type") === "2" ? "ListObjectsV2" : "unknown";
}

/** Does what `target` asks. `now` stamps what is written. */
export function perform(
  target: S3Target,
  request: ReceivedRequest,
  body: Admitted,
  store: ObjectStore,
  now: EpochMs,
): Judged<Answer> {
  switch (target.operation) {
    case "PutObject":
      return putObject(target, request, body, store, now);
    case "GetObject":
    case "HeadObject":
      return getObject(target, request, store);
    case "HeadBucket":
      return granted({ status: 200, headers: {}, body: "" });
    case "GetBucketLocation":
      return granted(xml(`<LocationConstraint xmlns="${S3_NAMESPACE}"/>`));
    case "ListObjectsV2":
      return granted(listObjects(target, store));
    case "unknown":
      return refused(501, "NotImplemented", "This emulator does not do that");
  }
}

function putObject(
  { bucket, key }: S3Target,
  request: ReceivedRequest,
  { data, trailers }: Admitted,
  store: ObjectStore,
  now: EpochMs,
): Judged<Answer> {
  const checksums = judgeChecksums(data, [...request.headers, ...trailers]);
  if (checksums === undefined) {
    return refused(400, "BadDigest", "A checksum you specified did not match what we received.");
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    const lower = name.toLowerCase();
    if (lower === "content-type" || lower.startsWith("x-amz-meta-")) headers[lower] = value;
  }
  const { etag } = store.put(bucket, key, { data, modifiedAt: now, headers, checksums });
  return granted({ status: 200, headers: { etag, ...checksums }, body: "" });
}

function getObject(
  { bucket, key, operation }: S3Target,
  request: ReceivedRequest,
  store: ObjectStore,
): Judged<Answer> {
  const object = store.get(bucket, key);
  if (object === undefined) return refused(404, "NoSuchKey", "The specified key does not exist.");
  const range = rangeOf(headerOf(request, "range"), object.data.length);
  if (range === "unsatisfiable") {
    return refused(416, "InvalidRange", "The requested range is not satisfiable");
  }
  const data = range === undefined ? object.data : object.data.subarray(range.from, range.to + 1);
  const wanted = headerOf(request, "x-amz-checksum-mode")?.toUpperCase() === "ENABLED";
  const headers: Record<string, string> = {
    "content-type": "binary/octet-stream",
    ...object.headers,
    "accept-ranges": "bytes",
    "content-length": String(data.length),
    etag: object.etag,
    "last-modified": new Date(object.modifiedAt).toUTCString(),
    ...(wanted && range === undefined ? object.checksums : {}),
  };
  if (range !== undefined) {
    headers["content-range"] = `bytes ${range.from}-${range.to}/${object.data.length}`;
  }
  const status = range === undefined ? 200 : 206;
  return granted({ status, headers, body: operation === "HeadObject" ? "" : data });
}

/** `bytes=a-b`, `bytes=a-` and `bytes=-n`; other forms are ignored, as HTTP allows. */
function rangeOf(header: string | undefined, size: number) {
  const parts = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (parts === null || (parts[1] === "" && parts[2] === "")) return undefined;
  const from = parts[1] === "" ? Math.max(0, size - Number(parts[2])) : Number(parts[1]);
  const to = parts[1] === "" || parts[2] === "" ? size - 1 : Math.min(size - 1, Number(parts[2]));
  return from > to || from >= size ? ("unsatisfiable" as const) : { from, to };
}

function listObjects({ bucket, query }: S3Target, store: ObjectStore): Answer {
  const asked = Number(query.get("max-keys") ?? MOST_KEYS);
  const maxKeys = Number.isInteger(asked) && asked >= 0 ? Math.min(asked, MOST_KEYS) : MOST_KEYS;
  const [prefix, delimiter] = [query.get("prefix") ?? "", query.get("delimiter") ?? ""];
  const token = query.get("continuation-token");
  const startAfter = query.get("start-after") ?? "";
  const after = token === null ? startAfter : Buffer.from(token, "base64url").toString();
  const listing = store.list(bucket, { prefix, delimiter, after, maxKeys });
  const urlEncoded = query.get("encoding-type") === "url";
  const shown = (text: string): string =>
    urlEncoded ? text.split("/").map(awsEncode).join("/") : text;
  const next =
    listing.next === undefined ? undefined : Buffer.from(listing.next).toString("base64url");
  const inner = [
    element("Name", bucket),
    element("Prefix", shown(prefix)),
    element("Delimiter", delimiter === "" ? undefined : shown(delimiter)),
    element("StartAfter", startAfter === "" ? undefined : shown(startAfter)),
    element("ContinuationToken", token ?? undefined),
    element("NextContinuationToken", next),
    element("EncodingType", urlEncoded ? "url" : undefined),
    element("MaxKeys", maxKeys),
    element("KeyCount", listing.keys.length + listing.commonPrefixes.length),
    element("IsTruncated", next !== undefined),
    ...listing.keys.map(([key, object]) => wrap("Contents", contents(shown(key), object))),
    ...listing.commonPrefixes.map((one) => wrap("CommonPrefixes", element("Prefix", shown(one)))),
  ];
  return xml(`<ListBucketResult xmlns="${S3_NAMESPACE}">${inner.join("")}</ListBucketResult>`);
}

function contents(key: string, { etag, data, modifiedAt }: StoredObject): string {
  return (
    element("Key", key) +
    element("LastModified", new Date(modifiedAt).toISOString()) +
    element("ETag", etag) +
    element("Size", data.length) +
    element("StorageClass", "STANDARD")
  );
}

/** An XML document as an answer of 200. */
function xml(document: string): Answer {
  return {
    status: 200,
    headers: { "content-type": "application/xml" },
    body: DECLARATION + document,
  };
}
