/**
 * The part of Cloud Storage's JSON API that its own client libraries need to put, get, list and remove
 * small objects, behind the permission that each one takes. Buckets are made on first use.
 */
import { createHash } from "node:crypto";
import { type EpochMs, toRfc3339 } from "../../protocol/time.ts";
import { headerOf } from "../aws-sts/sigv4.ts";
import type { Answer, ReceivedRequest } from "../shared/exchange.ts";
import { apiError, json } from "./answers.ts";
import type { StorageAccess } from "./boundary.ts";
import { crc32c } from "./crc32c.ts";

interface StoredObject {
  readonly data: Buffer;
  readonly contentType: string;
  readonly generation: number;
  readonly updated: string;
}

/** Says no, or undefined where it is allowed. */
export type Guard = (access: StorageAccess) => Answer | undefined;

const OBJECT = /^\/(?:download\/)?storage\/v1\/b\/([^/]+)\/o\/([^/]+)$/;
const OBJECTS = /^\/storage\/v1\/b\/([^/]+)\/o$/;
const BUCKET = /^\/storage\/v1\/b\/([^/]+)$/;
const UPLOAD = /^\/(?:resumable\/)?upload\/storage\/v1\/b\/([^/]+)\/o$/;

export class Storage {
  readonly #buckets = new Map<string, Map<string, StoredObject>>();
  readonly #uploads = new Map<string, { readonly bucket: string; readonly name: string }>();
  #generation = 0;

  /** Undefined where the path is none of Cloud Storage's. */
  answer(request: ReceivedRequest, guard: Guard, url: string, now: EpochMs): Answer | undefined {
    const { method, path } = request;
    const query = new URLSearchParams(request.query);
    const upload = UPLOAD.exec(path);
    if (upload !== null)
      return this.#upload(decodeURIComponent(upload[1] ?? ""), request, query, guard, url, now);
    const object = OBJECT.exec(path);
    if (object !== null) {
      const [bucket = "", name = ""] = object.slice(1).map(decodeURIComponent);
      if (method === "DELETE") return this.#remove(bucket, name, guard);
      const media = query.get("alt") === "media" || path.startsWith("/download/");
      return this.#get(bucket, name, media, guard, now);
    }
    const objects = OBJECTS.exec(path);
    if (objects !== null) return this.#list(decodeURIComponent(objects[1] ?? ""), query, guard);
    const bucket = BUCKET.exec(path);
    if (bucket === null) return undefined;
    const name = decodeURIComponent(bucket[1] ?? "");
    return (
      guard({ permission: "storage.buckets.get", bucket: name }) ??
      json(200, { kind: "storage#bucket", id: name, name })
    );
  }

