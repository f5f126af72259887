/**
 * The coordinator's configuration (`job.yaml`): its shape, its defaults, and its judgement. All
 * faults are told at once, each with its path and what was expected there.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isAlias, LineCounter, parseDocument } from "yaml";
import * as z from "zod";
import { natsConfigSchema } from "../nats/config.ts";
import { EvergrantError } from "../protocol/errors.ts";
import { verifyKeySchema } from "../protocol/keys.ts";
import { nameSchema } from "../protocol/names.ts";
import { redisConfigSchema } from "./adapters/redis-config.ts";
import { DEFAULT_TIMING, type Timing } from "./core/settings.ts";
import type { CredentialProviderFactory } from "./ports/credential-provider.ts";
import { loadProviderFactory } from "./providers/load-provider.ts";

const sec = (min: number, max: number) => z.number().min(min).max(max);

const providerSchema = z.looseObject({
  name: nameSchema,
  kind: z.string().min(1).describe("`aws-sts`, `exec`, … or the name of an npm package"),
  callTimeoutSec: sec(1, 300).default(10).describe("The longest that one attempt may take."),
  assumedLifetimeSec: sec(1, 31_536_000)
    .optional()
    .describe("For an issuer that gives no expiry. Without it such an answer is an error."),
});
export type ProviderConfig = z.output<typeof providerSchema>;

const timingSchema = z.strictObject({
  leaseTtlSec: sec(0.5, 3600).default(DEFAULT_TIMING.leaseTtl / 1000),
  leaseMarginSec: sec(0.1, 600).default(DEFAULT_TIMING.leaseMargin / 1000),
  leaseRenewSec: sec(0.1, 600).default(DEFAULT_TIMING.leaseRenew / 1000),
  leaseWatchSec: sec(0.05, 600).default(DEFAULT_TIMING.leaseWatch / 1000),
  storeRetrySec: sec(0.05, 60).default(DEFAULT_TIMING.storeRetry / 1000),
  beatSec: sec(0.2, 3600).default(DEFAULT_TIMING.beat / 1000),
  lostSec: sec(0.5, 36_000).default(DEFAULT_TIMING.lost / 1000),
  reconcileSec: sec(0.5, 3600).default(DEFAULT_TIMING.reconcile / 1000),
  watchdogGraceSec: sec(0.1, 3600).default(DEFAULT_TIMING.watchdogGrace / 1000),
  retryFirstSec: sec(1, 3600).default(DEFAULT_TIMING.retryFirst / 1000),
  retryMaxSec: sec(1, 36_000).default(DEFAULT_TIMING.retryMax / 1000),
  cooldownFirstSec: sec(0.1, 3600).default(DEFAULT_TIMING.cooldownFirst / 1000),
  cooldownMaxSec: sec(0.1, 36_000).default(DEFAULT_TIMING.cooldownMax / 1000),
  resendFirstSec: sec(0.1, 600).default(DEFAULT_TIMING.resendFirst / 1000),
  resendMaxSec: sec(0.1, 3600).default(DEFAULT_TIMING.resendMax / 1000),
});

const jobSchema = z
  .strictObject({
    tenant: nameSchema.default("default"),
    job: nameSchema,
    runDir: z
      .string()
      .min(1)
      .default("./run")
      .describe("Keys, join and operator file, embedded servers."),
    nats: natsConfigSchema.optional().describe("Absent: a private server on loopback."),
    redis: redisConfigSchema.optional().describe("Absent: a private server on loopback."),
    renewal: z
      .strictObject({
        ratio: z.number().min(0.1).max(0.95).default(0.75).describe("Share of the lifetime."),
      })
      .prefault({}),
    timing: timingSchema.prefault({}).describe("Scale them together; see docs/configuration.md."),
    join: z
      .strictObject({
        ttlSec: sec(1, 31_536_000)
          .default(86_400)
          .describe("How long a join token lets agents in."),
        maxAgents: z.int().min(1).max(1_000_000).default(100_000),
      })
      .prefault({}),
    operators: z
      .array(z.strictObject({ name: nameSchema, key: verifyKeySchema }))
      .max(100)
      .default([])
      .describe("Public keys of operators besides that of the run folder's operator.json."),
    status: z
      .strictObject({
        host: z.string().default("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(0).describe("0: a free one, logged at start."),
      })
      .prefault({})
      .describe("Where /healthz, /readyz and /metrics are."),
    log: z
      .strictObject({ level: z.enum(["debug", "info", "warn", "error"]).default("info") })
      .prefault({}),
    providers: z.array(providerSchema).min(1).max(100),
  })
  .superRefine((job, context) => {
    const fault = (path: (string | number)[], message: string) =>
      context.addIssue({ code: "custom", path, message });
    const names = new Set<string>();
    for (const [index, { name }] of job.providers.entries()) {
      if (names.has(name))
        fault(["providers", index, "name"], `expected a name of its own: ${name} is taken`);
      names.add(name);
    }
    const t = job.timing;
    if (t.leaseRenewSec + t.leaseMarginSec >= t.leaseTtlSec) {
      fault(["timing", "leaseTtlSec"], "expected more than leaseRenewSec plus leaseMarginSec");
    }
    if (t.lostSec <= t.beatSec) fault(["timing", "lostSec"], "expected more than beatSec");
    const most = t.leaseTtlSec - t.leaseMarginSec - t.leaseRenewSec;
    for (const [index, { callTimeoutSec }] of job.providers.entries()) {
      if (callTimeoutSec > most) {
        fault(
          ["providers", index, "callTimeoutSec"],
          `expected at most ${most} s: a call must end while the lease lives (leaseTtlSec less leaseMarginSec less leaseRenewSec)`,
        );
      }
    }
  });

export type JobConfig = z.output<typeof jobSchema> & {
  /** Absolute: what relative paths in it are relative to. */
  readonly baseDir: string;
};

