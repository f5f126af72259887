/**
 * An emulator of what a job needs of Google Cloud, on one port: token exchange and downscoping of STS,
 * generateAccessToken of IAM Credentials, tokeninfo, and Cloud Storage as a resource that takes only
 * live tokens within their boundary, with faults on demand. For tests and demos.
 */
import { type Emulator, type EmulatorOptions, startEmulator } from "../shared/emulator.ts";
import { Ledger } from "../shared/ledger.ts";
import { apiError, json } from "./answers.ts";
import type { PoolProvider } from "./assertion.ts";
import type { GoogleWorld, ServiceAccount } from "./issuing.ts";
import { defaultKnobs, type GoogleCall, type GoogleKnobs, strikes, wireKnobs } from "./knobs.ts";
import { Storage } from "./storage.ts";
import { type IssuedToken, Tokens } from "./tokens.ts";
import { callOf, treat } from "./treatment.ts";

const LARGEST_BODY = 16 * 1024 * 1024;

export interface GoogleEmulatorOptions extends EmulatorOptions<GoogleCall, GoogleKnobs> {
  /** Read anew for each call. Default none: every assertion is refused. */
  readonly poolProviders?: readonly PoolProvider[] | undefined;
  /** Default: every account exists, and everybody may impersonate it, for an hour at most. */
  readonly serviceAccounts?: readonly ServiceAccount[] | undefined;
}

export type GoogleEmulator = Emulator<GoogleCall, GoogleKnobs, IssuedToken>;

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startGoogleEmulator(options: GoogleEmulatorOptions): Promise<GoogleEmulator> {
  const { clock, random } = options;
  const knobs: GoogleKnobs = { ...defaultKnobs(), ...options.knobs };
  const storage = new Storage();
  const world: GoogleWorld = {
    tokens: new Tokens(random),
    ledger: new Ledger(),
    knobs,
    poolProviders: options.poolProviders ?? [],
    serviceAccounts: options.serviceAccounts,
  };
  const emulator: GoogleEmulator = await startEmulator(options, {
    knobs,
    wireKnobs,
    ledger: world.ledger,
    largestBody: LARGEST_BODY,
    tooLarge: () =>
      apiError({ status: 413, code: "OUT_OF_RANGE", message: "The body is too large" }),
    json,
    arrive(request, sequence) {
      const call = callOf(request, sequence, clock);
      return {
        call,
        operation: call.operation,
        delayed: call.operation !== "resource",
        treat: (now) => treat(world, storage, request, call, emulator.url, now),
      };
    },
    strikes: (name, call) => strikes(knobs, name, call) !== undefined,
  });
  return emulator;
}
