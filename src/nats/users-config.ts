/**
 * The users of one job as a nats-server's configuration, made from the permission table: what the
 * shipped configurations include and what `evergrant nats-permissions` prints. Passwords stand in the
 * server's environment, never in the file. Refuses to know anything else of the server.
 */
import type { JobId } from "../protocol/names.ts";
import { permissionsOf, type Role } from "../protocol/permissions.ts";

export interface UsersConfigOptions {
  readonly id: JobId;
  /** Agents with a user of their own. Empty: one user that all agents share. */
  readonly agents: readonly string[];
}

/** One user of the server, and the variable that its password is read from. */
export interface ServerUser {
  readonly role: Role;
  readonly user: string;
  readonly passwordVariable: string;
}

/** The users in the order of the file: coordinator, operator, agents. */
export function usersOf({ id, agents }: UsersConfigOptions): readonly (ServerUser & {
  readonly name: string;
})[] {
  const prefix = `${id.tenant}.${id.job}`;
  const user = (role: Role, name?: string) => {
    const words = ["evergrant", id.tenant, id.job, role, ...(name === undefined ? [] : [name])];
    return {
      role,
      name: name ?? "*",
      user: [prefix, role, ...(name === undefined ? [] : [name])].join("."),
      // The server reads variables by word characters alone.
      passwordVariable: `${words.join("_").replaceAll("-", "_").toUpperCase()}_PASSWORD`,
    };
  };
  return [
    user("coordinator"),
    user("operator"),
    ...(agents.length === 0 ? [user("agent")] : agents.map((name) => user("agent", name))),
  ];
}

/** The text of an `authorization` block, to be included by a nats-server's configuration. */
export function usersConfig(options: UsersConfigOptions): string {
  const users = usersOf(options);
  const variables = new Set(users.map(({ passwordVariable }) => passwordVariable));
  if (variables.size < users.length) {
    throw new RangeError("two agents whose names differ only in case or in - and _");
  }
  const entries = users.map(({ role, name, user, passwordVariable }) => {
    const { publish, subscribe } = permissionsOf(role, options.id, name);
    const list = (subjects: readonly string[]): string =>
      `[\n${subjects.map((subject) => `          ${JSON.stringify(subject)}\n`).join("")}        ]`;
    return `    {
      user: ${JSON.stringify(user)}
      password: $${passwordVariable}
      permissions: {
        publish: { allow: ${list(publish.allow)} }
        subscribe: { allow: ${list(subscribe.allow)} }
      }
    }
`;
  });
  const { tenant, job } = options.id;
  return `# Made by: evergrant nats-permissions --tenant ${tenant} --job ${job}${options.agents.map((name) => ` --agent ${name}`).join("")}
# Each role may say and hear what its part of the protocol needs, and nothing else. Passwords come from the server's
# environment (a plain word that begins with a letter, or a bcrypt hash of \`nats server passwd\`).
authorization {
  users: [
${entries.join("")}  ]
}
`;
}
