/**
 * Runs the emulator alone on a port, for system tests and by hand:
 * `node src/emulators/google/main.ts [--port N] [--host H] [--knobs JSON] --config FILE`.
 * The file is JSON: `{"poolProviders": [{name, issuer, jwks, …}], "serviceAccounts": [{email, …}]}`.
 * Prints one line of JSON, `{"url":…}`, once it listens. SIGINT and SIGTERM end it with 0.
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { endAtSignal, OPTIONS, startOptions, wireJwks } from "../shared/command-line.ts";
import { wireKnobs } from "./knobs.ts";
import { startGoogleEmulator } from "./server.ts";

const wireConfig = z.strictObject({
  poolProviders: z.array(
    z.strictObject({
      name: z.string(),
      issuer: z.string(),
      jwks: wireJwks,
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

const { values } = parseArgs({ options: OPTIONS });
const emulator = await startGoogleEmulator(await startOptions(values, wireConfig, wireKnobs));
process.stdout.write(`${JSON.stringify({ url: emulator.url })}\n`);
endAtSignal(() => emulator.stop());
