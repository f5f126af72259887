/**
 * The agent's configuration (`agent.yaml`, optional as a whole). Owns its shape and its judgement,
 * with all faults at once; refuses to read files and to start anything.
 */
import * as z from "zod";
import type { PaceOverride } from "../nats/role-options.ts";
import { EvergrantError } from "../protocol/errors.ts";
import { nameSchema } from "../protocol/names.ts";
import { durationMs } from "../protocol/time.ts";
import { type AgentTimings, DEFAULT_TIMINGS, type Ladder } from "./core/settings.ts";
import type { CredentialReceiverFactory } from "./ports/credential-receiver.ts";

const ms = (text: string) => z.int().min(1).max(86_400_000).optional().describe(text);
const ladder = (text: string) =>
  z
    .strictObject({
      firstMs: z.int().min(1).max(3_600_000),
      lastMs: z.int().min(1).max(3_600_000),
    })
    .refine(({ firstMs, lastMs }) => firstMs <= lastMs, "firstMs is above lastMs")
    .optional()
    .describe(text);

const timingsSchema = z.strictObject({
  registerRetry: ladder("Waits between attempts to register. Default 1 s doubling to 30 s."),
  receiverRetry: ladder("Waits between attempts at a failed receiver. Default 1 s to 30 s."),
  catchUpSpreadMs: ms(
    "After a reconnect, agents ask for what they missed spread over this time. Default 5 s.",
  ),
  registerSpreadMs: ms("Agents register spread over this time after a rekey. Default 1 s."),
  receiverTimeoutMs: ms("A receiver that answers later counts as failed. Default 60 s."),
  partedMs: ms("Wall and monotonic clock have parted above this. Default 2 s."),
  requestTimeoutMs: ms("For one answer of the coordinator or the broker. Default 5 s."),
  reconnectWaitMs: ms("Between two attempts to reach the broker again. Default 1 s."),
  reconnectJitterMs: z
    .int()
    .min(0)
    .max(600_000)
    .optional()
    .describe("Added to that, at random, up to this. Default 5 s."),
  pingIntervalMs: ms(
    "The broker is asked this often whether it is there; three pings unanswered end the connection. Default 20 s.",
  ),
});
export type TimingsConfig = z.infer<typeof timingsSchema>;

export const agentConfigSchema = z.strictObject({
  name: nameSchema.optional().describe("Default: the host's name and a random suffix."),
  stateDir: z
    .string()
    .min(1)
    .optional()
    .describe("Keeps the agent's own key and ticket over restarts. Absent: nothing is kept."),
  status: z
    .strictObject({
      host: z.string().min(1).default("127.0.0.1"),
      port: z.int().min(0).max(65_535).default(0),
    })
    .optional()
    .describe("Where /healthz, /readyz and /metrics are served. Absent: nowhere."),
  providers: z
    .array(nameSchema)
    .max(1000)
    .default([])
    .describe("Not ready before these are applied, besides those of bundle and receivers."),
  defaultProvider: nameSchema
    .optional()
    .describe("Whose environment wins where those of two providers would set the same variable."),
  receivers: z
    .array(
      z
        .looseObject({ kind: z.string().min(1).max(214), provider: nameSchema })
        .describe("All further fields are the receiver's own options."),
    )
    .max(1000)
    .optional()
    .describe("Absent: each provider is served by its own convention, on a free port."),
  timings: timingsSchema.default({}).describe("For tests with short-lived credentials."),
});
/** Paths in it are relative to the configuration file. */
export type AgentConfig = z.infer<typeof agentConfigSchema>;
/** As written: what has a default may be left out. */
export type AgentConfigInput = z.input<typeof agentConfigSchema>;

/** The JSON Schema of `agent.yaml`. */
export const agentConfigJsonSchema = (): Record<string, unknown> => ({
  ...z.toJSONSchema(agentConfigSchema, { io: "input" }),
  title: "evergrant agent configuration",
});

/** @throws CONFIG_INVALID naming every fault with its path and what was expected. */
export function parseAgentConfig(value: unknown): AgentConfig {
  const parsed = agentConfigSchema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  throw configError(faultsOf(parsed.error));
}

/**
 * Judges the receivers' own options, by the factories that will run them.
 * @throws CONFIG_INVALID with all faults
 */
export async function checkReceiverOptions(
  config: AgentConfig,
  load: (kind: string) => Promise<CredentialReceiverFactory>,
): Promise<void> {
  const faults: string[] = [];
  for (const [index, { kind, provider: _provider, ...options }] of (
    config.receivers ?? []
  ).entries()) {
    try {
      const parsed = (await load(kind)).options.safeParse(options);
      if (!parsed.success) faults.push(...faultsOf(parsed.error, ["receivers", index]));
    } catch (thrown) {
      const { message } = EvergrantError.from(thrown, "PLUGIN_UNUSABLE", `loading ${kind}`);
      faults.push(`receivers.${index}.kind: ${message}`);
    }
  }
  if (faults.length > 0) throw configError(faults);
}

/** `path: what was expected`, one for each fault. Never shows the value. */
function faultsOf(error: z.ZodError, base: readonly PropertyKey[] = []): string[] {
  return error.issues.map((issue) => {
    const path = [...base, ...issue.path].map(String).join(".");
    return `${path || "(root)"}: ${issue.message}`;
  });
}

const configError = (faults: readonly string[]): EvergrantError =>
  new EvergrantError(
    "CONFIG_INVALID",
    `the agent's configuration is wrong:\n  ${faults.join("\n  ")}`,
  );

export function timingsOf(config: TimingsConfig): AgentTimings {
  const d = DEFAULT_TIMINGS;
  const length = (given: number | undefined, otherwise: AgentTimings["parted"]) =>
    given === undefined ? otherwise : durationMs(given);
  const rungs = (given: TimingsConfig["registerRetry"], otherwise: Ladder): Ladder =>
    given === undefined
      ? otherwise
      : { first: durationMs(given.firstMs), last: durationMs(given.lastMs) };
  return {
    registerRetry: rungs(config.registerRetry, d.registerRetry),
    receiverRetry: rungs(config.receiverRetry, d.receiverRetry),
    catchUpSpread: length(config.catchUpSpreadMs, d.catchUpSpread),
    registerSpread: length(config.registerSpreadMs, d.registerSpread),
    beat: d.beat,
    receiverTimeout: length(config.receiverTimeoutMs, d.receiverTimeout),
    parted: length(config.partedMs, d.parted),
  };
}

export function paceOf(timings: TimingsConfig): PaceOverride {
  const { reconnectWaitMs, reconnectJitterMs, pingIntervalMs } = timings;
  return {
    ...(pingIntervalMs === undefined ? {} : { pingInterval: pingIntervalMs }),
    ...(reconnectWaitMs === undefined ? {} : { reconnectTimeWait: reconnectWaitMs }),
    ...(reconnectJitterMs === undefined
      ? {}
      : { reconnectJitter: reconnectJitterMs, reconnectJitterTLS: reconnectJitterMs }),
  };
}
