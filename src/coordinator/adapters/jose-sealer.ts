/** Bundles sealed by the job's own keys, with jose (protocol/bundle.ts). */
import { type Bundle, sealBundle } from "../../protocol/bundle.ts";
import { EvergrantError } from "../../protocol/errors.ts";
import { currentSet, groupKeyIn, type JobKeys } from "../../protocol/keys.ts";
import { type Done, settle } from "../../protocol/outcome.ts";
import type { BundleSealer } from "../ports/bundle-sealer.ts";

/** The group key is derived from the key set that its kid names; the current set signs. */
export function joseSealer(keys: JobKeys): BundleSealer {
  return {
    seal(bundle: Bundle, kid: string, done: Done<Uint8Array>) {
      const seal = () => {
        const file = keys.reveal();
        const group = groupKeyIn(file, kid);
        if (group === undefined) throw new EvergrantError("KEY_UNKNOWN", `no key set of ${kid}`);
        return sealBundle(bundle, group, currentSet(file).signing);
      };
      settle(seal, done, "INTERNAL", "sealing the bundle");
    },
  };
}
