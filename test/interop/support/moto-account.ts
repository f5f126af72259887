/** An AWS account in moto as a job finds it: the driver's user, the role that it may assume, a bucket. */
import * as z from "zod";
import type { KeyPair, Moto } from "./moto.ts";

export const ACCOUNT = "123456789012";
export const ROLE = `arn:aws:iam::${ACCOUNT}:role/lake`;

export interface MotoAccount {
  /** May assume the role. */
  readonly driver: KeyPair;
  /** A user without any permission. */
  readonly stranger: KeyPair;
}

/** To be called while moto does not check yet: nobody could administer it otherwise. */
export async function openAccount(moto: Moto): Promise<MotoAccount> {
  const driver = await addUser(moto, "driver");
  const stranger = await addUser(moto, "stranger");
  const iam = (...args: string[]) => moto.aws(["iam", ...args]);
  await iam(
    ...["put-user-policy", "--user-name", "driver", "--policy-name", "sts"],
    ...["--policy-document", policy("sts:*")],
  );
  await iam("create-role", "--role-name", "lake", "--assume-role-policy-document", TRUST);
  await iam(
    ...["put-role-policy", "--role-name", "lake", "--policy-name", "s3"],
    ...["--policy-document", policy("s3:*")],
  );
  await moto.aws([
    ...["s3api", "create-bucket", "--bucket", "lake-data"],
    ...["--create-bucket-configuration", "LocationConstraint=eu-west-1"],
  ]);
  return { driver, stranger };
}

/** A shared credentials file with this key under `base`. */
export const profileOf = ({ accessKeyId, secretAccessKey }: KeyPair): string =>
  `[base]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;

/** Access keys of the sessions that moto has issued for a role, in order: its own books. */
export async function issuedKeys(moto: Moto): Promise<readonly string[]> {
  const answer = await fetch(`${moto.url}/moto-api/data.json`);
  const { sts } = booksSchema.parse(await answer.json());
  return sts.AssumedRole.map((session) => session.access_key_id);
}

const booksSchema = z.object({
  sts: z.object({ AssumedRole: z.array(z.object({ access_key_id: z.string() })) }),
});

const createdKeySchema = z.object({
  AccessKey: z.object({ AccessKeyId: z.string(), SecretAccessKey: z.string() }),
});

async function addUser(moto: Moto, name: string): Promise<KeyPair> {
  await moto.aws(["iam", "create-user", "--user-name", name]);
  const answer = await moto.aws(["iam", "create-access-key", "--user-name", name]);
  const { AccessKey: key } = createdKeySchema.parse(answer);
  return { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey };
}

const policy = (action: string): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action: action, Resource: "*" }],
  });

const TRUST = JSON.stringify({
  Version: "2012-10-17",
  Statement: [
    {
      Effect: "Allow",
      Principal: { AWS: `arn:aws:iam::${ACCOUNT}:user/driver` },
      Action: "sts:AssumeRole",
    },
  ],
});
