/** Checks what the client says about its body: Content-MD5 and the additional checksums of S3. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

const base64Hash = (name: string) => (data: Uint8Array) =>
  createHash(name).update(data).digest("base64");

function base64Crc32(data: Uint8Array): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(data));
  return bytes.toString("base64");
}

/** The checks that Node.js can do; the other algorithms (crc32c, crc64nvme) are kept unchecked. */
const CHECKS: Readonly<Record<string, (data: Uint8Array) => string>> = {
  "content-md5": base64Hash("md5"),
  "x-amz-checksum-crc32": base64Crc32,
  "x-amz-checksum-sha1": base64Hash("sha1"),
  "x-amz-checksum-sha256": base64Hash("sha256"),
};
const KEPT = /^x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)$/;

/** The checksums to keep with the object, or undefined where one of them is wrong. */
export function judgeChecksums(
  data: Uint8Array,
  headers: Iterable<readonly [name: string, value: string]>,
): Record<string, string> | undefined {
  const kept: Record<string, string> = {};
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    const check = CHECKS[lower];
    if (check !== undefined && check(data) !== value) return undefined;
    if (KEPT.test(lower)) kept[lower] = value;
  }
  return kept;
}
