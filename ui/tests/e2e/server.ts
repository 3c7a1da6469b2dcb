import { existsSync } from "node:fs";
import type { TestProject } from "vitest/node";
import { fake } from "../fake-server.mjs";

declare module "vitest" {
  interface ProvidedContext {
    baseUrl: string;
    setupToken: string;
    /** The server is the fake one: its knobs may be used. */
    faked: boolean;
  }
}

/** BASE_URL and SETUP_TOKEN name a fresh real server; without them a fake one is started. */
export default async function setup(project: TestProject) {
  const given = process.env.E2E_BASE_URL;
  if (given) {
    project.provide("baseUrl", given.replace(/\/+$/, ""));
    project.provide("setupToken", process.env.SETUP_TOKEN ?? "");
    project.provide("faked", false);
    return;
  }
  if (!existsSync(new URL("../../../src/intramural/web/dist/index.html", import.meta.url)))
    throw new Error("The page is not built. Type: npm run build");
  const server = await fake();
  project.provide("baseUrl", server.url);
  project.provide("setupToken", server.token);
  project.provide("faked", true);
  return () => server.close();
}
