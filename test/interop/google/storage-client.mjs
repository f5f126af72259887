/** @google-cloud/storage by default credentials: puts, gets and lists objects on demand. */
import { Storage } from "@google-cloud/storage";
import { onDemand } from "./on-demand.mjs";

// The endpoint is all that differs from a program in production; credentials are the default ones.
const storage = new Storage({
  apiEndpoint: process.env.STORE_URL,
  useAuthWithCustomEndpoint: true,
});
const bucket = storage.bucket("lake");
await onDemand(async (n) => {
  const file = bucket.file(`node/${n}`);
  await file.save(`text ${n}`, { resumable: false });
  const [content] = await file.download();
  if (content.toString() !== `text ${n}`) throw new Error("other content");
  const [files] = await bucket.getFiles({ prefix: `node/${n}` });
  if (files.length === 0) throw new Error("not listed");
});
