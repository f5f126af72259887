/** A client of the Redis that deploy/ configures. It connects once, at the first command, and says errors there only. */
import { Redis } from "ioredis";
import type { DeployStores } from "./deploy-folder.ts";

export function deployRedisClient(
  { folder, redisPort }: DeployStores,
  username?: string,
  password?: string,
): Redis {
  const client = new Redis({
    host: "127.0.0.1",
    port: redisPort,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    tls: { ca: folder.secret("ca.pem") },
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
  });
  client.on("error", () => undefined);
  return client;
}
