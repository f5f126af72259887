/** A TCP proxy that keeps every byte that passes, both ways. Ends with the test. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface WireTap {
  readonly port: number;
  /** All that has passed so far, in no particular order of directions. */
  captured(): Buffer;
}

export async function tapWire(target: number): Promise<WireTap> {
  const chunks: Buffer[] = [];
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on("data", (bytes) => {
        chunks.push(bytes);
        to.write(bytes);
      });
      from.on("error", () => undefined);
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    captured: () => Buffer.concat(chunks),
  };
}
