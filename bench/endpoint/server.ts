/** The container endpoint with one credential, or a bare server that answers with the same bytes, in a process of its own. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AWS_SESSION } from "../../src/protocol/credential.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { durationMs, epochMs, later, seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { loadReceiverFactory } from "../../src/worker-agent/receivers/load-receiver.ts";
import { answer, usage } from "../support/child.ts";

export type ServerQuestion =
  | { readonly kind: "evergrant" /** For its files. */; readonly dir: string }
  | { readonly kind: "bare"; readonly headers: Record<string, string>; readonly body: string }
  | { readonly kind: "usage" };

answer(async (question: ServerQuestion) => {
  if (question.kind === "usage") return usage();
  if (question.kind === "bare") {
    const body = Buffer.from(question.body);
    const server = createServer((_request, response) => {
      response.writeHead(200, { ...question.headers, "content-length": String(body.length) });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}/` };
  }
  const { dir } = question;
  const factory = await loadReceiverFactory("aws-container", dir);
  const receiver = factory.create(factory.options.parse({ tokenIn: "environment" }), {
    ...{ tenant: "default", job: "bench", agent: "a1", provider: "lake" },
    clock: systemClock,
    random: systemRandom,
    stateDir: undefined,
    workDir: dir,
    log: () => undefined,
  });
  const { set } = await receiver.start();
  const now = systemClock.now();
  await receiver.apply({
    until: later(now.mono, seconds(3600)),
    credential: {
      provider: "lake",
      kind: AWS_SESSION,
      generation: 1,
      issuedAt: epochMs(now.wall),
      expiresAt: later(epochMs(now.wall), seconds(3600)),
      issuerSkew: durationMs(0),
      attributes: { region: "eu-west-1", accountId: "123456789012" },
      material: new Secret({
        accessKeyId: `ASIA${"A".repeat(16)}`,
        secretAccessKey: "s".repeat(40),
        sessionToken: "t".repeat(360),
      }),
    },
  });
  return {
    url: set["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
    token: set["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
  };
});