  #upload(
    bucket: string,
    request: ReceivedRequest,
    query: URLSearchParams,
    guard: Guard,
    url: string,
    now: EpochMs,
  ): Answer {
    const contentType = headerOf(request, "content-type") ?? "application/octet-stream";
    const session = query.get("upload_id");
    if (session !== null) {
      const begun = this.#uploads.get(session);
      if (begun === undefined) return notFound("No such upload");
      const refusal = guard({ permission: "storage.objects.create", bucket, object: begun.name });
      return refusal ?? this.#put(bucket, begun.name, request.body, contentType, now);
    }
    const type = query.get("uploadType");
    const part = type === "multipart" ? readMultipart(request.body, contentType) : undefined;
    if (type === "multipart" && part === undefined) return malformed("Invalid multipart request");
    const stated = type === "resumable" ? metadataOf(request.body.toString()) : part?.metadata;
    const named = query.get("name") ?? stated?.["name"];
    if (typeof named !== "string" || named === "") return malformed("Required object name");
    const refusal = guard({ permission: "storage.objects.create", bucket, object: named });
    if (refusal !== undefined) return refusal;
    if (type === "resumable") {
      const id = `upload-${this.#uploads.size + 1}`;
      this.#uploads.set(id, { bucket, name: named });
      const location = `${url}${request.path}?uploadType=resumable&upload_id=${id}`;
      return { status: 200, headers: { location, "x-guploader-uploadid": id }, body: "" };
    }
    return part === undefined
      ? this.#put(bucket, named, request.body, contentType, now)
      : this.#put(bucket, named, part.data, part.contentType, now);
  }

  #put(bucket: string, name: string, data: Buffer, contentType: string, now: EpochMs): Answer {
    this.#generation += 1;
    const stored = { data, contentType, generation: this.#generation, updated: toRfc3339(now) };
    this.#objectsOf(bucket).set(name, stored);
    return json(200, resourceOf(bucket, name, stored));
  }

  #get(bucket: string, name: string, media: boolean, guard: Guard, _now: EpochMs): Answer {
    const refusal = guard({ permission: "storage.objects.get", bucket, object: name });
    if (refusal !== undefined) return refusal;
    const stored = this.#objectsOf(bucket).get(name);
    if (stored === undefined) return notFound(`No such object: ${bucket}/${name}`);
    if (!media) return json(200, resourceOf(bucket, name, stored));
    return {
      status: 200,
      headers: {
        "content-type": stored.contentType,
        "x-goog-generation": String(stored.generation),
        "x-goog-metageneration": "1",
        "x-goog-hash": `crc32c=${crc32c(stored.data)},md5=${md5(stored.data)}`,
        "x-goog-stored-content-encoding": "identity",
        "x-goog-stored-content-length": String(stored.data.length),
        etag: `"${stored.generation}"`,
      },
      body: stored.data,
    };
  }

  #remove(bucket: string, name: string, guard: Guard): Answer {
    const refusal = guard({ permission: "storage.objects.delete", bucket, object: name });
    if (refusal !== undefined) return refusal;
    return this.#objectsOf(bucket).delete(name)
      ? { status: 204, headers: {}, body: "" }
      : notFound(`No such object: ${bucket}/${name}`);
  }

  #list(bucket: string, query: URLSearchParams, guard: Guard): Answer {
    const listPrefix = query.get("prefix") ?? "";
    const refusal = guard({ permission: "storage.objects.list", bucket, listPrefix });
    if (refusal !== undefined) return refusal;
    const items = [...this.#objectsOf(bucket)]
      .filter(([name]) => name.startsWith(listPrefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, stored]) => resourceOf(bucket, name, stored));
    return json(200, { kind: "storage#objects", items });
  }

  #objectsOf(bucket: string): Map<string, StoredObject> {
    const known = this.#buckets.get(bucket) ?? new Map<string, StoredObject>();
    this.#buckets.set(bucket, known);
    return known;
  }
}

const notFound = (message: string): Answer => apiError({ status: 404, code: "notFound", message });
const malformed = (message: string): Answer => apiError({ status: 400, code: "invalid", message });
const md5 = (data: Uint8Array): string => createHash("md5").update(data).digest("base64");

function resourceOf(bucket: string, name: string, stored: StoredObject): object {
  const { data, contentType, generation, updated } = stored;
  return {
    kind: "storage#object",
    id: `${bucket}/${name}/${generation}`,
    ...{ name, bucket, contentType, updated, timeCreated: updated },
    ...{ generation: String(generation), metageneration: "1", size: String(data.length) },
    ...{ md5Hash: md5(data), crc32c: crc32c(data), storageClass: "STANDARD" },
  };
}

interface Part {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly contentType: string;
  readonly data: Buffer;
}

/** A `multipart/related` body: the object's metadata, then its bytes. */
function readMultipart(body: Buffer, contentType: string): Part | undefined {
  const [, quoted, plain] = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType) ?? [];
  const mark = Buffer.from(`--${quoted ?? plain ?? ""}`);
  const first = body.indexOf(mark);
  const second = body.indexOf(mark, first + mark.length);
  const last = body.lastIndexOf(mark);
  if (first < 0 || second < 0 || last <= second) return undefined;
  const metadata = splitHead(body.subarray(first + mark.length, second));
  const media = splitHead(body.subarray(second + mark.length, last));
  if (metadata === undefined || media === undefined) return undefined;
  const [, type = "application/octet-stream"] = /content-type:\s*(\S+)/i.exec(media.head) ?? [];
  return { metadata: metadataOf(metadata.body.toString()), contentType: type, data: media.body };
}

/** One part, without the line ends around it. Line ends are CRLF, or LF from some clients. */
function splitHead(part: Buffer): { readonly head: string; readonly body: Buffer } | undefined {
  for (const end of ["\r\n", "\n"]) {
    const gap = part.indexOf(`${end}${end}`);
    if (gap < 0) continue;
    const head = part.subarray(0, gap).toString();
    return { head, body: part.subarray(gap + end.length * 2, part.length - end.length) };
  }
  return undefined;
}

function metadataOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