/** For editors and other tools; published as docs/schemas/job.schema.json. */
export const jobConfigJsonSchema = (): object =>
  z.toJSONSchema(jobSchema, { io: "input", unrepresentable: "any" });

export interface ConfigFault {
  readonly path: string;
  readonly message: string;
}

/** All faults in one error. @returns an EvergrantError with CONFIG_INVALID */
export function configError(what: string, faults: readonly ConfigFault[]): EvergrantError {
  const lines = faults.map(({ path, message }) => `  ${path}: ${message}`);
  return new EvergrantError(
    "CONFIG_INVALID",
    `${what} has ${faults.length} fault(s)\n${lines.join("\n")}`,
    {
      details: { faults: faults.length },
    },
  );
}

const faultsOf = (error: z.ZodError, prefix: readonly PropertyKey[] = []): ConfigFault[] =>
  error.issues.map((issue) => ({
    path: [...prefix, ...issue.path].map(String).join(".") || "(root)",
    message: issue.message,
  }));

/** The text's value, or the parser's own faults with line and column. */
function parseYaml(text: string): { value: unknown; faults: ConfigFault[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults = document.errors.map((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    return { path: `line ${line}, column ${col}`, message: error.code };
  });
  if (faults.length === 0 && isAlias(document.contents)) return { value: undefined, faults };
  return { value: faults.length === 0 ? document.toJS({ maxAliasCount: 100 }) : undefined, faults };
}

/**
 * Judges everything but the providers' own options, which `resolveProviders` does.
 * @throws CONFIG_INVALID naming all faults
 */
export function parseJobConfig(text: string, { dir }: { readonly dir: string }): JobConfig {
  const { value, faults } = parseYaml(text);
  if (faults.length > 0) throw configError("the configuration", faults);
  const parsed = jobSchema.safeParse(value ?? {});
  if (!parsed.success) throw configError("the configuration", faultsOf(parsed.error));
  return { ...parsed.data, baseDir: resolve(dir) };
}

/**
 * Judges everything; the providers' own options too where the rest has faults, so that all are told
 * at once. @throws FILE_UNUSABLE, CONFIG_INVALID
 */
export async function readJobConfig(file: string): Promise<JobConfig> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new EvergrantError("FILE_UNUSABLE", `the configuration ${file} can't be read`, { cause });
  }
  const dir = dirname(resolve(file));
  const { value, faults } = parseYaml(text);
  const parsed = faults.length > 0 ? undefined : jobSchema.safeParse(value ?? {});
  if (parsed?.success !== false) return parseJobConfig(text, { dir });
  const entries = z.object({ providers: z.array(z.unknown()) }).safeParse(value).data?.providers;
  const own = await Promise.all(
    (entries ?? []).map(async (entry, index) => {
      const known = providerSchema.safeParse(entry);
      return known.success ? await resolveProvider(known.data, index, dir) : [];
    }),
  );
  throw configError("the configuration", [
    ...faultsOf(parsed.error),
    ...own.flatMap((judged) => (Array.isArray(judged) ? judged : [])),
  ]);
}

export interface ResolvedProvider {
  readonly config: ProviderConfig;
  readonly factory: CredentialProviderFactory;
  readonly options: unknown;
  /** Changes with anything that the credential is obtained under. */
  readonly configDigest: string;
}

/** Loads each provider's factory and judges its options. @throws CONFIG_INVALID naming all faults */
export async function resolveProviders(config: JobConfig): Promise<ResolvedProvider[]> {
  const faults: ConfigFault[] = [];
  const resolved: ResolvedProvider[] = [];
  for (const [index, entry] of config.providers.entries()) {
    const judged = await resolveProvider(entry, index, config.baseDir);
    if (Array.isArray(judged)) faults.push(...judged);
    else resolved.push(judged);
  }
  if (faults.length > 0) throw configError("the configuration", faults);
  return resolved;
}

/** One provider, or what is wrong with its own options. */
async function resolveProvider(
  entry: ProviderConfig,
  index: number,
  baseDir: string,
): Promise<ResolvedProvider | ConfigFault[]> {
  const { name: _name, kind, callTimeoutSec: _timeout, assumedLifetimeSec: _life, ...own } = entry;
  let factory: CredentialProviderFactory;
  try {
    factory = await loadProviderFactory(kind, baseDir);
  } catch (thrown) {
    const { message } = EvergrantError.from(thrown, "PLUGIN_UNUSABLE", `loading ${kind}`);
    return [{ path: `providers.${index}.kind`, message }];
  }
  const parsed = factory.options.safeParse(own);
  return parsed.success
    ? { config: entry, factory, options: parsed.data, configDigest: digestOf({ kind, own }) }
    : faultsOf(parsed.error, ["providers", index]);
}

/** The same for the same content, whatever the order of its keys. */
export function digestOf(value: unknown): string {
  const sorted = (_key: string, inner: unknown): unknown =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner;
  return createHash("sha256").update(JSON.stringify(value, sorted)).digest("base64url");
}

/** `fooSec` to `foo` as a duration in milliseconds. */
export function timingOf(config: JobConfig["timing"]): Timing {
  const entries = Object.entries(config).map(([key, value]) => [
    key.slice(0, -"Sec".length),
    value * 1000,
  ]);
  return { ...DEFAULT_TIMING, ...Object.fromEntries(entries) };
}
