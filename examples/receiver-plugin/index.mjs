/**
 * An example of a receiver for evergrant: it keeps a file of NAME=value lines fresh, for programs
 * that read one at each start. It needs no package, not even evergrant.
 *
 *   receivers:
 *     - kind: evergrant-receiver-dotenv
 *       provider: lake
 *       path: /run/etl/credentials.env
 */
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

const options = {
  safeParse(given) {
    const { path, ...unknown } = given ?? {};
    const issues = Object.keys(unknown).map((key) => ({ path: [key], message: "unknown option" }));
    if (typeof path !== "string" || path === "") {
      issues.push({ path: ["path"], message: "expected a path" });
    }
    return issues.length > 0
      ? { success: false, error: { issues } }
      : { success: true, data: { path } };
  },
};

/** The one code of receivers. Its text is shown, so it holds nothing secret. */
const failed = (doing, error) =>
  Object.assign(new Error(`${doing} (${error.code ?? error.name})`), { code: "RECEIVER_FAILED" });

function linesOf({ accessKeyId, secretAccessKey, sessionToken }, { region }) {
  const values = {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    ...(region === undefined ? {} : { AWS_REGION: region }),
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** Whole or not at all: a reader finds the old file or the new one, also after a power cut. */
async function replaceFile(path, text) {
  const draft = `${path}.new`;
  await rm(draft, { force: true });
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

class DotenvReceiver {
  #path;
  #clock;
  #stopTimer = () => {};

  constructor({ path }, { clock }) {
    this.#path = path;
    this.#clock = clock;
  }

  async start() {
    return { set: { CREDENTIALS_ENV_FILE: this.#path }, unset: [] };
  }

  async apply({ credential, until }) {
    const left = until - this.#clock.now().mono;
    if (left <= 0) throw failed("the credential has ended", { code: "EXPIRED" });
    try {
      await replaceFile(this.#path, linesOf(credential.material.reveal(), credential.attributes));
    } catch (error) {
      throw failed(`cannot write ${this.#path}`, error);
    }
    // An expired credential is never handed out, also when nobody withdraws it in time.
    this.#stopTimer();
    this.#stopTimer = this.#clock.timer(left, () => void this.withdraw().catch(() => {}), true);
  }

  async withdraw() {
    this.#stopTimer();
    try {
      await rm(this.#path, { force: true });
    } catch (error) {
      throw failed(`cannot remove ${this.#path}`, error);
    }
  }

  /** What a consumer has been given stays valid, so the file stays, too. */
  async stop() {
    this.#stopTimer();
  }
}

/** What evergrant looks for in the package. */
export const receiver = {
  kind: "evergrant-receiver-dotenv",
  serves: ["aws-session"],
  byConvention: false,
  options,
  create: (configured, services) => new DotenvReceiver(configured, services),
};
