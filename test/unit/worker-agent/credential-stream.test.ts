import { describe, expect, it } from "vitest";
import type { Credential } from "../../../src/protocol/credential.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { durationMs, epochMs } from "../../../src/protocol/time.ts";
import { credentialStreams } from "../../../src/worker-agent/credential-stream.ts";

const credential = (provider: string, generation: number): Credential => ({
  provider,
  kind: "test",
  generation,
  issuedAt: epochMs(0),
  expiresAt: epochMs(1),
  issuerSkew: durationMs(0),
  attributes: {},
  material: new Secret({}),
});

describe("credential stream", () => {
  it("begins with what is served and goes on with what follows", async () => {
    const streams = credentialStreams(() => true);
    const stream = streams.open([credential("lake", 1)]);
    expect((await stream.next()).value).toMatchObject({ generation: 1 });
    const next = stream.next();
    streams.push(credential("lake", 2));
    expect((await next).value).toMatchObject({ generation: 2 });
  });

  it("keeps the newest of each provider for a slow consumer", async () => {
    const streams = credentialStreams(() => true);
    const stream = streams.open([]);
    for (const generation of [1, 2, 3]) streams.push(credential("lake", generation));
    streams.push(credential("sea", 4));
    expect((await stream.next()).value).toMatchObject({ provider: "lake", generation: 3 });
    expect((await stream.next()).value).toMatchObject({ provider: "sea", generation: 4 });
  });

  it("I2: drops what has died while it waited", async () => {
    const dead = new Set<Credential>();
    const streams = credentialStreams((one) => !dead.has(one));
    const [old, fresh] = [credential("lake", 1), credential("sea", 2)];
    const stream = streams.open([old, fresh]);
    dead.add(old);
    expect((await stream.next()).value).toBe(fresh);
  });

  it("ends when it is left, and when all are closed", async () => {
    const streams = credentialStreams(() => true);
    for await (const one of streams.open([credential("lake", 1)])) {
      expect(one.generation).toBe(1);
      break;
    }
    const waiting = streams.open([]).next();
    streams.close();
    expect((await waiting).done).toBe(true);
    expect((await streams.open([credential("lake", 2)]).next()).done).toBe(true);
  });
});
