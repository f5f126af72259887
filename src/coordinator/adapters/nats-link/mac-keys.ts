/** The MAC keys of the agents that report, derived once for each that is genuine. */
import { agentMacKey, type JobKeys } from "../../../protocol/keys.ts";
import { BoundedMap } from "./bounded-map.ts";

/** More agents than this of one job only cost time: 10 µs for each report of one that was forgotten. */
const AGENTS_KEPT = 20_000;

export type MacKeys = ReturnType<typeof macKeys>;

export function macKeys(keys: JobKeys, limit = AGENTS_KEPT) {
  const kept = new BoundedMap<string, readonly Uint8Array[]>(limit);
  /** What the last call of `of` has derived. */
  let derived: { readonly of: string; readonly keys: readonly Uint8Array[] } | undefined;

  /** One for each key set: the first is what registrations are given, older agents have older ones. */
  function of(agent: string, instance: string): readonly Uint8Array[] {
    const id = `${agent}\0${instance}`;
    derived = undefined;
    const known = kept.get(id);
    if (known !== undefined) return known;
    const file = keys.reveal();
    const fresh = file.sets.map(({ macRoot }) =>
      // A copy: on its own, in place of a view of what a cipher has allocated outside of the heap.
      Uint8Array.from(agentMacKey(macRoot, file, { agent, instance })),
    );
    derived = { of: id, keys: fresh };
    return fresh;
  }

  /** To be called once the report has proved genuine: forgers must not push out the others. */
  function keep(): void {
    if (derived !== undefined) kept.set(derived.of, derived.keys);
    derived = undefined;
  }

  return {
    of,
    keep,
    /** The key that an agent is let in with: it reports soon, so it is kept. */
    letIn(agent: string, instance: string): Uint8Array {
      const [current] = of(agent, instance);
      if (current === undefined) throw new RangeError("a job key file has at least one set");
      keep();
      return current;
    },
  };
}
