import { describe, expect, it } from "vitest";
import { DEFAULT_TIMING } from "../../../src/coordinator/core/settings.ts";
import { CoreRig, type RigStores } from "../../support/core-rig.ts";

const { leaseTtl, leaseMargin, leaseWatch } = DEFAULT_TIMING;

const settings = (set: string) => ({ groupSet: set, newGroupKid: `${set}.new` });
/** A coordinator whose job key file has this first set waits for the lease and leads. */
function takeOver(stores: RigStores, set: string, startMs: number): CoreRig {
  const rig = new CoreRig({ stores, settings: { ...settings(set), holder: set }, startMs });
  rig.start().run(leaseTtl + leaseMargin + leaseWatch);
  return rig;
}
const notices = (rig: CoreRig) => rig.effectsOf("notify").map(({ notice }) => notice.what);

describe("a job key file with another first set", () => {
  it("gets the job a new group key, under which it publishes anew and tells everybody", () => {
    const first = new CoreRig({ settings: settings("s1") }).start();
    expect(notices(first)).toEqual([{ kind: "report" }]);
    const { generation } = first.stores.state.value ?? { generation: 0 };
    const second = takeOver(first.stores, "s2", first.nowMs);
    expect(second.stores.state.value).toMatchObject({
      groupKids: ["s2.new", "s1.new"],
      generation: generation + 1,
    });
    expect(second.effectsOf("seal-bundle").at(-1)).toMatchObject({ kid: "s2.new" });
    expect(second.stores.bundle.value).toMatchObject({ generation: generation + 1 });
    expect(notices(second)).toEqual([{ kind: "report" }, { kind: "rekey", kid: "s2.new" }]);
    expect([first.calls.length, second.calls.length]).toEqual([1, 0]);
  });

  it("is taken up once: the next coordinator with the same file changes nothing", () => {
    const first = new CoreRig({ settings: settings("s1") }).start();
    const second = takeOver(first.stores, "s2", first.nowMs);
    const third = takeOver(first.stores, "s2", second.nowMs);
    expect(third.stores.state.value?.groupKids).toEqual(["s2.new", "s1.new"]);
    expect(notices(third)).toEqual([{ kind: "report" }]);
  });

  it("leaves at most three group keys, each of them once", () => {
    const rig = new CoreRig({ settings: settings("s1") }).start();
    let { nowMs } = rig;
    for (const set of ["s2", "s3", "s4", "s3"]) nowMs = takeOver(rig.stores, set, nowMs).nowMs;
    expect(rig.stores.state.value?.groupKids).toEqual(["s3.new", "s4.new", "s2.new"]);
  });
});
