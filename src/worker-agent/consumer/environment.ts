/**
 * One environment for the consumers of an agent from those of its receivers. Pure. Owns what a
 * conflict is and who wins; refuses to know which variable means what, save for NO_PROXY, which is a
 * list.
 */
import { EvergrantError } from "../../protocol/errors.ts";
import type { ConsumerEnvironment } from "../ports/credential-receiver.ts";

/** What one receiver wants. */
export interface EnvironmentPart {
  readonly provider: string;
  /** The receiver's kind. */
  readonly receiver: string;
  readonly environment: ConsumerEnvironment;
}

export interface MergeOptions {
  /** The providers that win where two want the same variable; at most one of each sort of credential. */
  readonly defaultProvider?: string | readonly string[] | undefined;
}

/** Lists, joined rather than fought over. Python's clients read the second name before the first. */
const NO_PROXY = ["NO_PROXY", "no_proxy"] as const;
const isList = (name: string): boolean => name.toUpperCase() === "NO_PROXY";

/**
 * The union of all parts. Two parts conflict when one sets a variable that the other sets otherwise
 * or removes. Between two receivers of one provider the earlier wins whole; between providers the
 * default one does. What loses is left out whole, so that no consumer gets one provider's address
 * with another's token.
 *
 * Call it when the first credentials are applied: some variables are known only then.
 *
 * @throws EvergrantError `CONFIG_INVALID` naming both providers when neither is the default one, and
 *   for a default provider that no receiver serves.
 */
export function mergeEnvironments(
  parts: readonly EnvironmentPart[],
  options: MergeOptions = {},
): ConsumerEnvironment {
  const preferred = new Set([options.defaultProvider ?? []].flat());
  for (const provider of preferred) {
    if (parts.some((part) => part.provider === provider)) continue;
    const known = [...new Set(parts.map((part) => part.provider))].join(", ");
    throw new EvergrantError(
      "CONFIG_INVALID",
      `defaultProvider "${provider}" is served by no receiver; served are ${known || "none"}`,
    );
  }
  const ordered = [
    ...parts.filter((part) => preferred.has(part.provider)),
    ...parts.filter((part) => !preferred.has(part.provider)),
  ];
  const kept: EnvironmentPart[] = [];
  for (const part of ordered) if (!losesTo(part, kept, preferred)) kept.push(part);
  return union(kept.map((part) => part.environment));
}

/** The child's environment: `base` less what is to be unset, with what is to be set; NO_PROXY is joined. */
export function appliedTo(
  base: Readonly<Record<string, string | undefined>>,
  environment: ConsumerEnvironment,
): Record<string, string> {
  const result: Record<string, string> = {};
  const unset = new Set(environment.unset);
  for (const [name, value] of Object.entries(base)) {
    if (value !== undefined && !unset.has(name)) result[name] = value;
  }
  for (const [name, value] of Object.entries(environment.set)) {
    result[name] = isList(name) ? joined([base["NO_PROXY"], base["no_proxy"], value]) : value;
  }
  return result;
}

/** Whether an earlier part keeps this one out. @throws EvergrantError `CONFIG_INVALID` */
function losesTo(
  part: EnvironmentPart,
  earlier: readonly EnvironmentPart[],
  preferred: ReadonlySet<string>,
): boolean {
  for (const other of earlier) {
    const name = conflict(part.environment, other.environment);
    if (name === undefined) continue;
    const same = part.provider === other.provider;
    if (same || (preferred.has(other.provider) && !preferred.has(part.provider))) return true;
    throw new EvergrantError(
      "CONFIG_INVALID",
      `providers "${other.provider}" (${other.receiver}) and "${part.provider}" (${part.receiver}) both want ${name} in the consumer's environment: name one of them as defaultProvider`,
      { details: { variable: name, first: other.provider, second: part.provider } },
    );
  }
  return false;
}

/** The first variable that the two want otherwise. */
function conflict(a: ConsumerEnvironment, b: ConsumerEnvironment): string | undefined {
  const fought = Object.entries(a.set).find(
    ([name, value]) =>
      !isList(name) &&
      ((Object.hasOwn(b.set, name) && b.set[name] !== value) || b.unset.includes(name)),
  );
  return fought?.[0] ?? Object.keys(b.set).find((name) => !isList(name) && a.unset.includes(name));
}

function union(environments: readonly ConsumerEnvironment[]): ConsumerEnvironment {
  const set: Record<string, string> = {};
  for (const environment of environments) {
    for (const [name, value] of Object.entries(environment.set))
      if (!isList(name)) set[name] = value;
  }
  const hosts = joined(environments.flatMap(({ set }) => NO_PROXY.map((name) => set[name])));
  if (hosts !== "") for (const name of NO_PROXY) set[name] = hosts;
  const unset = new Set(environments.flatMap((environment) => environment.unset));
  return { set, unset: [...unset].filter((name) => !Object.hasOwn(set, name)) };
}

/** Comma-separated lists as one, each host once, in the order of first appearance. */
function joined(lists: readonly (string | undefined)[]): string {
  const hosts = lists.flatMap((list) => (list ?? "").split(",")).map((host) => host.trim());
  return [...new Set(hosts.filter((host) => host !== ""))].join(",");
}
