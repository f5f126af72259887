/** The MAC keys of the agents that report, derived once for each that is genuine. */
import { createSecretKey, type KeyObject } from "node:crypto";
import { agentMacKey, type JobKeys } from "../../../protocol/keys.ts";
import { BoundedMap } from "./bounded-map.ts";

/** More agents than this of one job only cost time: 10 µs for each report of one that was forgotten. */
const AGENTS_KEPT = 20_000;

export function macKeys(keys: JobKeys, limit = AGENTS_KEPT) {
  const kept = new BoundedMap<string, readonly KeyObject[]>(limit);
  const idOf = (agent: string, instance: string) => `${agent}\0${instance}`;
  return {
    /** One for each key set: the first is what registrations are given, older agents have older ones. */
    of(agent: string, instance: string): readonly KeyObject[] {
      const known = kept.get(idOf(agent, instance));
      if (known !== undefined) return known;
      const file = keys.reveal();
      return file.sets.map((set) =>
        createSecretKey(agentMacKey(set.macRoot, file, { agent, instance })),
      );
    },
    /** To be called once a report has proved genuine: forgers must not push out the others. */
    keep(agent: string, instance: string): void {
      const id = idOf(agent, instance);
      if (kept.get(id) === undefined) kept.set(id, this.of(agent, instance));
    },
  };
}
