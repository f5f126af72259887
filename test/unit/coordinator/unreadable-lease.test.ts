import { describe, expect, it } from "vitest";
import type { LeaseRecord } from "../../../src/coordinator/core/lease-record.ts";
import { DEFAULT_TIMING } from "../../../src/coordinator/core/settings.ts";
import { CoreRig, RigStores } from "../../support/core-rig.ts";

/** As lease-codec.ts reads what is no lease. */
const UNREADABLE: LeaseRecord = { holder: "", term: 0, renewals: 0, state: "held" };
const { leaseTtl, leaseMargin, leaseWatch } = DEFAULT_TIMING;

/** Whoever may write the bucket puts something there. */
function garble({ lease }: RigStores): void {
  lease.write(lease.revision, UNREADABLE);
}

describe("a lease that can't be read", () => {
  it("is waited out like another's, and then taken", () => {
    const stores = new RigStores();
    garble(stores);
    const rig = new CoreRig({ stores }).start();
    rig.run(leaseTtl + leaseMargin - 1);
    expect([stores.lease.value, rig.calls.length]).toEqual([UNREADABLE, 0]);
    rig.run(leaseWatch + 1);
    expect(stores.lease.value).toMatchObject({ holder: "c1", state: "held" });
    expect(rig.calls).toHaveLength(1);
  });

  it("ends a leadership, which is had again without asking the issuer", () => {
    const rig = new CoreRig().start();
    const { term } = rig.core.leadership;
    garble(rig.stores);
    rig.run(leaseTtl / 2);
    expect(rig.core.leadership.held).toBeUndefined();
    rig.run(leaseTtl + leaseMargin + leaseWatch);
    expect(rig.core.leadership.role).toBe("leading");
    expect(rig.core.leadership.term).toBeGreaterThan(term);
    expect(rig.calls).toHaveLength(1);
  });

  it("that goes on to change is waited for as long as it does", () => {
    const stores = new RigStores();
    garble(stores);
    const rig = new CoreRig({ stores }).start();
    for (let round = 0; round < 5; round += 1) {
      rig.run(leaseTtl);
      garble(stores);
    }
    expect(rig.core.leadership.role).toBe("waiting");
  });
});
