/**
 * The faults of the soak. Each one lasts less than the pause to the next, mends itself, and tells what
 * it has met; one that has met nothing is counted as such.
 */
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { Chance } from "../../simulation/chance.ts";
import type { TestServer } from "../../support/server-processes.ts";
import type { CoordinatorProcess, SystemRig } from "../support/system-rig.ts";
import type { TcpProxy } from "../support/tcp-proxy.ts";
import type { Books } from "./books.ts";

export interface Ground {
  readonly rig: SystemRig;
  readonly nats: TestServer;
  readonly redis: TestServer;
  readonly chance: Chance;
  /** Killed and ended again and again. */
  mortal(): CoordinatorProcess;
  /** Frozen and cut off, never ended: its memory is watched. */
  readonly steady: CoordinatorProcess;
  /** Starts the mortal one again. */
  restart(): Promise<void>;
  readonly books: Books;
}

/** True when the fault has met something. */
type Fault = (ground: Ground) => Promise<boolean>;

const lasting = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));

async function badNetwork(
  proxy: TcpProxy,
  { chance }: Ground,
  ways: readonly ("cut" | "stall" | "halfOpen" | "delay")[],
): Promise<boolean> {
  const how = chance.pick(ways);
  const before = met(proxy);
  if (how === "delay") proxy.delay(chance.between(20, 150));
  else proxy[how]();
  await lasting(chance.between(300, 2000));
  proxy.mend();
  return met(proxy) > before;
}

const met = ({ books }: TcpProxy): number =>
  books.cut + books.refused + books.heldBytes + books.delayedChunks;

/** STS misbehaves until a call has met it, and a while longer, but for 6 s at most. */
async function issuerFault(
  { rig, chance }: Ground,
  knobs: Readonly<Record<string, unknown>>,
): Promise<boolean> {
  const before = rig.sts.count();
  const usual = { ...rig.sts.knobs };
  Object.assign(rig.sts.knobs, knobs);
  const began = systemClock.now().mono;
  while (rig.sts.count() === before && systemClock.now().mono - began < 6000) await lasting(50);
  await lasting(chance.between(300, 2000));
  Object.assign(rig.sts.knobs, usual);
  return rig.sts.count() > before;
}

export const FAULTS = {
  async "kill -9 of a coordinator"(ground) {
    await ground.mortal().kill();
    await ground.restart();
    return true;
  },
  async "SIGTERM of a coordinator"(ground) {
    ground.mortal().signal("SIGTERM");
    const { code } = await ground.mortal().exited;
    await ground.restart();
    return code === 0;
  },
  async "SIGSTOP of a coordinator"(ground) {
    const frozen = ground.chance.happens(0.7) ? ground.steady : ground.mortal();
    frozen.signal("SIGSTOP");
    await lasting(ground.chance.between(300, 4000));
    frozen.signal("SIGCONT");
    return true;
  },
  async "nats-server killed"({ nats, chance }) {
    await nats.kill();
    await lasting(chance.between(0, 1000));
    await nats.restart();
    return true;
  },
  async "nats-server frozen"({ nats, chance }) {
    nats.freeze();
    await lasting(chance.between(300, 2000));
    nats.thaw();
    return true;
  },
  // The holder may remember, or may be fenced before it is back: then the job begins anew, by design.
  async "nats-server wiped"({ nats, books }) {
    await books.beforeLoss();
    await nats.wipe();
    await books.afterLoss();
    return true;
  },
  async "redis-server killed"({ redis, chance }) {
    await redis.kill();
    await lasting(chance.between(0, 2500));
    await redis.restart();
    return true;
  },
  async "redis-server frozen"({ redis, chance }) {
    redis.freeze();
    await lasting(chance.between(300, 3000));
    redis.thaw();
    return true;
  },
  async "redis-server wiped"({ redis }) {
    await redis.wipe();
    return true;
  },
  "a coordinator's way to NATS": (ground) =>
    badNetwork(ground.chance.happens(0.5) ? ground.steady.nats : ground.mortal().nats, ground, [
      "cut",
      "stall",
      "halfOpen",
      "delay",
    ]),
  "a coordinator's way to Redis": (ground) =>
    badNetwork(ground.steady.redis, ground, ["cut", "stall", "halfOpen"]),
  "the agents' way to NATS": (ground) =>
    badNetwork(ground.rig.agentsNats, ground, ["cut", "stall", "halfOpen", "delay"]),
  "the issuer answers 500": (ground) => issuerFault(ground, { fail5xx: true }),
  "the issuer throttles": (ground) => issuerFault(ground, { throttle: true }),
  "the issuer hangs": (ground) => issuerFault(ground, { hang: true }),
  "the issuer is slow": (ground) => issuerFault(ground, { latencyMs: 700 }),
  "the issuer's answer is lost": (ground) => issuerFault(ground, { dropAnswer: 1 }),
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;

/** What is rare in life is rarer here too; what hurts most comes often. */
export const WEIGHTS: Readonly<Record<FaultName, number>> = {
  "kill -9 of a coordinator": 3,
  "SIGTERM of a coordinator": 1,
  "SIGSTOP of a coordinator": 2,
  "nats-server killed": 1,
  "nats-server frozen": 1,
  "nats-server wiped": 0.5,
  "redis-server killed": 1,
  "redis-server frozen": 1,
  "redis-server wiped": 1,
  "a coordinator's way to NATS": 2,
  "a coordinator's way to Redis": 1,
  "the agents' way to NATS": 2,
  "the issuer answers 500": 1,
  "the issuer throttles": 1,
  "the issuer hangs": 1,
  "the issuer is slow": 1,
  "the issuer's answer is lost": 1,
};
