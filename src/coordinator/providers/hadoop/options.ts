/** The options of provider `hadoop`, as docs/providers/hadoop.md lists them, and their resolved form. */
import { resolve } from "node:path";
import * as z from "zod";
import { nameSchema } from "../../../protocol/names.ts";

const filePath = z.string().min(1);
const principalSchema = z
  .string()
  .regex(
    /^[^@\s-][^@\s]*@[^@\s]+$/,
    "expected a principal with its realm, such as etl@EXAMPLE.COM",
  );
const httpUrl = z.url({ protocol: /^https?$/, error: "expected an http or https URL" });

const loginFields = {
  principal: principalSchema.optional().describe("Whom to log in as, with the realm"),
  keytab: filePath.optional().describe("Keytab with the principal's key"),
  ticketCache: z
    .string()
    .regex(/^(FILE:[^:]+|[^:]+)$/, "expected the path of a FILE credential cache")
    .optional()
    .describe("A credential cache that something else keeps fresh, instead of a keytab"),
  krb5Config: filePath
    .optional()
    .describe("krb5.conf of this login. Absent: the system's. Realms without trust need one each"),
  shortName: z
    .string()
    .min(1)
    .optional()
    .describe("What the servers' auth_to_local makes of the principal. Absent: its first part"),
};

const entrySchema = z.strictObject({
  kind: z.string().min(1).optional().describe("Absent: as the server named it"),
  service: z.string().describe("What the client looks the token up by"),
  alias: z.string().min(1).optional().describe("Absent: the service, as HA clients need it"),
});

const serviceSchema = z
  .strictObject({
    name: nameSchema,
    kind: z.enum(["webhdfs", "httpfs", "kms", "yarn"]),
    url: httpUrl.optional().describe("Address; for several nodes of one service use urls"),
    urls: z
      .array(httpUrl)
      .min(1)
      .optional()
      .describe("Addresses of the nodes, tried in this order"),
    nameservice: z
      .string()
      .regex(/^[A-Za-z0-9_.-]+$/)
      .optional()
      .describe("webhdfs: the logical name of an HA pair, from dfs.nameservices"),
    service: z
      .string()
      .min(1)
      .optional()
      .describe("What clients look the token up by; needed for yarn, e.g. 10.0.0.5:8032"),
    entries: z.array(entrySchema).min(1).optional().describe("Exact labels, in place of the usual"),
    renewer: z
      .string()
      .optional()
      .describe("Short name that may renew. Absent: the coordinator's own, so that it can"),
    doAs: z.string().min(1).optional().describe("Whom the token acts as (proxy user)"),
    servicePrincipal: z
      .string()
      .regex(/^[^@\s/]+@[^@\s/]+$/, "expected service@host, such as HTTP@nn1.example.com")
      .optional()
      .describe("Host-based name of the server. Absent: HTTP@ and the URL's host"),
    caFile: filePath.optional().describe("Certificates to trust for https, PEM"),
    ...loginFields,
  })
  .check(({ value, issues }) => {
    const fault = (message: string, path: string): void =>
      void issues.push({ code: "custom", message, path: [path], input: value });
    if ((value.url === undefined) === (value.urls === undefined)) {
      fault("expected either url or urls", "url");
    }
    if (value.nameservice !== undefined && value.kind !== "webhdfs") {
      fault("only webhdfs has a nameservice", "nameservice");
    }
    if (value.kind === "yarn" && value.service === undefined && value.entries === undefined) {
      fault(
        "yarn tokens come without a service: name the ResourceManager's RPC address",
        "service",
      );
    }
    if (value.kind === "yarn" && value.doAs !== undefined) {
      fault("YARN's token interface knows no proxy user", "doAs");
    }
    const rpc = value.entries?.some(({ kind }) => kind === "HDFS_DELEGATION_TOKEN");
    if (value.kind === "httpfs" && rpc === true) {
      fault("HttpFS signs its own tokens: they are no good for HDFS RPC", "entries");
    }
  });

