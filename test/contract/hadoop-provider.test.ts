/** Provider `hadoop` against a protocol-true NameNode; the real ones are in the interop ring. */
import {
  type HadoopTools,
  hadoopProviderWith,
} from "../../src/coordinator/providers/hadoop/index.ts";
import { HADOOP_TOKENS } from "../../src/protocol/credential.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { FakeService, httpOf, type NodeMood } from "../support/fake-hadoop.ts";
import {
  credentialProviderContract,
  type IssuerFault,
  type ProviderRig,
  recordingServices,
} from "./support/credential-provider-contract.ts";

const HOST = "nn1:9870";
const MOODS: Partial<Record<IssuerFault, NodeMood>> = {
  throttled: "throttled",
  broken: "server-error",
  denied: "denied",
  "identity-rejected": "unauthorized",
  garbage: "html",
};
/** A SPNEGO token by which nobody may be let in. */
const NEGOTIATE = "never-to-be-shown-spnego-token";

async function startRig(): Promise<ProviderRig> {
  const nameNode = new FakeService(systemClock, { kind: "webhdfs", hosts: [HOST] });
  const answer = httpOf([nameNode]);
  const logged: unknown[] = [];
  let tellHung = (): void => undefined;
  const hung = new Promise<void>((resolve) => {
    tellHung = resolve;
  });
  let hangs = false;
  let seen = 0;
  let generation = 1;
  let loggedInAs = 0;
  let accepted = 1;
  const tools: HadoopTools = {
    http: (call) => {
      seen += 1;
      if (hangs) {
        tellHung();
        return new Promise((_, reject) =>
          call.signal.addEventListener("abort", () =>
            reject(new EvergrantError("ISSUER_TIMEOUT", "no answer in time")),
          ),
        );
      }
      const mood = loggedInAs < accepted ? "unauthorized" : nameNode.moods.get(HOST);
      nameNode.moods.set(HOST, mood ?? "active");
      return answer(call);
    },
    resolve: async () => "10.0.0.9",
    openLogin: () => ({
      ensure: async (fresh) => {
        if (fresh || loggedInAs === 0) loggedInAs = generation;
        return { cachePath: "/nowhere", krb5Config: undefined };
      },
      close: async () => undefined,
    }),
    openNegotiator: () => ({ token: async () => NEGOTIATE, close: () => undefined }),
  };
  const factory = hadoopProviderWith(() => tools);
  const options = factory.options.parse({
    principal: "etl@A.TEST",
    keytab: "/etc/etl.keytab",
    services: [{ name: "nn", kind: "webhdfs", url: `http://${HOST}` }],
  });
  return {
    provider: factory.create(options, recordingServices("/nowhere", logged)),
    kind: HADOOP_TOKENS,
    breakIssuer(fault) {
      hangs = fault === "hangs";
      nameNode.moods.set(HOST, MOODS[fault] ?? "active");
    },
    mendIssuer: () => void nameNode.moods.clear(),
    requestsSeen: () => seen,
    hanging: () => hung,
    baseSecrets: [NEGOTIATE],
    replaceIdentity() {
      generation += 1;
      accepted = generation;
    },
    logged,
    close: async () => undefined,
  };
}

credentialProviderContract("hadoop", startRig, {
  faults: ["throttled", "broken", "denied", "identity-rejected", "garbage", "hangs"],
});
