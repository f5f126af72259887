/**
 * Runs the emulator alone on a port, for system tests and by hand:
 * `node src/emulators/google/main.ts [--port N] [--host H] [--knobs JSON] --config FILE`.
 * The file is JSON: `{"poolProviders": [{name, issuer, jwks, …}], "serviceAccounts": [{email, …}]}`.
 * Prints one line of JSON, `{"url":…}`, once it listens. SIGINT and SIGTERM end it with 0.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import type { JSONWebKeySet } from "jose";
import { z } from "zod";
import { EvergrantError } from "../../protocol/errors.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { fromWire, wireKnobs } from "./knobs.ts";
import { startGoogleEmulator } from "./server.ts";

const wireConfig = z.strictObject({
  poolProviders: z.array(
    z.strictObject({
      name: z.string(),
      issuer: z.string(),
      jwks: z.custom<JSONWebKeySet>(
        (value) => z.object({ keys: z.array(z.object()) }).safeParse(value).success,
      ),
      allowedAudiences: z.array(z.string()).optional(),
      allowedSubjects: z.array(z.string()).optional(),
    }),
  ),
  serviceAccounts: z
    .array(
      z.strictObject({
        email: z.string(),
        tokenCreators: z.array(z.string()).optional(),
        maxLifetimeSec: z.int().min(600).max(43_200).optional(),
      }),
    )
    .optional(),
});

/** Parses and checks one JSON argument. @throws EvergrantError CONFIG_INVALID */
function checked<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EvergrantError("CONFIG_INVALID", `${what} is not what is expected`, { cause });
  }
}

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    host: { type: "string", default: "127.0.0.1" },
    knobs: { type: "string", default: "{}" },
    config: { type: "string" },
  },
});

const config =
  values.config === undefined
    ? {}
    : checked(wireConfig, await readFile(values.config, "utf8"), "--config");
const emulator = await startGoogleEmulator({
  clock: systemClock,
  random: systemRandom,
  host: values.host,
  port: Number(values.port),
  knobs: fromWire(checked(wireKnobs, values.knobs, "--knobs"), systemClock.now()),
  ...config,
});
process.stdout.write(`${JSON.stringify({ url: emulator.url })}\n`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    emulator.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
