/** File modes, owners and groups as the configuration writes them. Owns their forms; does no chown. */
import { readFileSync } from "node:fs";
import * as z from "zod";
import { EvergrantError } from "../../protocol/errors.ts";

/**
 * A string of octal digits. Numbers are refused: YAML reads `0600` as six hundred, which is 1130 in
 * octal, and nobody would notice.
 */
export const fileModeSchema = z
  .string('expected a file mode in quotes, such as "0600"')
  .regex(/^0?[0-7]{3}$/, 'expected three octal digits in quotes, such as "0600"')
  .transform((digits) => Number.parseInt(digits, 8));

/** A user's or group's name, or its number. */
export const ownerSchema = z.union([
  z.int().min(0),
  z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, "expected a name or a number"),
]);
export type Owner = z.infer<typeof ownerSchema>;

/** -1, which chown reads as "leave it", when none is given. @throws EvergrantError `RECEIVER_FAILED` for an unknown name. */
export const userId = (owner: Owner | undefined): number => idIn("/etc/passwd", "user", owner);
export const groupId = (owner: Owner | undefined): number => idIn("/etc/group", "group", owner);

/** Looks in the file only: names from a directory service are not known here, their numbers work. */
function idIn(file: string, what: string, owner: Owner | undefined): number {
  if (owner === undefined) return -1;
  if (typeof owner === "number") return owner;
  if (/^[0-9]+$/.test(owner)) return Number(owner);
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [name, , id] = line.split(":");
    if (name === owner && id !== undefined && /^[0-9]+$/.test(id)) return Number(id);
  }
  throw new EvergrantError(
    "RECEIVER_FAILED",
    `there is no ${what} "${owner}" in ${file}: create it, or give its number`,
  );
}
