/** The other end of the bare connections: answers their requests, publishes, counts acks. */
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { answer, usage } from "../support/child.ts";

export type BareQuestion =
  | { readonly kind: "start"; readonly url: string; readonly replyBytes: number }
  | { readonly kind: "round"; readonly bytes: number; readonly acks: number }
  | { readonly kind: "usage" };

let broker: Broker | undefined;

answer(async (question: BareQuestion) => {
  if (question.kind === "usage") return usage();
  if (question.kind === "start") {
    broker = await connectNats({
      role: "coordinator",
      id: { tenant: "default", job: "bare" },
      name: "bench",
      access: accessFromBroker({ servers: [question.url], user: "bench", password: "bench" }),
      clock: systemClock,
    });
    const reply = Buffer.alloc(question.replyBytes);
    broker.nc.subscribe("bare.register.*", {
      callback: (_e, message) => void message.respond(reply),
    });
    await broker.nc.flush();
    return undefined;
  }
  const { nc } = broker ?? {};
  if (nc === undefined) throw new Error("not started");
  let heard = 0;
  const done = new Promise<void>((resolve) => {
    const subscription = nc.subscribe("bare.ack.*", {
      callback: () => {
        heard += 1;
        if (heard < question.acks) return;
        subscription.unsubscribe();
        resolve();
      },
    });
  });
  await nc.flush();
  const began = systemClock.now().mono;
  nc.publish("bare.push", Buffer.alloc(question.bytes));
  await done;
  return systemClock.now().mono - began;
});
