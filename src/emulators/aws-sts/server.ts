/**
 * An emulator of AWS STS on a port of its own: the Query protocol as the SDKs, boto3 and the AWS CLI
 * speak it, with faults on demand. Owns what is started with it, and the form of its answers.
 * It is for tests and demos; its credentials open nothing but emulators.
 */
import type { Secret } from "../../protocol/secret.ts";
import type { Random } from "../../protocol/time.ts";
import { type Emulator, type EmulatorOptions, startEmulator } from "../shared/emulator.ts";
import type { Answer } from "../shared/exchange.ts";
import { Ledger } from "../shared/ledger.ts";
import type { Refusal } from "../shared/refusal.ts";
import type { IssuedCredential, StsWorld } from "./issuing.ts";
import { base32, type HeldKey, Keyring, randomKeyPair } from "./keyring.ts";
import { defaultKnobs, type StsCall, type StsKnobs, strikes, wireKnobs } from "./knobs.ts";
import { parseParameters } from "./parameters.ts";
import type { StsRole } from "./roles.ts";
import { callOf, treat } from "./treatment.ts";
import type { IdentityProvider } from "./web-identity.ts";
import { errorDocument, successDocument } from "./xml.ts";

const LARGEST_BODY = 512 * 1024;

/** A long-lived key pair that may sign. */
export interface BaseCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** Default `arn:aws:iam::000000000000:user/base`. */
  readonly arn?: string | undefined;
}

export interface StsEmulatorOptions extends EmulatorOptions<StsCall, StsKnobs> {
  /** Default: every well-formed role ARN is a role with a MaxSessionDuration of 12 h. */
  readonly roles?: readonly StsRole[] | undefined;
  /** Default none: every web identity token is refused. */
  readonly identityProviders?: readonly IdentityProvider[] | undefined;
  /** Default: one random pair. The first is offered as `baseCredentials`. */
  readonly baseKeys?: readonly BaseCredentials[] | undefined;
  /** Characters that packed policies and tags may take, default 2048. */
  readonly packedPolicyLimit?: number | undefined;
}

export interface StsEmulator extends Emulator<StsCall, StsKnobs, IssuedCredential> {
  readonly baseCredentials: BaseCredentials;
  /** The key of that id, base or issued; for emulated resources that check signatures. */
  findKey(accessKeyId: string): HeldKey | undefined;
}

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startStsEmulator(options: StsEmulatorOptions): Promise<StsEmulator> {
  const { clock, random } = options;
  const keyring = new Keyring(random);
  const [first, ...others] = options.baseKeys ?? [];
  const baseCredentials = first ?? randomKeyPair(random, "AKIA");
  for (const base of [baseCredentials, ...others]) addBase(keyring, base, random);
  const knobs: StsKnobs = { ...defaultKnobs(), ...options.knobs };
  const world: StsWorld = {
    keyring,
    ledger: new Ledger(),
    knobs,
    roles: options.roles,
    identityProviders: options.identityProviders ?? [],
    packedPolicyLimit: options.packedPolicyLimit ?? 2048,
  };
  const emulator: Emulator<StsCall, StsKnobs, IssuedCredential> = await startEmulator(options, {
    knobs,
    wireKnobs,
    ledger: world.ledger,
    largestBody: LARGEST_BODY,
    tooLarge: () => errorAnswer(TOO_LARGE, uuidOf(random.bytes(16))),
    json,
    arrive(request, sequence) {
      const requestId = uuidOf(random.bytes(16));
      const parameters = parseParameters(request.query, request.body.toString());
      const call = callOf(request, parameters, sequence, clock);
      return {
        call,
        operation: call.action,
        delayed: true,
        async treat(now) {
          const result = await treat(world, request, parameters, call, now);
          if (!result.ok) {
            return { answer: errorAnswer(result.refusal, requestId), outcome: result.refusal.code };
          }
          const document = successDocument(call.action, result.value, requestId);
          return { answer: xml(200, document, requestId), outcome: "ok" };
        },
      };
    },
    strikes: (name, call) => strikes(knobs, name, call) !== undefined,
  });
  return Object.assign(emulator, {
    baseCredentials,
    findKey: (accessKeyId: string) => keyring.find(accessKeyId),
  });
}

const TOO_LARGE: Refusal = {
  status: 413,
  code: "RequestEntityTooLargeException",
  message: "The body is too large",
};

function errorAnswer(refusal: Refusal, requestId: string): Answer {
  return xml(refusal.status, errorDocument(refusal, requestId), requestId);
}

function xml(status: number, body: string, requestId: string): Answer {
  return { status, headers: { "content-type": "text/xml", "x-amzn-requestid": requestId }, body };
}

function json(status: number, value: object): Answer {
  const body = `${JSON.stringify(value)}\n`;
  return { status, headers: { "content-type": "application/json" }, body };
}

function addBase(keyring: Keyring, base: BaseCredentials, random: Random): void {
  const arn = base.arn ?? "arn:aws:iam::000000000000:user/base";
  const account = arn.split(":")[4] ?? "000000000000";
  const userId = `AIDA${base32(random.bytes(17))}`;
  const principal = { kind: "user", arn, userId, account, transitiveTags: new Map() } as const;
  keyring.addBase({ ...base, principal });
}

function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
