/** @google-cloud/pubsub by default credentials, over gRPC with TLS: publishes, and gets each message back. */
import { PubSub } from "@google-cloud/pubsub";
import { onDemand } from "./on-demand.mjs";

const pubsub = new PubSub({ apiEndpoint: process.env.PUBSUB_URL, emulatorMode: false });
const topic = pubsub.topic("events", { batching: { maxMessages: 1 } });
const waiting = new Map();
const subscription = pubsub.subscription("readers");
subscription.on("message", (message) => {
  message.ack();
  waiting.get(message.data.toString())?.resolve();
});
subscription.on("error", (error) => {
  for (const { reject } of waiting.values()) reject(error);
});
await onDemand(async (n) => {
  const text = `event ${n}`;
  const { promise, ...settle } = Promise.withResolvers();
  waiting.set(text, settle);
  const late = setTimeout(() => settle.reject(new Error("not received within 30 s")), 30_000);
  await topic.publishMessage({ data: Buffer.from(text) });
  await promise;
  clearTimeout(late);
  waiting.delete(text);
});
process.exit(0);
