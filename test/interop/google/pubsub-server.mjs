/**
 * A Pub/Sub for the interop tests, over gRPC with TLS: one topic's messages go to every streaming
 * pull. It takes only tokens that the emulator's tokeninfo knows. Prints `{port}`, and after that `{refused}` for each call that it refuses.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const require = createRequire(import.meta.url);
const protos = require("@google-cloud/pubsub/build/protos/protos.json");
const { google } = grpc.loadPackageDefinition(loader.fromJSON(protos, { longs: String }));
const { Publisher, Subscriber } = google.pubsub.v1;
const { TOKENINFO_URL, TLS_CERT, TLS_KEY } = process.env;

const streams = new Set();
/** What nobody has acknowledged, by acknowledgement id: given to every stream that opens. */
const pending = new Map();
let sequence = 0;

/** Throws a gRPC status where the caller's token is not alive. */
async function judge(call, method) {
  const token = /^Bearer (\S+)$/.exec(call.metadata.get("authorization")[0] ?? "")?.[1];
  const answer = await fetch(`${TOKENINFO_URL}?access_token=${encodeURIComponent(token ?? "")}`);
  if (answer.ok) return;
  process.stdout.write(`${JSON.stringify({ refused: method })}\n`);
  throw { code: grpc.status.UNAUTHENTICATED, details: "the token is not alive" };
}

const unary = (method, work) => (call, callback) => {
  judge(call, method).then(
    () => callback(null, work(call.request)),
    (status) => callback(status),
  );
};

function publish({ messages }) {
  const messageIds = messages.map((message) => {
    sequence += 1;
    const messageId = String(sequence);
    const received = { ackId: `ack-${messageId}`, message: { ...message, messageId } };
    pending.set(received.ackId, received);
    for (const stream of streams) stream.write({ receivedMessages: [received] });
    return messageId;
  });
  return { messageIds };
}

function acknowledge({ ackIds }) {
  for (const ackId of ackIds) pending.delete(ackId);
  return {};
}

async function streamingPull(call) {
  const ended = (status) => {
    streams.delete(call);
    call.destroy(Object.assign(new Error("ended"), status));
  };
  call.on("data", () => undefined);
  call.on("error", () => streams.delete(call));
  call.on("close", () => streams.delete(call));
  call.on("end", () => {
    streams.delete(call);
    call.end();
  });
  try {
    await judge(call, "StreamingPull");
    streams.add(call);
    if (pending.size > 0) call.write({ receivedMessages: [...pending.values()] });
  } catch (status) {
    ended(status);
  }
}

const server = new grpc.Server();
server.addService(Publisher.service, { Publish: unary("Publish", publish) });
server.addService(Subscriber.service, {
  StreamingPull: (call) => void streamingPull(call),
  Acknowledge: unary("Acknowledge", acknowledge),
  ModifyAckDeadline: unary("ModifyAckDeadline", () => ({})),
});
const pair = { cert_chain: readFileSync(TLS_CERT), private_key: readFileSync(TLS_KEY) };
const credentials = grpc.ServerCredentials.createSsl(null, [pair]);
server.bindAsync("127.0.0.1:0", credentials, (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
