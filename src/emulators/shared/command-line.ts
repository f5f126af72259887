/**
 * What the command lines of the emulators have in common: where to listen, knobs and a file of data as
 * JSON, and the end at a signal. Which data the file holds is each emulator's own.
 */
import { readFile } from "node:fs/promises";
import type { JSONWebKeySet } from "jose";
import { z } from "zod";
import { EvergrantError } from "../../protocol/errors.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { fromWire } from "./knobs.ts";

/** For `parseArgs`. Port 0 is a free one. */
export const OPTIONS = {
  port: { type: "string", default: "0" },
  host: { type: "string", default: "127.0.0.1" },
  knobs: { type: "string", default: "{}" },
  config: { type: "string" },
} as const;

interface Values {
  readonly port: string;
  readonly host: string;
  readonly knobs: string;
  readonly config?: string | undefined;
}

/** The public keys of an issuer, in the file of data. */
export const wireJwks = z.custom<JSONWebKeySet>(
  (value) => z.object({ keys: z.array(z.object()) }).safeParse(value).success,
);

/** Parses and checks one JSON argument. @throws EvergrantError CONFIG_INVALID */
function checked<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EvergrantError("CONFIG_INVALID", `${what} is not what is expected`, { cause });
  }
}

/** What an emulator is started with. @throws EvergrantError CONFIG_INVALID */
export async function startOptions<Config extends object, WireKnobs extends object>(
  { port, host, knobs, config }: Values,
  wireConfig: z.ZodType<Config>,
  wireKnobs: z.ZodType<WireKnobs>,
) {
  const data =
    config === undefined ? {} : checked(wireConfig, await readFile(config, "utf8"), "--config");
  return {
    clock: systemClock,
    random: systemRandom,
    host,
    port: Number(port),
    knobs: fromWire(checked(wireKnobs, knobs, "--knobs"), systemClock.now()),
    ...data,
  };
}

/** Ends the process at SIGINT and SIGTERM: with 0 once all is stopped, with 1 where that fails. */
export function endAtSignal(stop: () => Promise<void>): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      stop().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    });
  }
}
