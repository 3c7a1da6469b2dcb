import { defineConfig } from "vitest/config";

// Vitest puts a BASE_URL of its own (the bundler's "/") into the environment: keep the one that was given.
if (process.env.BASE_URL?.startsWith("http")) process.env.E2E_BASE_URL = process.env.BASE_URL;

export default defineConfig({
  test: {
    environment: "node",
    include: ["tests/e2e/**/*.test.ts"],
    globalSetup: "tests/e2e/server.ts",
    // One machine, one browser at a time; the journey is a story whose steps need the ones before.
    fileParallelism: false,
    sequence: { shuffle: false },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 15_000 } },
  },
});
