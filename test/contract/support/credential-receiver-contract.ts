/**
 * The contract that every CredentialReceiver keeps, run by each with a consumer of its own
 * convention. Owns the claims; refuses to know how a credential reaches a consumer.
 */
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { EvergrantError } from "../../../src/protocol/errors.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import type { Clock } from "../../../src/protocol/time.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  Serving,
} from "../../../src/worker-agent/ports/credential-receiver.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { awsServing, type ReceiverBench, receiverBench, secretsOf } from "./receiver-bench.ts";

export interface ReceiverRig {
  /** The receiver's options as the configuration has them, for this test's folder. */
  options(dir: string): Readonly<Record<string, unknown>>;
  /** The access key (of a token, the one in it) that a consumer gets now; undefined when it gets nothing. */
  consumerGets(environment: ConsumerEnvironment, dir: string): Promise<string | undefined>;
  /** Whether the receiver by itself stops handing out what has ended, or only when it is withdrawn. */
  readonly endsByItself: boolean;
  /** From now on `apply` fails. Absent: only a credential of the wrong form makes it fail. */
  readonly breakIt?: (dir: string) => void;
  /** A credential of its kind of generation `n`. Default: an AWS session. */
  readonly serving?: (clock: Clock, n: number, lifeMs?: number) => Serving;
  /** Whether it looks into the material at all. Default true. */
  readonly judgesMaterial?: boolean;
}

/** `Options` is forgotten, since the suite hands `create` only what the factory's schema has parsed. */
export function receiverContract<Options>(
  factory: CredentialReceiverFactory<Options>,
  rig: ReceiverRig,
): void {
  const servingOf = rig.serving ?? awsServing;

  interface Started {
    readonly receiver: CredentialReceiver;
    readonly environment: ConsumerEnvironment;
    readonly gets: () => Promise<string | undefined>;
  }

  async function start(bench: ReceiverBench): Promise<Started> {
    const options = factory.options.parse(rig.options(bench.dir));
    const receiver = factory.create(options, bench.services);
    const environment = await receiver.start();
    onTestFinished(() => receiver.stop());
    return { receiver, environment, gets: () => rig.consumerGets(environment, bench.dir) };
  }

  const unusable = (serving: Serving): Serving => ({
    ...serving,
    credential: {
      ...serving.credential,
      material: new Secret({ accessKeyId: 7, leaked: secretsOf(666) }),
    },
  });

  async function failureOf(applied: Promise<void>): Promise<EvergrantError> {
    const error = await applied.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(EvergrantError);
    const known = EvergrantError.from(error, "INTERNAL", "");
    expect(known.code).toBe("RECEIVER_FAILED");
    return known;
  }

  describe(`receiver ${factory.kind}`, () => {
    test("once a credential is applied, a consumer gets it", async () => {
      const clock = new ManualClock();
      const bench = receiverBench(clock);
      const { receiver, gets } = await start(bench);
      await receiver.apply(servingOf(clock, 1));
      expect(await gets()).toBe("ASIA0000000000000001");
    });

    test("the credential that was applied last is the one that consumers get", async () => {
      const clock = new ManualClock();
      const { receiver, gets } = await start(receiverBench(clock));
      for (const n of [1, 2, 3]) {
        await receiver.apply(servingOf(clock, n));
        expect(await gets()).toBe(`ASIA000000000000000${n}`);
      }
    });

    test("a newer credential that ends earlier is applied all the same", async () => {
      const clock = new ManualClock();
      const { receiver, gets } = await start(receiverBench(clock));
      await receiver.apply(servingOf(clock, 1, 3_600_000));
      await receiver.apply(servingOf(clock, 2, 60_000));
      expect(await gets()).toBe("ASIA0000000000000002");
    });

    test("I2: what has ended is not handed out, wherever the wall clock stands", async () => {
      const clock = new ManualClock();
      const { receiver, gets } = await start(receiverBench(clock));
      await receiver.apply(servingOf(clock, 1, 60_000));
      clock.stepWall(3_600_000);
      expect(await gets()).toBe("ASIA0000000000000001"); // a wall clock that is wrong ends nothing
      clock.stepWall(-7_200_000);
      clock.advance(59_999);
      expect(await gets()).toBe("ASIA0000000000000001");
      clock.advance(1);
      if (!rig.endsByItself) await receiver.withdraw("lake");
      expect(await gets()).toBeUndefined();
    });

    test("I2: a credential that has ended before it is applied is refused, and the former one stays", async () => {
      const clock = new ManualClock();
      const { receiver, gets } = await start(receiverBench(clock));
      await receiver.apply(servingOf(clock, 1));
      const late = servingOf(clock, 2, 1000);
      clock.advance(1000);
      await failureOf(receiver.apply(late));
      expect(await gets()).toBe("ASIA0000000000000001");
    });

    test("a withdrawn credential is handed out no more, and the next one is", async () => {
      const clock = new ManualClock();
      const { receiver, gets } = await start(receiverBench(clock));
      await receiver.apply(servingOf(clock, 1));
      await receiver.withdraw("lake");
      expect(await gets()).toBeUndefined();
      await receiver.withdraw("lake");
      await receiver.apply(servingOf(clock, 2));
      expect(await gets()).toBe("ASIA0000000000000002");
    });

    test("after a stop another one starts in its place, and its consumers need no new environment", async () => {
      const clock = new ManualClock();
      const bench = receiverBench(clock);
      const first = await start(bench);
      await first.receiver.apply(servingOf(clock, 1));
      await first.receiver.stop();
      await first.receiver.stop();
      const second = await start(bench);
      await second.receiver.apply(servingOf(clock, 2));
      expect(await first.gets()).toBe("ASIA0000000000000002");
      expect(second.environment.set).toEqual(first.environment.set);
    });

    if (rig.judgesMaterial !== false) {
      test("I9: a credential that cannot be applied leaves the former, and shows no secret", async () => {
        const clock = new ManualClock();
        const bench = receiverBench(clock);
        const { receiver, gets } = await start(bench);
        await receiver.apply(servingOf(clock, 1));
        const error = await failureOf(receiver.apply(unusable(servingOf(clock, 2))));
        expect(await gets()).toBe("ASIA0000000000000001");
        const shown = inspect([error, bench.logged, bench.requests], { depth: 9 });
        for (const n of [1, 2, 666]) {
          for (const secret of secretsOf(n)) expect(shown).not.toContain(secret);
        }
      });
    }

    const { breakIt } = rig;
    if (breakIt !== undefined) {
      test("I9: a failure to apply leaves the former, and shows no secret", async () => {
        const clock = new ManualClock();
        const bench = receiverBench(clock);
        const { receiver, gets } = await start(bench);
        await receiver.apply(servingOf(clock, 1));
        breakIt(bench.dir);
        const error = await failureOf(receiver.apply(servingOf(clock, 2)));
        expect(await gets()).toBe("ASIA0000000000000001");
        const shown = inspect([error, bench.logged, bench.requests], { depth: 9 });
        for (const secret of [...secretsOf(1), ...secretsOf(2)])
          expect(shown).not.toContain(secret);
      });
    }
  });
}
