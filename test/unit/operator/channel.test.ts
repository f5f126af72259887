import { RequestError, TimeoutError } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import type { Broker } from "../../../src/nats/connect.ts";
import { openChannel } from "../../../src/operator/channel.ts";
import {
  type Answer,
  type CommandEnvelope,
  openCommand,
  sealAnswer,
} from "../../../src/protocol/control.ts";
import { utf8 } from "../../../src/protocol/encoding.ts";
import type { OperatorFile } from "../../../src/protocol/join.ts";
import {
  createJobKeySet,
  createSigningKey,
  publicKeysOf,
  publicPart,
} from "../../../src/protocol/keys.ts";
import { epochMs, seconds } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const id = { tenant: "default", job: "etl" };
const set = await createJobKeySet(epochMs(0), systemRandom);
const key = await createSigningKey(systemRandom);
const file: OperatorFile = {
  version: 1,
  ...id,
  operator: "alice",
  nats: { servers: ["nats://127.0.0.1:1"] },
  jobKeys: publicKeysOf({ version: 1, ...id, sets: [set] }),
  key,
};

interface Sent {
  readonly subject: string;
  readonly envelope: CommandEnvelope;
}

/** A channel to somebody who answers as told. */
function channelTo(answer: (sent: Sent) => Promise<Uint8Array>) {
  const clock = new ManualClock();
  const sent: Sent[] = [];
  const nc = {
    async request(subject: string, bytes: Uint8Array) {
      const one = { subject, envelope: await openCommand(bytes, [publicPart(key)]) };
      sent.push(one);
      return { data: await answer(one) };
    },
  };
  const broker = { nc } as unknown as Pick<Broker, "nc">;
  const channel = openChannel({
    broker,
    file,
    clock,
    random: systemRandom,
    answerTimeout: seconds(5),
  });
  return { channel, sent, clock };
}

const ending: Answer = { kind: "ending" };
const answered = (nonce: string, answer: Answer = ending, signing = set.signing) =>
  sealAnswer({ v: 1, nonce, term: 1, sequence: 1, timeMs: 0, answer }, signing);

describe("a command", () => {
  it("is signed by the operator, with a nonce of its own and an expiry in a minute", async () => {
    const { channel, sent, clock } = channelTo(({ envelope }) => answered(envelope.nonce));
    await channel.ask({ kind: "end" });
    await channel.ask({ kind: "end" });
    const [first, second] = sent.map(({ envelope }) => envelope);
    expect(first).toMatchObject({ ...id, operator: "alice", command: { kind: "end" } });
    expect(first?.issuedAtMs).toBe(clock.now().wall);
    expect((first?.notAfterMs ?? 0) - (first?.issuedAtMs ?? 0)).toBe(60_000);
    expect(first?.nonce).not.toBe(second?.nonce);
    expect(sent[0]?.subject).toBe("evergrant.v1.job.default.etl.control");
  });

  it("that is refused fails with the coordinator's code", async () => {
    const { channel } = channelTo(({ envelope }) =>
      answered(envelope.nonce, {
        kind: "refused",
        code: "NOT_AUTHORISED",
        message: "alice may not",
      }),
    );
    await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code: "NOT_AUTHORISED" });
  });

  it("that is refused with a code of a later version fails as INTERNAL", async () => {
    const { channel } = channelTo(({ envelope }) =>
      answered(envelope.nonce, { kind: "refused", code: "FROM_THE_FUTURE", message: "?" }),
    );
    await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code: "INTERNAL" });
  });
});

describe("an answer", () => {
  it("that another key has signed is refused", async () => {
    const other = await createSigningKey(systemRandom);
    const named = { ...other, kid: set.signing.kid };
    for (const [key, code] of [
      [other, "KEY_UNKNOWN"],
      [named, "MESSAGE_FORGED"],
    ] as const) {
      const { channel } = channelTo(({ envelope }) => answered(envelope.nonce, ending, key));
      await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code });
    }
  });

  it("that is no signed document is refused", async () => {
    const { channel } = channelTo(async () => utf8("{}"));
    await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code: "MESSAGE_FORGED" });
  });

  it("to an earlier command is refused", async () => {
    const recorded = await answered("a-recorded-nonce-of-old");
    const { channel } = channelTo(async () => recorded);
    await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code: "MESSAGE_REPLAYED" });
  });

  it("that does not come means that there is no coordinator", async () => {
    const { channel } = channelTo(() => Promise.reject(new TimeoutError()));
    await expect(channel.ask({ kind: "end" })).rejects.toMatchObject({ code: "NO_COORDINATOR" });
    const broken = channelTo(() => Promise.reject(new RequestError("gone")));
    await expect(broken.channel.ask({ kind: "end" })).rejects.toMatchObject({
      code: "NO_COORDINATOR",
    });
  });
});
