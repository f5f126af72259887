/**
 * Somebody on the network of a world with real seals who replays and forges bundles. It has all that
 * was ever broadcast and, being an agent itself, the group keys; it lacks the job's signing key.
 */
import { type Bundle, MAX_SEALED_BYTES, sealBundle } from "../../src/protocol/bundle.ts";
import { text, utf8 } from "../../src/protocol/encoding.ts";
import { createSigningKey, groupKeyIn } from "../../src/protocol/keys.ts";
import { sealNotice } from "../../src/protocol/notice.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { durationMs, later } from "../../src/protocol/time.ts";
import type { JoseSeals } from "./jose-seals.ts";
import type { Forgery, Genuine } from "./seal-book.ts";
import { JOB } from "./sim-coordinator.ts";
import type { World } from "./world.ts";

const WAYS = [
  "altered version",
  "no signature",
  "signed by an agent",
  "signed by a stranger",
  "another kind of document",
  "noise",
  "too large",
] as const;
type Way = (typeof WAYS)[number];

export class Forger {
  readonly #world: World;
  readonly #seals: JoseSeals;

  constructor(world: World, seals: JoseSeals) {
    this.#world = world;
    this.#seals = seals;
  }

  begin(): void {
    const { timeline, chance, profile } = this.#world;
    const wait = -Math.log(1 - chance.unit()) * profile.every;
    timeline.after(wait, () => {
      if (this.#world.healed) return;
      if (chance.happens(0.3)) this.#replay();
      else this.#forge();
      this.begin();
    });
  }

  #replay(): void {
    const sealed = this.#seals.book.any(this.#world.chance.unit());
    if (sealed !== undefined) this.#play("replayed", sealed);
  }

  #forge(): void {
    const { timeline, chance } = this.#world;
    const { newest } = this.#seals.book;
    if (newest === undefined) return;
    // An operator may have taken its key sets out of the file: nobody has or accepts those keys any more.
    const { file } = this.#seals;
    if (!file.sets.some(({ signing }) => signing.kid === newest.signer)) return;
    if (groupKeyIn(file, newest.kid) === undefined) return;
    const how = chance.pick(WAYS);
    timeline.send(this.#make(how, newest), (forgery) => {
      this.#seals.book.enterForged(forgery, how);
      this.#play(how, forgery.bytes);
    });
  }

  async #make(how: Way, { bytes, bundle, kid, signer }: Genuine): Promise<Forgery> {
    const { file, random } = this.#seals;
    const code = "MESSAGE_FORGED";
    switch (how) {
      case "altered version":
        return { bytes: withGeneration(bytes, bundle.generation + 1), signer, code };
      case "no signature":
        return { bytes: bytes.slice(0, bytes.lastIndexOf(DOT) + 1), signer, code };
      case "noise":
        return { bytes: random.bytes(300), signer: undefined, code };
      case "too large":
        return {
          bytes: new Uint8Array(MAX_SEALED_BYTES + 1).fill(DOT),
          signer: undefined,
          code: "MESSAGE_TOO_LARGE",
        };
      case "another kind of document": {
        const signing = file.sets.find((set) => set.signing.kid === signer)?.signing;
        if (signing === undefined) throw new RangeError(`no key ${signer}`);
        const what = { kind: "report" } as const;
        const notice = { v: 1 as const, ...JOB, term: 1, sequence: 1, timeMs: 0, what };
        return { bytes: await sealNotice(notice, signing), signer, code };
      }
      case "signed by an agent":
      case "signed by a stranger": {
        const group = groupKeyIn(file, kid);
        if (group === undefined) throw new RangeError(`no group key ${kid}`);
        const own = await createSigningKey(random);
        const signing = how === "signed by an agent" ? { ...own, kid: signer } : own;
        return { bytes: await sealBundle(evil(bundle), group, signing), signer: signing.kid, code };
      }
    }
  }

  /** To one agent, or to all as a broadcast would come. */
  #play(how: string, sealed: Uint8Array): void {
    const { agents, chance, nats, faults } = this.#world;
    this.#world.trace("forger", `plays ${how}`, sealed);
    faults.met.set(how, (faults.met.get(how) ?? 0) + 1);
    for (const agent of chance.happens(0.5) ? agents : [chance.pick(agents)]) {
      nats.toNode(agent.node, () => agent.emitLink?.({ kind: "bundle", sealed }));
    }
  }
}

/** Newer than the genuine one, and with credentials of the forger's. */
const evil = (bundle: Bundle): Bundle => ({
  ...bundle,
  generation: bundle.generation + 1,
  expiresAt: later(bundle.expiresAt, durationMs(3_600_000)),
  credentials: bundle.credentials.map((credential) => ({
    ...credential,
    material: new Secret({ ...credential.material.reveal(), secretAccessKey: "forged" }),
  })),
});

const DOT = ".".charCodeAt(0);

/** The same bytes but for the generation in the readable part, which the signature covers. */
function withGeneration(sealed: Uint8Array, generation: number): Uint8Array {
  const [head, payload = "", signature] = text(sealed).split(".");
  const [header = "", ...rest] = decoded(payload).split(".");
  const altered = encoded(JSON.stringify({ ...JSON.parse(decoded(header)), generation }));
  return utf8([head, encoded([altered, ...rest].join(".")), signature].join("."));
}

const decoded = (part: string): string => Buffer.from(part, "base64url").toString("utf8");
const encoded = (part: string): string => Buffer.from(part, "utf8").toString("base64url");
