/** Passkeys in real Chromium with its own virtual authenticator, against a real service whose administrators need one. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { Watched } from "./harness";

/** A fresh real server under a name; `tests/journeys/test_page.py` gives it. */
const url = process.env.PASSKEY_URL ?? "";
const token = process.env.PASSKEY_SETUP_TOKEN ?? "";
const PASSWORD = "a sentence nobody guesses";

let browser: Browser;

beforeAll(async () => {
  if (url !== "") browser = await launch();
});

afterAll(async () => {
  await browser?.close();
});

describe.skipIf(url === "")("a passkey", () => {
  it("is made when a rule asks for it, and signs in without name or password", async () => {
    const me = await Watched.open(browser, url);
    const devtools = await me.page.context().newCDPSession(me.page);
    await devtools.send("WebAuthn.enable");
    await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    await me.go(`/setup?token=${token}`);
    await me.page.getByLabel("User name").fill("ada");
    for (const field of await me.page.locator("input[type=password]").all()) await field.fill(PASSWORD);
    await me.page.locator("form button[type=submit]").click();
    await me.page.getByText("A passkey is asked of you.").waitFor();
    await me.accessible("what is awaited");
    await me.page.getByRole("button", { name: "Make a passkey" }).click();
    await me.page.getByText("Codes for paper").waitFor();
    expect(await me.page.locator("li code").count()).toBe(10);
    await me.accessible("codes for paper");
    await me.page.getByRole("button", { name: "I have kept them" }).click();
    await me.go("/settings/account");
    await me.page.getByRole("heading", { name: "Second factors" }).waitFor();
    await me.accessible("second factors");

    await me.page.context().clearCookies();
    await me.page.reload();
    await me.page.getByRole("button", { name: "Use a passkey" }).click();
    await me.page.getByRole("heading", { name: "Second factors" }).waitFor();

    await me.page.context().clearCookies();
    await me.page.reload();
    await me.page.getByLabel("User name").fill("ada");
    await me.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await me.page.getByRole("button", { name: "Sign in" }).click();
    await me.page.getByText("Your sign-in needs your passkey.").waitFor();
    expect(await me.page.getByLabel(/Code of your app/).count()).toBe(0);
    await me.page.getByRole("button", { name: "Use a passkey" }).click();
    await me.page.getByRole("heading", { name: "Second factors" }).waitFor();
    expect(me.complaints).toEqual([]);
  });
});
