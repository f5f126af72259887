/**
 * Receiver `google-metadata`: the metadata server of a Google virtual machine on loopback, which every
 * Google client asks again by itself (delivery.md, section 4.2). Owns the listener's life, its port,
 * the optional token file, and the environment that leads consumers to it; the serving itself is
 * metadata-server.ts.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { type Credential, GOOGLE_TOKEN, googleTokenSchema } from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { durationMs } from "../../../protocol/time.ts";
import { removeDurably, removeLeftOvers, writeAtomically } from "../../../runtime/atomic-file.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../../ports/credential-receiver.ts";
import { groupId, userId } from "../file-mode.ts";
import { takePort } from "../loopback-port.ts";
import { Turns } from "../turns.ts";
import { googleEnvironment } from "./environment.ts";
import { type HeldToken, MetadataServer } from "./metadata-server.ts";
import type { MetadataFacts } from "./metadata-tree.ts";
import { type GoogleMetadataOptions, googleMetadataOptions } from "./options.ts";

const DEFAULT_UNIVERSE = "googleapis.com";
/** Found by HOME alone in older clients, whatever CLOUDSDK_CONFIG says. */
const DEFAULT_CREDENTIALS = join(
  homedir(),
  ".config",
  "gcloud",
  "application_default_credentials.json",
);

class GoogleMetadataReceiver implements CredentialReceiver {
  readonly #options: GoogleMetadataOptions;
  readonly #services: ReceiverServices;
  readonly #server: MetadataServer;
  readonly #turns = new Turns();
  #port = 0;
  #projectId: string | undefined;
  #owner = { uid: -1, gid: -1 };

  constructor(options: GoogleMetadataOptions, services: ReceiverServices) {
    this.#options = options;
    this.#services = services;
    this.#projectId = options.projectId;
    this.#server = new MetadataServer({
      hold: durationMs(options.holdMs),
      facts: this.#facts({}),
      clock: services.clock,
      random: services.random,
      observe: services.observe?.bind(services),
    });
  }

  /** The returned `set` grows GOOGLE_CLOUD_PROJECT once a token that names one is applied: read it after that. */
  async start(): Promise<ConsumerEnvironment> {
    const { random, log, stateDir } = this.#services;
    const { port, gcloudConfig, tokenFile, tokenFileOwner, tokenFileGroup } = this.#options;
    await mkdir(this.#folder(), { recursive: true, mode: 0o700 });
    this.#owner = { uid: userId(tokenFileOwner), gid: groupId(tokenFileGroup) };
    if (tokenFile !== undefined) await prepareFolder(tokenFile);
    const own: Record<string, string> =
      tokenFile === undefined ? {} : { CLOUDSDK_AUTH_ACCESS_TOKEN_FILE: tokenFile };
    if (gcloudConfig === "hide") own["CLOUDSDK_CONFIG"] = await this.#emptyConfig();
    if (existsSync(DEFAULT_CREDENTIALS)) {
      const message =
        "Node.js clients with a google-auth-library before 10.9 take these credentials and not the agent's: remove the file, or give consumers another HOME";
      log("warn", message, { path: DEFAULT_CREDENTIALS });
    }
    this.#port = await takePort(
      {
        port,
        ipv6: false,
        memory: stateDir === undefined ? undefined : join(stateDir, `${this.#name()}.port`),
        random,
        warn: (message, facts) => log("warn", message, facts),
      },
      (where) => this.#server.listen(where),
    );
    const environment = () => googleEnvironment(this.#port, own, this.#projectId);
    return {
      get set() {
        return environment().set;
      },
      unset: environment().unset,
    };
  }

  async apply(serving: Serving): Promise<void> {
    const token = this.#read(serving.credential);
    const { tokenFile } = this.#options;
    if (this.#services.clock.now().mono >= serving.until) {
      throw new EvergrantError("RECEIVER_FAILED", "the credential has ended before it was applied");
    }
    // First the file: a disk that is full then leaves both as they were.
    if (tokenFile !== undefined) await this.#write(tokenFile, token.accessToken);
    await this.#server.serve(token, serving.until, this.#port);
    this.#projectId = token.facts.projectId ?? this.#projectId;
  }

  async withdraw(): Promise<void> {
    this.#server.clear();
    const { tokenFile } = this.#options;
    if (tokenFile === undefined) return;
    await this.#turns.take(async () => {
      await removeDurably(tokenFile);
      return true;
    });
  }

  async stop(): Promise<void> {
    await this.#server.close();
    await this.#turns.idle();
  }

  /** gcloud reads the file at each call; it takes the text as it is, so there is no line end. */
  #write(path: string, token: Secret<string>): Promise<void> {
    return this.#turns.take(({ superseded }) =>
      writeAtomically({
        path,
        content: Buffer.from(token.reveal()),
        mode: this.#options.tokenFileMode,
        ...this.#owner,
        random: this.#services.random,
        superseded,
      }),
    );
  }

  #read({ material, attributes }: Credential): HeldToken {
    const parsed = googleTokenSchema.safeParse(material.reveal());
    // A line end would break every header that the token is put into.
    if (!parsed.success || /[^\x21-\x7e]/.test(parsed.data.accessToken)) {
      throw new EvergrantError("RECEIVER_FAILED", "the credential holds no usable access token");
    }
    const { accessToken } = parsed.data;
    return { accessToken: new Secret(accessToken), facts: this.#facts(attributes) };
  }

  #facts(attributes: Credential["attributes"]): MetadataFacts {
    const { projectId, numericProjectId } = this.#options;
    return {
      email: attributes["email"],
      scopes: (attributes["scopes"] ?? "").split(" ").filter((scope) => scope !== ""),
      projectId: projectId ?? attributes["projectId"],
      numericProjectId,
      universeDomain: attributes["universeDomain"] ?? DEFAULT_UNIVERSE,
    };
  }

  /** In place of ~/.config/gcloud. gcloud writes its logs there, so it is a folder of this user's own. */
  async #emptyConfig(): Promise<string> {
    const path = join(this.#folder(), `${this.#name()}.gcloud`);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  #folder(): string {
    return this.#services.stateDir ?? this.#services.workDir;
  }

  #name(): string {
    return `google-metadata.${this.#services.provider}`;
  }
}

async function prepareFolder(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await removeLeftOvers(path);
  } catch (cause) {
    const { code = "unknown" } = cause as NodeJS.ErrnoException;
    const message = `the folder ${dirname(path)} cannot be used (${code})`;
    throw new EvergrantError("RECEIVER_FAILED", message, {
      cause,
      details: { path, systemCode: code },
    });
  }
}

export const googleMetadataFactory: CredentialReceiverFactory<GoogleMetadataOptions> = {
  kind: "google-metadata",
  serves: [GOOGLE_TOKEN],
  byConvention: true,
  options: googleMetadataOptions,
  create: (options, services) => new GoogleMetadataReceiver(options, services),
};
