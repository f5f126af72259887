/**
 * deploy/nats/users.conf from the permission table.
 *
 *     node tools/make-nats-users.ts          ends with 1 when the file is out of date
 *     node tools/make-nats-users.ts --write  writes it
 */
import { readFileSync, writeFileSync } from "node:fs";
import { usersConfig } from "../src/nats/users-config.ts";

const FILE = new URL("../deploy/nats/users.conf", import.meta.url);
const content = usersConfig({ id: { tenant: "default", job: "etl" }, agents: [] });
if (process.argv.includes("--write")) writeFileSync(FILE, content);
else if (readFileSync(FILE, "utf8") !== content) {
  console.error("out of date: deploy/nats/users.conf (node tools/make-nats-users.ts --write)");
  process.exit(1);
}
