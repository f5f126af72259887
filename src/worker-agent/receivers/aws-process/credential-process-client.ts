/**
 * The other end of the socket: what `evergrant credential-process --socket PATH` does for an SDK
 * that runs it. Owns the contract with the SDK: the JSON document alone on stdout and exit code 0,
 * or nothing there, a message on stderr and exit code 1.
 */
import * as z from "zod";
import { EvergrantError, EXIT } from "../../../protocol/errors.ts";
import { type Clock, seconds } from "../../../protocol/time.ts";
import { askOnce } from "../probe.ts";
import { AWS_PROCESS_PATH } from "./path.ts";

const documentSchema = z.looseObject({
  Version: z.literal(1),
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  SessionToken: z.string().min(1),
  Expiration: z.string().min(1),
});
const refusalSchema = z.looseObject({ code: z.string(), message: z.string() });

/** The document as the agent sent it. @throws EvergrantError `RECEIVER_FAILED` when the agent is away or has none. */
export async function askForCredential(socket: string, clock: Clock): Promise<string> {
  const reply = await askOnce({ socketPath: socket }, AWS_PROCESS_PATH, clock, seconds(5));
  const text = reply.body.toString("utf8");
  const parsed = parse(text);
  if (reply.status === 200 && documentSchema.safeParse(parsed).success) return text;
  const refusal = refusalSchema.safeParse(parsed);
  throw new EvergrantError(
    "RECEIVER_FAILED",
    reply.status !== 200 && refusal.success
      ? `${refusal.data.message} (${refusal.data.code})`
      : `what answers at ${socket} is no evergrant agent (HTTP ${reply.status})`,
  );
}

export interface CredentialProcessCall {
  /** Path of the agent's socket. */
  readonly socket: string;
  readonly clock: Clock;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/** Never throws; resolves to the exit code, 0 or 1. */
export async function credentialProcess(call: CredentialProcessCall): Promise<number> {
  try {
    call.stdout(`${await askForCredential(call.socket, call.clock)}\n`);
    return EXIT.done;
  } catch (error) {
    const known = EvergrantError.from(error, "INTERNAL", "asking the agent");
    call.stderr(`evergrant credential-process: ${known.message}\n`);
    return EXIT.failed;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
