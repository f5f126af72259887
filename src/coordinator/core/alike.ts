/**
 * What ten thousand agents say alike is kept once: each of these gives back an object that is there
 * already, where it says the same (docs/performance.md, "Memory of the coordinator").
 */
import { compareVersions, type Version } from "../../protocol/names.ts";
import type { ReceiverResult } from "../../protocol/report.ts";
import type { Core } from "./core.ts";

export const NONE: Readonly<Record<string, never>> = {};

export const orNone = <T>(said: Readonly<Record<string, T>>): Readonly<Record<string, T>> =>
  Object.keys(said).length === 0 ? NONE : said;

export const failingOf = (failed: readonly ReceiverResult[]): Readonly<Record<string, string>> =>
  failed.length === 0
    ? NONE
    : Object.fromEntries(
        failed.map((r) => [`${r.kind}/${r.provider}`, r.code ?? "RECEIVER_FAILED"]),
      );

type Receivers = readonly { readonly kind: string; readonly provider: string }[];

/** `last` where `receivers` says the same. */
export function sharedReceivers(last: Receivers, receivers: Receivers): Receivers {
  const alike =
    last.length === receivers.length &&
    last.every(({ kind, provider }, i) => {
      const other = receivers[i];
      return kind === other?.kind && provider === other.provider;
    });
  return alike ? last : receivers;
}

/** The published version's own object where it is that. */
export function sharedVersion({ publisher }: Core, version: Version): Version {
  const { published } = publisher;
  return published !== undefined && compareVersions(published, version) === 0 ? published : version;
}
