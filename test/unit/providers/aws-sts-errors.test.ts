import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  codeOfRefusal,
  KNOWN_STS_CODES,
  stsErrorOf,
} from "../../../src/coordinator/providers/aws-sts/errors.ts";
import { classOf, ERROR_CODES, EvergrantError } from "../../../src/protocol/errors.ts";

const call = {
  action: "AssumeRole",
  endpoint: "sts.test",
  httpStatus: undefined,
  aborted: false,
  secrets: [],
};

describe("the class of an STS error is decided by its code (delivery.md 3.2)", () => {
  test.each([
    ["Throttling", 400, "transient"],
    ["ThrottlingException", 400, "transient"],
    ["RequestLimitExceeded", 503, "transient"],
    ["TooManyRequestsException", 429, "transient"],
    ["SlowDown", 503, "transient"],
    ["InternalFailure", 500, "transient"],
    ["ServiceUnavailable", 503, "transient"],
    ["RequestTimeout", 400, "transient"],
    ["IDPCommunicationError", 400, "transient"],
    ["IDPCommunicationErrorException", 400, "transient"],
    ["ExpiredTokenException", 400, "identity"],
    ["ExpiredToken", 403, "identity"],
    ["InvalidClientTokenId", 403, "identity"],
    ["UnrecognizedClientException", 403, "identity"],
    ["RequestExpired", 403, "identity"],
    ["SignatureDoesNotMatch", 403, "identity"],
    ["InvalidIdentityToken", 400, "identity"],
    ["IDPRejectedClaim", 403, "identity"],
    ["AccessDenied", 403, "denied"],
    ["AccessDeniedException", 403, "denied"],
    ["MalformedPolicyDocument", 400, "invalid"],
    ["PackedPolicyTooLarge", 400, "invalid"],
    ["ValidationError", 400, "invalid"],
    ["RegionDisabledException", 403, "invalid"],
  ])("%s (%i) is %s", (stsCode, status, expected) => {
    expect(classOf(codeOfRefusal(stsCode, status))).toBe(expected);
  });
});

test("a code that nobody knows is classed by its status, and the function is total", () => {
  expect(codeOfRefusal("SomethingNew", 403)).toBe("ISSUER_DENIED");
  expect(codeOfRefusal("SomethingNew", 400)).toBe("ISSUER_REQUEST_INVALID");
  expect(codeOfRefusal("SomethingNew", 500)).toBe("ISSUER_UNAVAILABLE");
  expect(codeOfRefusal(undefined, 403)).toBe("ISSUER_ANSWER_UNUSABLE");
  expect(codeOfRefusal(undefined, 502)).toBe("ISSUER_UNAVAILABLE");
  expect(codeOfRefusal(undefined, 200)).toBe("ISSUER_ANSWER_UNUSABLE");
  expect(codeOfRefusal("constructor", 403)).toBe("ISSUER_DENIED");
  fc.assert(
    fc.property(fc.option(fc.string(), { nil: undefined }), fc.integer(), (code, status) => {
      expect(ERROR_CODES).toContain(codeOfRefusal(code, status));
    }),
  );
});

test("known codes keep their class whatever the status is", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...KNOWN_STS_CODES),
      fc.integer({ min: 100, max: 599 }),
      (code, status) => {
        expect(codeOfRefusal(code, status)).toBe(codeOfRefusal(code, 400));
      },
    ),
  );
});

test("the text never decides: the same text under two codes has two classes", () => {
  const thrown = (Code: string) => Object.assign(new Error("Throttling: slow down"), { Code });
  const codes = ["AccessDenied", "Throttling"].map(
    (code) => stsErrorOf(thrown(code), { ...call, httpStatus: 400 }).code,
  );
  expect(codes).toEqual(["ISSUER_DENIED", "ISSUER_THROTTLED"]);
});

test("what the request carried is taken out of a quoted text, and no cause is kept (I9)", () => {
  const secret = "wJalrXUtnFEMI/K7MDENG";
  const thrown = Object.assign(new Error(`Value '${secret}' at 'x' failed`), {
    Code: "ValidationError",
    $responseBodyText: secret,
  });
  const error = stsErrorOf(thrown, { ...call, httpStatus: 400, secrets: [secret] });
  expect(error.message).toContain("Value '[secret]' at 'x' failed");
  expect(error.cause).toBeUndefined();
  const unquoted = Object.assign(new Error(`canonical: ${secret}`), {
    Code: "SignatureDoesNotMatch",
  });
  expect(stsErrorOf(unquoted, { ...call, httpStatus: 403 }).message).not.toContain(secret);
});

test("an aborted call is a timeout, a refused connection is not", () => {
  expect(stsErrorOf(new Error("x"), { ...call, aborted: true }).code).toBe("ISSUER_TIMEOUT");
  const refused = Object.assign(new Error("x"), { code: "ECONNREFUSED" });
  expect(stsErrorOf(refused, call).code).toBe("ISSUER_UNAVAILABLE");
  const reset = Object.assign(new Error("x"), { name: "TimeoutError", code: "ECONNRESET" });
  expect(stsErrorOf(reset, call).code).toBe("ISSUER_UNAVAILABLE");
  const slow = Object.assign(new Error("x"), { name: "TimeoutError" });
  expect(stsErrorOf(slow, call).code).toBe("ISSUER_TIMEOUT");
});

test("an error of our own is passed on as it is", () => {
  const own = new EvergrantError("PROVIDER_INPUT_MISSING", "x");
  expect(stsErrorOf(own, call)).toBe(own);
});
