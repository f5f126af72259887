/**
 * The border to providers of third parties. A plug-in may have its own copy of evergrant, or none,
 * so nothing here asks for an instance of a class: errors are known by their `code`, secrets are
 * boxed on entry, and what a plug-in returns is checked before anything believes it.
 */
import * as z from "zod";
import { ERROR_CODES, type ErrorCode, EvergrantError } from "../../protocol/errors.ts";
import { Secret } from "../../protocol/secret.ts";
import { durationMs, epochMs } from "../../protocol/time.ts";
import type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
} from "../ports/credential-provider.ts";

const isFunction = (value: unknown): boolean => typeof value === "function";
const method = z.custom<(...given: unknown[]) => unknown>(isFunction, "expected a function");

/** What `provider` of a plug-in must be. Its options may be a zod schema, or anything with `safeParse`. */
const factoryShape = z.looseObject({
  kind: z.string().min(1),
  options: z.custom<CredentialProviderFactory["options"]>(
    (value) =>
      typeof value === "object" &&
      value !== null &&
      "safeParse" in value &&
      isFunction(value.safeParse),
    "expected a zod schema, or an object with safeParse",
  ),
  create: method,
});

const providerShape = z.looseObject({
  credentialKind: z.string().min(1).max(64),
  minRemaining: z.number().min(0).optional(),
  obtain: method,
  cancel: method.optional(),
  close: method.optional(),
});

const instant = z.number().min(0);
const obtainedShape = z.object({
  expiresAt: instant.optional(),
  issuedAt: instant.optional(),
  issuerTime: instant.optional(),
  attributes: z.record(z.string(), z.string()).optional(),
  problem: z.unknown().optional(),
});

/** @throws EvergrantError PLUGIN_UNUSABLE with every fault of the shape. */
export function adoptPlugin(exported: unknown, name: string): CredentialProviderFactory {
  const what = `the export "provider" of ${name}`;
  const factory = shaped(factoryShape, exported, what);
  if (factory.kind !== name) {
    const message = `${what} is unusable: kind: expected "${name}", the package's name`;
    throw new EvergrantError("PLUGIN_UNUSABLE", message);
  }
  const { kind, options } = factory;
  return {
    kind,
    options,
    create(given, services) {
      let made: unknown;
      try {
        made = factory.create(given, services);
      } catch (thrown) {
        throw adoptError(thrown, name, "PLUGIN_UNUSABLE", "creating a provider");
      }
      return adoptProvider(made, name);
    },
  };
}

function adoptProvider(made: unknown, name: string): CredentialProvider {
  const shape = shaped(providerShape, made, `what ${name} creates`);
  // Methods are called on the plug-in's own object: it may be a class with private fields.
  const own = made as Readonly<
    Record<"obtain" | "cancel" | "close", (...given: unknown[]) => unknown>
  >;
  const guarded = async (doing: string, work: () => unknown): Promise<unknown> => {
    try {
      return await work();
    } catch (thrown) {
      throw adoptError(thrown, name, "PROVIDER_FAILED", doing);
    }
  };
  return {
    credentialKind: shape.credentialKind,
    minRemaining: durationMs(shape.minRemaining ?? 0),
    obtain: async (context: ObtainContext) =>
      adoptObtained(await guarded("obtaining", () => own.obtain(context)), name),
    ...(shape.cancel === undefined
      ? {}
      : {
          cancel: async (credential, signal) => {
            await guarded("cancelling", () => own.cancel(credential, signal));
          },
        }),
    close: async () => {
      if (shape.close !== undefined) await guarded("closing", () => own.close());
    },
  };
}

function adoptObtained(returned: unknown, name: string): Obtained {
  const what = `what ${name} obtained`;
  const shape = obtainedShape.safeParse(returned);
  const material = materialOf(returned);
  if (!shape.success || material === undefined) {
    const faults = shape.success ? "material: expected an object" : faultsOf(shape.error);
    throw new EvergrantError("PROVIDER_FAILED", `${what} is not of the documented form: ${faults}`);
  }
  const { expiresAt, issuedAt, issuerTime, attributes, problem } = shape.data;
  return {
    material,
    expiresAt: expiresAt === undefined ? undefined : epochMs(expiresAt),
    ...(issuedAt === undefined ? {} : { issuedAt: epochMs(issuedAt) }),
    ...(issuerTime === undefined ? {} : { issuerTime: epochMs(issuerTime) }),
    attributes: attributes ?? {},
    ...(problem === undefined
      ? {}
      : { problem: adoptError(problem, name, "PROVIDER_FAILED", "a part of obtaining") }),
  };
}

type Material = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Material =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The material as a plain object or in any box with `reveal()`, in our own box. */
function materialOf(returned: unknown): Secret<Material> | undefined {
  const given = isObject(returned) ? returned["material"] : undefined;
  if (given instanceof Secret) return isObject(given.reveal()) ? given : undefined;
  if (!isObject(given)) return undefined;
  const reveal = given["reveal"];
  const value: unknown = typeof reveal === "function" ? reveal.call(given) : given;
  return isObject(value) ? new Secret(value) : undefined;
}

const isCode = (value: unknown): value is ErrorCode =>
  typeof value === "string" && (ERROR_CODES as readonly string[]).includes(value);

/**
 * A plug-in's error under our codes. One that bears a code of ours was made to be shown, so its text
 * is taken; of any other only the type's name is, and never as a cause, since it may hold secrets.
 */
function adoptError(
  thrown: unknown,
  name: string,
  fallback: ErrorCode,
  doing: string,
): EvergrantError {
  if (thrown instanceof EvergrantError) return thrown;
  const code =
    isObject(thrown) || thrown instanceof Error ? (thrown as { code?: unknown }).code : undefined;
  if (isCode(code) && thrown instanceof Error) {
    const text = thrown.message.replace(`[${code}] `, "");
    return new EvergrantError(code, `${name}: ${text}`);
  }
  const what = thrown instanceof Error ? thrown.name : typeof thrown;
  return new EvergrantError(isCode(code) ? code : fallback, `${name}: ${doing} failed (${what})`);
}

function shaped<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new EvergrantError("PLUGIN_UNUSABLE", `${what} is unusable: ${faultsOf(parsed.error)}`);
}

const faultsOf = (error: z.ZodError): string =>
  error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`).join("; ");
