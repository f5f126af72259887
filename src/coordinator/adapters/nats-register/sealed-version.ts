/** What a sealed bundle says of itself, unproved: enough to see who won a conflict, for nothing else. */
import { type BundleHeader, bundleHeaderSchema } from "../../../protocol/bundle.ts";
import { check, fromBase64Url, text } from "../../../protocol/encoding.ts";

/** Undefined when the bytes are no sealed bundle. Nothing of it is authenticated. */
export function sealedVersion(sealed: Uint8Array): BundleHeader | undefined {
  try {
    const jwe = partOf(text(sealed), 1);
    return check(bundleHeaderSchema, JSON.parse(partOf(jwe, 0)), "bundle header");
  } catch {
    return undefined;
  }
}

const partOf = (compact: string, index: number): string =>
  text(fromBase64Url(compact.split(".")[index] ?? ""));
