/**
 * What the token file holds next: ours as of now, and what others have put there. Pure. Entries are
 * told apart by alias, never by kind: several services of one kind exist. HA clients replace a token
 * only under the alias that they know, so an entry of ours always keeps its alias.
 */
import type { HadoopTokens } from "../../../protocol/credential.ts";
import { type HadoopToken, tokenFromUrlString } from "../../../protocol/hadoop/token.ts";
import type { TokenStorage } from "../../../protocol/hadoop/token-storage.ts";
import { Secret } from "../../../protocol/secret.ts";
import { durationMs, type EpochMs, later, type MonoMs, monoMs } from "../../../protocol/time.ts";
import type { OwnAliases } from "./own-entries.ts";

/** One token of ours and the instant from which it must not be handed out (I2). */
export interface OwnToken {
  readonly alias: string;
  readonly token: HadoopToken;
  readonly until: MonoMs;
}

export interface OwnContent {
  readonly tokens: readonly OwnToken[];
  readonly secrets: ReadonlyMap<string, Secret<Uint8Array>>;
}

/**
 * The content of a credential.
 * @param end the credential's own end, on the issuer's clock and on this process's.
 * @throws MESSAGE_MALFORMED when a token in it is none.
 */
export function ownContent(
  material: HadoopTokens,
  end: { readonly expiresAt: EpochMs; readonly until: MonoMs },
): OwnContent {
  const tokens = material.tokens.map(({ alias, urlString, expiresAtMs }) => ({
    alias,
    token: tokenFromUrlString(urlString),
    until: later(end.until, durationMs((expiresAtMs ?? end.expiresAt) - end.expiresAt)),
  }));
  const secrets = (material.secrets ?? []).map(
    ({ alias, valueBase64 }) =>
      [alias, new Secret(new Uint8Array(Buffer.from(valueBase64, "base64")))] as const,
  );
  return { tokens, secrets: new Map(secrets) };
}

/** Ours that are alive at `now`. */
export function alive(content: OwnContent, now: MonoMs): OwnContent {
  return { ...content, tokens: content.tokens.filter(({ until }) => until > now) };
}

/** When the next one of ours ends; undefined: none is left to end. */
export function nextEnd(content: OwnContent, now: MonoMs): MonoMs | undefined {
  const ends = content.tokens.map(({ until }) => until).filter((until) => until > now);
  return ends.length === 0 ? undefined : monoMs(Math.min(...ends));
}

/** The aliases of a content. */
export function aliasesOf(content: OwnContent): OwnAliases {
  return {
    tokens: new Set(content.tokens.map(({ alias }) => alias)),
    secrets: new Set(content.secrets.keys()),
  };
}

/** What is in the file, less what was ours, with what is ours now. Ours win over foreign ones of the same alias. */
export function merged(
  found: TokenStorage,
  formerlyOwn: OwnAliases,
  own: OwnContent,
): TokenStorage {
  const tokens = new Map<string, HadoopToken>();
  for (const [alias, token] of found.tokens) {
    if (!formerlyOwn.tokens.has(alias)) tokens.set(alias, token);
  }
  for (const { alias, token } of own.tokens) tokens.set(alias, token);
  const secrets = new Map<string, Secret<Uint8Array>>();
  for (const [alias, secret] of found.secrets) {
    if (!formerlyOwn.secrets.has(alias)) secrets.set(alias, secret);
  }
  for (const [alias, secret] of own.secrets) secrets.set(alias, secret);
  return { tokens, secrets };
}

/** Whether a file's content has every entry of ours, byte for byte. */
export function holds(found: TokenStorage, own: OwnContent): boolean {
  return (
    own.tokens.every(({ alias, token }) => {
      const there = found.tokens.get(alias);
      return there !== undefined && equalTokens(there, token);
    }) &&
    [...own.secrets].every(([alias, secret]) => {
      const there = found.secrets.get(alias);
      return there !== undefined && Buffer.from(there.reveal()).equals(secret.reveal());
    })
  );
}

function equalTokens(a: HadoopToken, b: HadoopToken): boolean {
  return (
    a.kind === b.kind &&
    a.service === b.service &&
    Buffer.from(a.identifier).equals(b.identifier) &&
    Buffer.from(a.password.reveal()).equals(b.password.reveal())
  );
}
