/**
 * Under which kind, service and alias a token goes into the file, so that its client finds it.
 * Owns the rules of reference section 3: the alias equals the service (HA clients replace their
 * private copies by it), an HttpFS token is never labelled for RPC, a KMS token goes by two names.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type HadoopToken, relabel } from "../../../protocol/hadoop/token.ts";
import type { ServiceOptions } from "./options.ts";

export interface LabelledToken {
  readonly alias: string;
  readonly token: HadoopToken;
}

/** The IPv4 address of a host; undefined when it has none. */
export type Resolve = (host: string) => Promise<string | undefined>;

export const resolveHost: Resolve = async (host) => {
  const bare = host.replace(/^\[|\]$/g, "");
  if (isIP(bare) !== 0) return bare;
  try {
    return (await lookup(bare, { family: 4 })).address;
  } catch {
    return undefined;
  }
};

/** Every entry for one token. At least one. */
export async function labelled(
  service: ServiceOptions,
  token: HadoopToken,
  resolve: Resolve,
): Promise<readonly LabelledToken[]> {
  const under = (label: string, kind?: string): LabelledToken => ({
    alias: label,
    token: relabel(token, { kind, service: label }),
  });
  if (service.entries !== undefined) {
    return service.entries.map((entry) => ({
      alias: entry.alias ?? entry.service,
      token: relabel(token, { kind: entry.kind, service: entry.service }),
    }));
  }
  switch (service.kind) {
    case "webhdfs":
      return forNameNode(service, token, under);
    case "httpfs":
      return [under(service.service ?? (await socketOf(service, resolve)))];
    case "kms": {
      const provider = under(service.service ?? kmsProviderUri(service.urls), "kms-dt");
      const older = under(await socketOf(service, resolve), "kms-dt");
      return older.alias === provider.alias ? [provider] : [provider, older];
    }
    case "yarn":
      return [under(service.service ?? token.service)];
  }
}

function forNameNode(
  { nameservice, service, urls }: ServiceOptions,
  token: HadoopToken,
  under: (label: string, kind?: string) => LabelledToken,
): readonly LabelledToken[] {
  const rpcKind = "HDFS_DELEGATION_TOKEN";
  if (nameservice === undefined) return [under(service ?? token.service, rpcKind)];
  const web = urls[0]?.protocol === "https:" ? "swebhdfs" : "webhdfs";
  return [
    under(service ?? `ha-hdfs:${nameservice}`, rpcKind),
    under(`ha-${web}:${nameservice}`, `${web.toUpperCase()} delegation`),
  ];
}

/** `kms://https@h1;h2:9600/kms`, as clients since 3.2 name their provider. */
function kmsProviderUri(urls: readonly URL[]): string {
  const first = urls[0];
  const hosts = urls.map(({ hostname }) => hostname).join(";");
  return `kms://${first?.protocol.replace(":", "") ?? "https"}@${hosts}:${first ? portOf(first) : ""}/kms`;
}

async function socketOf({ urls }: ServiceOptions, resolve: Resolve): Promise<string> {
  const [first] = urls;
  if (first === undefined) return "";
  return `${(await resolve(first.hostname)) ?? first.hostname.toLowerCase()}:${portOf(first)}`;
}

const portOf = (url: URL): string => url.port || (url.protocol === "https:" ? "443" : "80");
