import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** The system's Chromium (or CHROMIUM), with nothing in it that talks to anybody by itself. Nothing is downloaded. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    // A profile of its own for each run, also where HOME cannot be written.
    env: { ...process.env, XDG_CONFIG_HOME: mkdtempSync(join(tmpdir(), "intramural-e2e-")) },
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--disable-dev-shm-usage",
      // What is left of its own (forms to fill in, accounts): its makers' names are unknown to it. All others are looked up.
      "--host-resolver-rules=MAP *.googleapis.com ~NOTFOUND, MAP *.google.com ~NOTFOUND, MAP *.gvt1.com ~NOTFOUND",
    ],
  });
}
