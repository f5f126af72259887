/**
 * A nats-server newer than distributions have, built by Go from its module into `.evergrant/interop`
 * at the first use. Owns the pinned version, which is of the line that deploy/compose.yaml names.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type FoundServer, findServer } from "../../../src/embedded/find-server.ts";
import { runProgram } from "./foreground.ts";

/** What is built; docs/operations.md names it too, and the test holds it to that. */
export const NEWER_NATS = "2.12.15";

const FOLDER = fileURLToPath(
  new URL(`../../../.evergrant/interop/nats-server-${NEWER_NATS}`, import.meta.url),
);
const PROGRAM = join(FOLDER, "nats-server");

/** The server of the pinned version. @throws when Go is missing, too old, or can't fetch the module. */
export async function newerNats(): Promise<FoundServer> {
  if (!existsSync(PROGRAM)) await build();
  const found = await findServer("nats-server", { PATH: FOLDER });
  // The search goes on in the machine's own folders when this one's program does not run.
  if (found.path !== PROGRAM) throw new Error(`${PROGRAM} is no program: delete it`);
  return found;
}

/** Builds aside and renames, so that the program is whole once it is there, whoever else builds it meanwhile. */
async function build(): Promise<void> {
  const aside = `${FOLDER}.${process.pid}`;
  for (const folder of [aside, FOLDER]) mkdirSync(folder, { recursive: true });
  const module = `github.com/nats-io/nats-server/v2@v${NEWER_NATS}`;
  try {
    const { status, stderr } = await runProgram("go", ["install", module], {
      // The last folder is where Go's own archive is unpacked to, on the PATH of few but login shells.
      env: {
        GOBIN: aside,
        CGO_ENABLED: "0",
        PATH: `${process.env["PATH"] ?? ""}:/usr/local/go/bin`,
      },
    }).catch((cause: unknown) => {
      throw new Error(`nats-server ${NEWER_NATS} is built by Go, which is not to be had`, {
        cause,
      });
    });
    if (status !== 0) throw new Error(`Go could not build ${module}: ${stderr.slice(0, 2000)}`);
    renameSync(join(aside, "nats-server"), PROGRAM);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
