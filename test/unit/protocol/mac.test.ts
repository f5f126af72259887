import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { mac } from "../../../src/protocol/mac.ts";

const hex = (text: string): Uint8Array => Buffer.from(text, "hex");
const bytes = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);

/** RFC 4231, section 4: those whose data is text. */
test.each([
  [bytes(0x0b, 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
  [
    Buffer.from("Jefe"),
    "what do ya want for nothing?",
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  [
    bytes(0xaa, 131),
    "Test Using Larger Than Block-Size Key - Hash Key First",
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  ],
  [
    bytes(0xaa, 131),
    "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
  ],
])("RFC 4231: %#", (key, message, digest) => {
  expect(mac(key, message)).toBe(Buffer.from(hex(digest)).toString("base64url"));
});

test("a message of any length and script, also after a longer one", () => {
  const key = bytes(7, 32);
  for (const message of [
    "",
    "x".repeat(300_000),
    "ключ 鍵 🔑".repeat(700),
    "short",
    "y".repeat(64),
  ]) {
    const wanted = createHmac("sha256", key).update(message).digest("base64url");
    expect(mac(key, message)).toBe(wanted);
  }
});
