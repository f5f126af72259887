/** Opens bundles with jose: size, signature, job, expiry and order are judged before anything is decrypted. */
import {
  type Bundle,
  openBundle,
  type VerifiedBundle,
  verifyBundle,
} from "../../../protocol/bundle.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import type { VerifyKey } from "../../../protocol/keys.ts";
import { compareVersions, type JobId } from "../../../protocol/names.ts";
import { settle } from "../../../protocol/outcome.ts";
import type { BundleOpener, OpenWith } from "../../ports/bundle-opener.ts";

/** @param keys the job's current signing keys: the join file may bring others. */
export function joseOpener(id: JobId, keys: () => readonly VerifyKey[]): BundleOpener {
  async function open(sealed: Uint8Array, { groups, now, floor }: OpenWith): Promise<Bundle> {
    const verified: VerifiedBundle = await verifyBundle(sealed, id, keys(), now);
    const { term, generation } = verified.header;
    if (compareVersions(verified.header, floor) < 0) {
      throw new EvergrantError("MESSAGE_REPLAYED", `a bundle of the past, ${term}.${generation}`);
    }
    return await openBundle(verified, groups);
  }
  return {
    open: (sealed, using, done) =>
      settle(() => open(sealed, using), done, "MESSAGE_MALFORMED", "opening a bundle"),
  };
}
