/**
 * Where the Unix socket lies and who may have it: a private folder, a path that the kernel takes
 * whole, and never the socket of a living process. Owns those rules; refuses to know what is served.
 */
import { createHash } from "node:crypto";
import { chmodSync } from "node:fs";
import { lstat, mkdir, rm } from "node:fs/promises";
import { connect, type ListenOptions, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EvergrantError } from "../../../protocol/errors.ts";
import type { Clock } from "../../../protocol/time.ts";
import { seconds } from "../../../protocol/time.ts";

/** `sun_path` less its end: 107 bytes on Linux, 103 on macOS and the BSDs. A longer path is cut or refused. */
export const MAX_SOCKET_PATH_BYTES = process.platform === "linux" ? 107 : 103;

const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;

/**
 * The configured path, or one in `folder`, or, when that is too long for the kernel, one in a
 * private folder under the system's temporary folder, the same in every run.
 *
 * @throws EvergrantError `RECEIVER_FAILED` when the configured path is too long.
 */
export function socketPath(configured: string | undefined, folder: string, name: string): string {
  if (configured !== undefined) {
    if (fits(configured)) return configured;
    throw new EvergrantError(
      "RECEIVER_FAILED",
      `the socket's path has ${Buffer.byteLength(configured)} bytes and the system takes ${MAX_SOCKET_PATH_BYTES}: choose a shorter one`,
    );
  }
  const natural = join(folder, `${name}.sock`);
  if (fits(natural)) return natural;
  const mark = createHash("sha256").update(natural).digest("hex").slice(0, 16);
  return join(tmpdir(), `evergrant-${process.getuid?.() ?? "user"}`, `${mark}.sock`);
}

/**
 * Listens at the path with mode 0600, replacing the socket of a dead process.
 *
 * @throws EvergrantError `RECEIVER_FAILED` when a living process answers there, or what lies there is no socket.
 */
export async function listenAt(
  path: string,
  listen: (where: ListenOptions) => Promise<Server>,
  clock: Clock,
): Promise<void> {
  try {
    await privateFolder(dirname(path));
    await clearStale(path, clock);
    await withPrivateUmask(() => listen({ path }));
    chmodSync(path, 0o600); // a worker thread cannot set the umask
  } catch (error) {
    if (error instanceof EvergrantError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "unknown";
    throw new EvergrantError("RECEIVER_FAILED", `cannot listen at ${path} (${code})`, {
      cause: error,
      details: { path, systemCode: code },
    });
  }
}

/** Makes the folder 0700 if it is missing. One that is there must be ours or the system's, and no link. */
async function privateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  const uid = process.getuid?.();
  const foreign = uid !== undefined && found.uid !== uid && found.uid !== 0;
  const sticky = (found.mode & 0o1000) !== 0;
  const open = (found.mode & 0o002) !== 0 && !sticky;
  if (found.isDirectory() && !foreign && !open) return;
  throw new EvergrantError(
    "RECEIVER_FAILED",
    `the socket's folder ${folder} must be a folder of this user that others cannot write to`,
  );
}

async function clearStale(path: string, clock: Clock): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new EvergrantError("RECEIVER_FAILED", `${path} is there and is no socket: remove it`);
  }
  if (await answers(path, clock)) {
    throw new EvergrantError(
      "RECEIVER_FAILED",
      `a living process serves ${path}: end that one, or give this receiver another socket`,
    );
  }
  await rm(path, { force: true });
}

/** Only a refused connection says that the owner is dead; anything else leaves the socket alone. */
function answers(path: string, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (alive: boolean): void => {
      cancel();
      socket.destroy();
      resolve(alive);
    };
    const cancel = clock.timer(seconds(1), () => end(true), true);
    socket.once("connect", () => end(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      end(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}

/** The socket is bound before `listen` returns, so nobody else's file is made under this umask. */
function withPrivateUmask<T>(bind: () => T): T {
  let former: number | undefined;
  try {
    former = process.umask(0o177);
  } catch {
    // In a worker thread: the mode is set right after the bind.
  }
  try {
    return bind();
  } finally {
    if (former !== undefined) process.umask(former);
  }
}
