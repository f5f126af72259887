/**
 * Which loopback port the endpoint takes: the configured one or none at all, else the one it had
 * before (consumers have read their environment once), else a free one. Owns the memory of that.
 */
import { readFile } from "node:fs/promises";
import type { AddressInfo, ListenOptions, Server } from "node:net";
import { EvergrantError } from "../../protocol/errors.ts";
import type { Random } from "../../protocol/time.ts";
import { writeAtomically } from "../../runtime/atomic-file.ts";

export interface PortWish {
  readonly port: number | undefined;
  readonly ipv6: boolean;
  /** Where the last port is remembered; undefined: nowhere. */
  readonly memory: string | undefined;
  readonly random: Random;
  readonly warn: (message: string, facts: Readonly<Record<string, unknown>>) => void;
}

type Listen = (where: ListenOptions) => Promise<Server>;

/** A free port on 127.0.0.1 may be taken on ::1: how often another is tried. */
const TRIES = 5;

/** Binds and returns the port. @throws EvergrantError `RECEIVER_FAILED`, e.g. when the configured port is taken. */
export async function takePort(wish: PortWish, listen: Listen): Promise<number> {
  const remembered = wish.port === undefined ? await recall(wish.memory) : undefined;
  const port = await firstOf(wish, remembered, listen);
  if (wish.memory !== undefined && port !== remembered) {
    const content = Buffer.from(`${port}\n`);
    await writeAtomically({ path: wish.memory, content, mode: 0o600, random: wish.random });
  }
  return port;
}

async function firstOf(wish: PortWish, remembered: number | undefined, listen: Listen) {
  if (wish.port !== undefined) return await bind(wish.port, wish.ipv6, listen);
  if (remembered !== undefined) {
    try {
      return await bind(remembered, wish.ipv6, listen);
    } catch {
      wish.warn(
        "the port of the last run is taken: consumers that were started then cannot find this endpoint",
        { port: remembered },
      );
    }
  }
  for (let left = TRIES; ; left -= 1) {
    try {
      return await bind(0, wish.ipv6, listen);
    } catch (error) {
      if (left <= 1) throw error;
    }
  }
}

async function bind(port: number, ipv6: boolean, listen: Listen): Promise<number> {
  const first = await listenOn("127.0.0.1", port, listen);
  const bound = (first.address() as AddressInfo).port;
  if (!ipv6) return bound;
  try {
    await listenOn("::1", bound, listen);
  } catch (error) {
    await new Promise((resolve) => first.close(resolve));
    throw error;
  }
  return bound;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE:
    "the port is taken by another program: end that one, or give this receiver another port",
  EACCES: "this user may not bind the port: give this receiver one above 1023",
  EADDRNOTAVAIL: "this host has no such address",
  EAFNOSUPPORT: "this host has no such address family",
};

async function listenOn(host: string, port: number, listen: Listen): Promise<Server> {
  try {
    return await listen({ host, port });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown";
    throw new EvergrantError(
      "RECEIVER_FAILED",
      `cannot listen on ${host} port ${port === 0 ? "(any free one)" : port}: ${REASONS[code] ?? "the system refused"} (${code})`,
      { cause: error, details: { host, port, systemCode: code } },
    );
  }
}

async function recall(memory: string | undefined): Promise<number | undefined> {
  if (memory === undefined) return undefined;
  const port = Number(await readFile(memory, "utf8").catch(() => ""));
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}
