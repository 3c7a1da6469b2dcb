import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  // Without this the stores would be compiled for server rendering, where runes do not react.
  resolve: { conditions: ["browser"] },
  test: {
    environment: "jsdom",
    include: ["tests/unit/**/*.test.ts"],
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
