/** Whether two credentials are the same to a consumer: bytes and expiry. Shows nothing of what it compares. */
import type { Credential } from "../../protocol/credential.ts";

/** Generation and issue time don't count: a consumer can't see them. */
export function sameContent(a: Credential, b: Credential): boolean {
  return (
    a.kind === b.kind &&
    a.expiresAt === b.expiresAt &&
    a.issuerSkew === b.issuerSkew &&
    sameJson(a.attributes, b.attributes) &&
    sameJson(a.material.reveal(), b.material.reveal())
  );
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at]);

/** Equality of JSON values, whatever the order of their keys. */
function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = Object.entries(a);
  const right = new Map<string, unknown>(Object.entries(b));
  return (
    left.length === right.size &&
    left.every(([key, value]) => right.has(key) && sameJson(value, right.get(key)))
  );
}
