/**
 * What a command has printed, read as a credential. Pure. Two forms: evergrant's own, and that of
 * the AWS CLI's `credential_process`. No value of the output goes into an error.
 */
import * as z from "zod";
import {
  AWS_SESSION,
  awsSessionSchema,
  GOOGLE_TOKEN,
  googleTokenSchema,
  HADOOP_TOKENS,
  hadoopTokensSchema,
  type Material,
} from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { type EpochMs, epochMs } from "../../../protocol/time.ts";
import type { Obtained } from "../../ports/credential-provider.ts";

/** With a zone: an instant without one would mean something else on each machine. */
const instantSchema = z
  .string()
  .regex(/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/)
  .refine((text) => !Number.isNaN(Date.parse(text)));

const ownForm = z.strictObject({
  version: z.literal(1),
  credentialKind: z.string().min(1).max(64),
  material: z.record(z.string(), z.unknown()),
  expiresAt: instantSchema.optional(),
  issuedAt: instantSchema.optional(),
  attributes: z.record(z.string(), z.string()).optional(),
});

const credentialProcessForm = z.object({
  Version: z.literal(1),
  AccessKeyId: z.string(),
  SecretAccessKey: z.string(),
  SessionToken: z.string(),
  Expiration: instantSchema.optional(),
  AccountId: z.string().optional(),
});

/** Kinds whose material is known; that of any other is passed on as it is. */
const MATERIAL: Readonly<Record<string, z.ZodType<Material>>> = {
  [AWS_SESSION]: awsSessionSchema,
  [GOOGLE_TOKEN]: googleTokenSchema,
  [HADOOP_TOKENS]: hadoopTokensSchema,
};

/** @throws EvergrantError ISSUER_ANSWER_UNUSABLE that names the faulty fields, and no value. */
export function readOutput(stdout: Uint8Array, credentialKind: string): Obtained {
  const document = parseJson(stdout);
  const foreign = typeof document === "object" && document !== null && "Version" in document;
  const { kind, material, ...rest } = foreign ? fromCredentialProcess(document) : fromOwn(document);
  if (kind !== credentialKind) {
    throw unusable(`its credential is of another kind than configured (${credentialKind})`);
  }
  const known = Object.hasOwn(MATERIAL, kind) ? MATERIAL[kind] : undefined;
  if (known !== undefined) checked(known, material, "material.");
  return { material: new Secret(material), ...rest };
}

type Read = Omit<Obtained, "material"> & { readonly kind: string; readonly material: Material };

function fromOwn(document: unknown): Read {
  const { credentialKind, material, expiresAt, issuedAt, attributes } = checked(ownForm, document);
  return {
    kind: credentialKind,
    material,
    expiresAt: instantOf(expiresAt),
    ...(issuedAt === undefined ? {} : { issuedAt: epochMs(Date.parse(issuedAt)) }),
    attributes: attributes ?? {},
  };
}

function fromCredentialProcess(document: unknown): Read {
  const read = checked(credentialProcessForm, document);
  return {
    kind: AWS_SESSION,
    material: {
      accessKeyId: read.AccessKeyId,
      secretAccessKey: read.SecretAccessKey,
      sessionToken: read.SessionToken,
    },
    expiresAt: instantOf(read.Expiration),
    attributes: read.AccountId === undefined ? {} : { accountId: read.AccountId },
  };
}

const instantOf = (text: string | undefined): EpochMs | undefined =>
  text === undefined ? undefined : epochMs(Date.parse(text));

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw unusable("it is no JSON");
  }
}

function checked<T>(schema: z.ZodType<T>, value: unknown, under = ""): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  // Paths of unknown keys may be anything that the command has printed: only known names are shown.
  const faults = parsed.error.issues.map(({ path, code }) => {
    const at = path.filter((part) => typeof part === "string" && /^\w{1,40}$/.test(part));
    return `${under}${at.slice(0, 2).join(".")} (${code})`;
  });
  throw unusable(`faulty: ${[...new Set(faults)].join(", ")}`);
}

const unusable = (what: string): EvergrantError =>
  new EvergrantError("ISSUER_ANSWER_UNUSABLE", `the command's output is unusable: ${what}`);
