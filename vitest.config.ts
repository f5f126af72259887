import { defineConfig } from "vitest/config";

/** One project per ring (docs/testing.md); a ring is a folder under test/. */
const ring = (name: string, testTimeout: number, fileParallelism = true) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    environment: "node",
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
  },
});

export default defineConfig({
  test: {
    // Most files wait for servers and clocks more than they work.
    maxWorkers: 4,
    projects: [
      ring("unit", 20_000),
      ring("contract", 60_000),
      ring("integration", 90_000),
      ring("simulation", 600_000),
      ring("system", 300_000, false),
      ring("interop", 600_000, false),
    ],
  },
});
