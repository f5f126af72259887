import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { EvergrantError } from "../../../src/protocol/errors.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { createLogger, silentLogger } from "../../../src/runtime/logger.ts";

const SECRET = "wJalrXUtnFEMI-do-not-log";

function lines(level: "debug" | "info" = "info") {
  const written: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString());
      done();
    },
  });
  const logger = createLogger({ name: "agent", level, destination });
  return { logger, written, parsed: () => written.map((line) => JSON.parse(line)) };
}

describe("logger", () => {
  it("writes one JSON object a line, with its correlation fields", () => {
    const { logger, parsed } = lines();
    logger.child({ job: "etl", provider: "lake" }).info({ generation: 3 }, "applied");
    expect(parsed()).toMatchObject([
      { level: "info", name: "agent", job: "etl", provider: "lake", generation: 3, msg: "applied" },
    ]);
  });

  it("writes nothing below its level", () => {
    const { logger, written } = lines();
    logger.debug({}, "detail");
    silentLogger.child({}).error({}, "nothing");
    expect(written).toEqual([]);
  });

  it("I9: shows no boxed secret, no field with a secret's name, no foreign error's text", () => {
    const { logger, written, parsed } = lines();
    logger.info({ boxed: new Secret(SECRET), deep: { in: new Secret({ SECRET }) } }, "boxed");
    logger.info({ password: SECRET, session: { sessionToken: SECRET } }, "named");
    logger.error({ err: new Error(`parsing ${SECRET}`) }, "foreign");
    const cause = new TypeError(`bad ${SECRET}`);
    logger.error({ err: EvergrantError.from(cause, "RECEIVER_FAILED", "applying") }, "own");
    expect(written).toHaveLength(4);
    expect(written.join("")).not.toContain(SECRET);
    expect(parsed()[3].err).toMatchObject({
      code: "RECEIVER_FAILED",
      message: "[RECEIVER_FAILED] applying failed (TypeError)",
      cause: { type: "TypeError" },
    });
  });
});
