/** Bundles sealed by the job's own keys, with jose (protocol/bundle.ts). */
import { type Bundle, sealBundle } from "../../protocol/bundle.ts";
import { currentSet, groupKeyOf, type JobKeys } from "../../protocol/keys.ts";
import { type Done, settle } from "../../protocol/outcome.ts";
import type { BundleSealer } from "../ports/bundle-sealer.ts";

/** The group key of a kid is derived from the current key set, which also signs. */
export function joseSealer(keys: JobKeys): BundleSealer {
  return {
    seal(bundle: Bundle, kid: string, done: Done<Uint8Array>) {
      const seal = () => {
        const file = keys.reveal();
        const set = currentSet(file);
        return sealBundle(bundle, groupKeyOf(set, file, kid), set.signing);
      };
      settle(seal, done, "INTERNAL", "sealing the bundle");
    },
  };
}
