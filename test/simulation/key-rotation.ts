/**
 * An operator who rotates the job key file of a world with real seals, as docs/protocol.md has it:
 * a new set that opens and verifies, all coordinators restarted, then it seals and signs, and all
 * are restarted again.
 */
import type { JobState } from "../../src/coordinator/core/job-state.ts";
import { createJobKeySet, currentSet, type JobKeySet } from "../../src/protocol/keys.ts";
import { epochMs } from "../../src/protocol/time.ts";
import type { JoseSeals } from "./jose-seals.ts";
import { EPOCH } from "./sim-node.ts";
import type { World } from "./world.ts";

/** As many sets as `evergrant job-key` keeps. */
const KEPT = 3;

export class KeyRotation {
  readonly #world: World;
  readonly #seals: JoseSeals;

  constructor(world: World, seals: JoseSeals) {
    this.#world = world;
    this.#seals = seals;
  }

  begin(): void {
    const { timeline, chance, profile } = this.#world;
    timeline.after(chance.unit() * 0.8 * profile.troubled, () => this.#add());
  }

  #add(): void {
    const world = this.#world;
    if (world.healed) return;
    if (!this.#inUse()) {
      world.timeline.after(world.profile.timing.beat, () => this.#add());
      return;
    }
    const now = epochMs(Math.round(EPOCH + world.timeline.now));
    world.timeline.send(createJobKeySet(now, this.#seals.random), (set) => {
      const [first, ...older] = this.#seals.file.sets;
      if (first === undefined) throw new RangeError("a job key file has at least one set");
      this.#write("added", [first, set, ...older].slice(0, KEPT));
      this.#promote(set.registration.kid);
    });
  }

  /** Whether the rotation before has come to its end: three sets are kept, and no more. */
  #inUse(): boolean {
    const state = this.#world.nats.peek("state") as JobState | undefined;
    const set = currentSet(this.#seals.file).stateKey.kid;
    return state?.groupKids[0]?.startsWith(`${set}.`) === true;
  }

  /** As soon as every coordinator that runs knows the new set. */
  #promote(registration: string): void {
    const world = this.#world;
    const { timeline, coordinators, profile } = world;
    timeline.after(profile.timing.beat, () => {
      if (world.healed) return;
      if (!coordinators.every(({ node, seals }) => !node.alive || seals?.opens(registration))) {
        this.#promote(registration);
        return;
      }
      const isNew = (set: JobKeySet): boolean => set.registration.kid === registration;
      const { sets } = this.#seals.file;
      this.#write("promoted", [...sets.filter(isNew), ...sets.filter((set) => !isNew(set))]);
      this.begin();
    });
  }

  #write(how: "added" | "promoted", sets: JobKeySet[]): void {
    const world = this.#world;
    const { met } = world.faults;
    world.trace("operator", `key set ${how}`, { sets: sets.map(({ stateKey }) => stateKey.kid) });
    met.set(`key set ${how}`, (met.get(`key set ${how}`) ?? 0) + 1);
    this.#seals.replaceSets(sets);
    world.faults.restartAll();
  }
}
