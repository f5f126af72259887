/** Whether a server can serve us: its version and, for those who need it, JetStream. */
import type { NatsConnection } from "@nats-io/transport-node";
import { PermissionViolationError, RequestError } from "@nats-io/transport-node";
import * as z from "zod";
import { EvergrantError } from "../protocol/errors.ts";
import type { Role } from "../protocol/permissions.ts";

/** The oldest server that has all that the protocol needs: republish, and compare-and-set by subject. */
const OLDEST = [2, 9] as const;

/** `2.10.3-beta.1` is newer than `2.9`. Undefined or unreadable versions count as old. */
export function serverAtLeast(nc: NatsConnection, major: number, minor: number): boolean {
  const [, have = "0", haveMinor = "0"] = /^v?(\d+)\.(\d+)/.exec(nc.info?.version ?? "") ?? [];
  return Number(have) > major || (Number(have) === major && Number(haveMinor) >= minor);
}

/** @throws BROKER_UNFIT */
export function checkVersion(nc: NatsConnection): void {
  if (serverAtLeast(nc, ...OLDEST)) return;
  throw new EvergrantError(
    "BROKER_UNFIT",
    `nats-server ${nc.info?.version ?? "of unknown version"} is too old: ${OLDEST.join(".")} or newer is needed`,
  );
}

const apiAnswer = z.object({
  error: z.object({ code: z.int(), err_code: z.int().optional() }).optional(),
});

/** JetStream is off for this account or server, and says so. */
const NOT_ENABLED = [10_039, 10_076];

/**
 * Asks for JetStream, as the coordinator needs it. A leaf node without its own may reach another's,
 * so the answer counts and not what the server says about itself.
 * @throws BROKER_UNFIT; BROKER_UNAVAILABLE when there may be an answer later
 */
export async function checkJetStream(nc: NatsConnection, timeoutMs: number): Promise<void> {
  let answer: z.infer<typeof apiAnswer>;
  try {
    const reply = await nc.request("$JS.API.INFO", new Uint8Array(0), { timeout: timeoutMs });
    answer = apiAnswer.parse(reply.json());
  } catch (cause) {
    if (cause instanceof RequestError && cause.cause instanceof PermissionViolationError) {
      throw new EvergrantError("BROKER_UNFIT", "this user may not use JetStream", { cause });
    }
    if (cause instanceof RequestError && cause.isNoResponders() && nc.info?.jetstream !== true) {
      const message = "the server has no JetStream: enable it (jetstream {…} in its configuration)";
      throw new EvergrantError("BROKER_UNFIT", message, { cause });
    }
    throw EvergrantError.from(cause, "BROKER_UNAVAILABLE", "asking for JetStream");
  }
  const code = answer.error?.err_code ?? answer.error?.code;
  if (code === undefined) return;
  if (NOT_ENABLED.includes(code)) {
    throw new EvergrantError("BROKER_UNFIT", "JetStream is not enabled for this account", {
      details: { apiCode: code },
    });
  }
  throw new EvergrantError("BROKER_UNAVAILABLE", "JetStream is not ready", {
    details: { apiCode: code },
  });
}

/** All checks of a role. Agents and operators may not ask about JetStream, and need not. */
export async function checkFitness(
  nc: NatsConnection,
  role: Role,
  timeoutMs: number,
): Promise<void> {
  checkVersion(nc);
  if (role === "coordinator") await checkJetStream(nc, timeoutMs);
}
