/**
 * Credentials as an async iterator of the latest state: one place per provider, in which the newest
 * replaces what was not taken yet. A consumer that never comes back costs one credential each.
 */
import type { Credential } from "../protocol/credential.ts";

/** Iterate it once. `return` (or leaving the loop) closes it. */
export type CredentialStream = AsyncIterableIterator<Credential>;

export interface CredentialStreams {
  /** A stream that begins with `first`. After `close` it ends at once. */
  open(first: readonly Credential[]): CredentialStream;
  push(credential: Credential): void;
  /** Ends all streams. */
  close(): void;
}

interface Place {
  readonly pending: Map<string, Credential>;
  waiting: ((result: IteratorResult<Credential>) => void)[];
  ended: boolean;
}

const END: IteratorResult<Credential> = { done: true, value: undefined };

/** @param alive whether the credential may still be handed out (I2): what has waited too long is dropped. */
export function credentialStreams(alive: (credential: Credential) => boolean): CredentialStreams {
  const places = new Set<Place>();
  let closed = false;

  function end(place: Place): void {
    place.ended = true;
    place.pending.clear();
    places.delete(place);
    for (const resolve of place.waiting.splice(0)) resolve(END);
  }

  function put(place: Place, credential: Credential): void {
    const resolve = place.waiting.shift();
    if (resolve !== undefined) resolve({ done: false, value: credential });
    else {
      // Taken out first, so that the newest also comes last.
      place.pending.delete(credential.provider);
      place.pending.set(credential.provider, credential);
    }
  }

  function take(place: Place): Promise<IteratorResult<Credential>> {
    for (const [provider, value] of place.pending) {
      place.pending.delete(provider);
      if (!alive(value)) continue;
      return Promise.resolve({ done: false, value });
    }
    if (place.ended) return Promise.resolve(END);
    return new Promise((resolve) => place.waiting.push(resolve));
  }

  return {
    open(first) {
      const place: Place = { pending: new Map(), waiting: [], ended: closed };
      if (!closed) {
        places.add(place);
        for (const credential of first) put(place, credential);
      }
      const stream: CredentialStream = {
        next: () => take(place),
        return: () => {
          end(place);
          return Promise.resolve(END);
        },
        [Symbol.asyncIterator]: () => stream,
      };
      return stream;
    },
    push(credential) {
      for (const place of places) put(place, credential);
    },
    close() {
      closed = true;
      for (const place of [...places]) end(place);
    },
  };
}
