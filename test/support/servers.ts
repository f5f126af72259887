/** Real servers for test files (server-processes.ts): ended with the file at the latest. */
import { afterAll } from "vitest";
import { endServers } from "./server-processes.ts";

afterAll(endServers);

export { startNats, startRedis, type TestServer } from "./server-processes.ts";