export const hadoopOptionsSchema = z
  .strictObject({
    ...loginFields,
    doAs: z.string().min(1).optional().describe("Proxy user of every service that names none"),
    services: z.array(serviceSchema).min(1),
    cancelReplaced: z
      .enum(["never", "afterGrace"])
      .default("never")
      .describe("Whether replaced tokens are cancelled before the job ends"),
    cancelGraceSec: z
      .number()
      .min(0)
      .default(3_600)
      .describe("How long consumers may go on with a replaced token, under afterGrace"),
    serviceTimeoutSec: z
      .number()
      .positive()
      .default(7)
      .describe("After which a call goes on without a service; must be below callTimeoutSec"),
    requestTimeoutSec: z
      .number()
      .positive()
      .default(3)
      .describe("After which the next node is tried"),
    kinit: z.string().min(1).default("kinit").describe("MIT's kinit"),
  })
  .check(({ value, issues }) => {
    const seen = new Set<string>();
    value.services.forEach((service, at) => {
      const fault = (message: string, path: string): void =>
        void issues.push({ code: "custom", message, path: ["services", at, path], input: value });
      if (seen.has(service.name)) fault("two services have this name", "name");
      seen.add(service.name);
      const login = { ...pickLogin(value), ...pickLogin(service) };
      const ways = [login.keytab, login.ticketCache].filter((way) => way !== undefined).length;
      if (ways !== 1 && !(service.keytab ?? service.ticketCache)) {
        fault("expected either keytab or ticketCache, here or above", "keytab");
      }
      if (service.keytab !== undefined && service.ticketCache !== undefined) {
        fault("expected either keytab or ticketCache", "keytab");
      }
      if (login.principal === undefined) fault("whom to log in as is missing", "principal");
    });
  });
export type HadoopOptions = z.infer<typeof hadoopOptionsSchema>;

/** One identity at one KDC. Services with equal ones share a login. */
export interface LoginOptions {
  readonly principal: string;
  /** Exactly one of the two is there. */
  readonly keytab: string | undefined;
  readonly ticketCache: string | undefined;
  readonly krb5Config: string | undefined;
}

export type ServiceKind = "webhdfs" | "httpfs" | "kms" | "yarn";

/** A service with every default filled in. */
export interface ServiceOptions {
  readonly name: string;
  readonly kind: ServiceKind;
  readonly urls: readonly URL[];
  readonly nameservice: string | undefined;
  readonly service: string | undefined;
  readonly entries: readonly z.infer<typeof entrySchema>[] | undefined;
  readonly renewer: string;
  /** The login's own short name. Renewing in place works where it is the renewer. */
  readonly shortName: string;
  readonly doAs: string | undefined;
  readonly servicePrincipal: string | undefined;
  readonly caFile: string | undefined;
  readonly login: LoginOptions;
}

/** Fills in what services take from the level above. @param baseDir what relative paths are relative to. */
export function resolveServices(
  options: HadoopOptions,
  baseDir: string,
): readonly ServiceOptions[] {
  const at = (path: string | undefined): string | undefined => path && resolve(baseDir, path);
  return options.services.map((service) => {
    const own = pickLogin(service);
    // A service's own way to log in replaces the other way of the level above.
    const above = pickLogin(options);
    if (own.keytab !== undefined) above.ticketCache = undefined;
    if (own.ticketCache !== undefined) above.keytab = undefined;
    const login = { ...above, ...own };
    const principal = login.principal ?? "";
    const shortName =
      own.shortName ??
      (own.principal === undefined ? above.shortName : undefined) ??
      firstPart(principal);
    const { name, kind, nameservice, entries, servicePrincipal, caFile } = service;
    return {
      name,
      kind,
      urls: (service.urls ?? (service.url === undefined ? [] : [service.url])).map(
        (url) => new URL(url),
      ),
      nameservice,
      service: service.service,
      entries,
      renewer: service.renewer ?? shortName,
      shortName,
      doAs: service.doAs ?? (kind === "yarn" ? undefined : options.doAs),
      servicePrincipal,
      caFile: at(caFile),
      login: {
        principal,
        keytab: at(login.keytab),
        ticketCache: at(login.ticketCache?.replace(/^FILE:/, "")),
        krb5Config: at(login.krb5Config),
      },
    };
  });
}

const firstPart = (principal: string): string => principal.split(/[/@]/)[0] ?? principal;

interface LoginFields {
  principal?: string | undefined;
  keytab?: string | undefined;
  ticketCache?: string | undefined;
  krb5Config?: string | undefined;
  shortName?: string | undefined;
}

/** The login fields that are set, so that spreading them replaces only those. */
function pickLogin(from: LoginFields): LoginFields {
  const picked: LoginFields = {};
  for (const field of ["principal", "keytab", "ticketCache", "krb5Config", "shortName"] as const) {
    if (from[field] !== undefined) picked[field] = from[field];
  }
  return picked;
}
