/** The whole story of a fresh server, as one person lives it. It runs against the real server as well as the fake one. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { launch } from "../browser.mjs";
import { PHONE, Watched } from "./harness";

const baseUrl = inject("baseUrl");
const PASSWORD = "three lighthouses in a row";
const ROOMS = [
  "settings/account",
  "settings/keys",
  "settings/usage",
  "settings/people",
  "settings/audit",
  "settings/machine",
  "models",
  "models/here",
];

let browser: Browser;
let ada: Watched;
/** The last answer came to its own end: what is stored is then exactly what was seen. */
let whole = false;

beforeAll(async () => {
  browser = await launch();
  ada = await Watched.open(browser, baseUrl);
});

afterAll(async () => {
  await browser?.close();
});

describe("set-up", () => {
  it("without the link, says where the link is", async () => {
    await ada.go("/");
    await ada.page.getByRole("heading", { name: "This server has no administrator yet" }).waitFor();
    await ada.accessible("set-up without a link");
  });

  it("refuses two different passwords and a wrong token, with words", async () => {
    await ada.go("/setup?token=wrong-token-wrong-token");
    await ada.page.getByLabel("User name").fill("ada");
    await ada.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await ada.page.getByLabel("Password, once more").fill("something else");
    await ada.page.getByRole("button", { name: "Create the administrator" }).click();
    await ada.page.getByText("The two passwords are not the same.").waitFor();
    await ada.page.getByLabel("Password, once more").fill(PASSWORD);
    await ada.page.getByRole("button", { name: "Create the administrator" }).click();
    await ada.page.getByRole("alert").waitFor();
    await ada.accessible("set-up with errors");
  });

  it("creates the first administrator and goes straight into the chat", async () => {
    await ada.go(`/setup?token=${inject("setupToken")}`);
    await ada.page.getByLabel("User name").fill("ada");
    await ada.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await ada.page.getByLabel("Password, once more").fill(PASSWORD);
    await ada.page.getByRole("button", { name: "Create the administrator" }).click();
    await ada.page.getByLabel("Your message").waitFor();
    expect(ada.page.url()).not.toContain("token=");
    await ada.page.getByText("This starter model is tiny and often wrong.").waitFor();
    await ada.accessible("new chat");
  });
});

describe("chat", () => {
  it("streams an answer", async () => {
    await ada.send("Tell me about lighthouses.");
    await expect.poll(async () => (await ada.answers()).at(-1)?.length ?? 0, { timeout: 110_000 }).toBeGreaterThan(12);
    if (await ada.settled(8_000)) await ada.page.getByTestId("meta").last().waitFor();
    expect(ada.page.url()).toContain("#/c/");
    await ada.page.locator(".entry.here").getByText("Tell me about lighthouses").waitFor();
    await ada.accessible("an answer");
  });

  it("stops when told to and keeps what was written", async () => {
    await ada.send("[long] Count from one to five hundred, in words, one number a line.");
    const stop = ada.page.getByRole("button", { name: "Stop", exact: true });
    for (let attempt = 1; ; attempt++) {
      await expect.poll(async () => (await ada.answers())[1]?.length ?? 0, { timeout: 110_000 }).toBeGreaterThan(5);
      await stop.click({ timeout: 1_000 }).catch(() => undefined);
      await ada.settled();
      await ada.page.reload();
      await expect.poll(async () => (await ada.answers()).length).toBe(2);
      // A real model may have come to its end before it was stopped, unseen yet: then it is asked again.
      if ((await ada.page.getByText("Stopped.", { exact: true }).count()) > 0) break;
      expect(attempt, "every answer was over before it could be stopped").toBeLessThan(10);
      await ada.page.getByRole("button", { name: "Write this answer again" }).last().click();
      await stop.waitFor();
    }
    expect((await ada.answers())[1]).not.toBe("");
  });

  it("edits an earlier message: what came after is replaced", async () => {
    const mine = ada.page.locator("article.turn.mine").last();
    await mine.hover();
    await mine.getByRole("button", { name: "Edit this message" }).click();
    await ada.accessible("editing");
    await ada.page.getByLabel("Edit your message").fill("Name one lighthouse.");
    await ada.page.getByRole("button", { name: "Send again" }).click();
    await ada.page.getByRole("button", { name: "Stop", exact: true }).waitFor();
    await expect.poll(async () => (await ada.answers())[1]?.length ?? 0, { timeout: 110_000 }).toBeGreaterThan(5);
    await ada.settled(1_000);
    expect(await ada.page.locator("article.turn.mine").allInnerTexts()).toEqual([
      "You\nTell me about lighthouses.",
      "You\nName one lighthouse.",
    ]);
    expect(await ada.answers()).toHaveLength(2);
  });

  it("writes an answer again", async () => {
    await ada.page.getByRole("button", { name: "Write this answer again" }).last().click();
    await ada.page.getByRole("button", { name: "Stop", exact: true }).waitFor();
    whole = await ada.settled();
    expect(await ada.answers()).toHaveLength(2);
    await expect.poll(async () => (await ada.answers()).at(-1)?.length ?? 0).toBeGreaterThan(0);
  });

  it("is the same after a reload", async () => {
    const before = await ada.answers();
    await ada.page.reload();
    await ada.page.locator("article.turn.mine").nth(1).waitFor();
    const after = await ada.answers();
    expect(after).toHaveLength(before.length);
    if (whole) expect(after).toEqual(before);
  });

  it("copies a message", async () => {
    await ada.page.getByRole("button", { name: "Copy this message" }).last().click();
    const copied = await ada.page.evaluate(() => navigator.clipboard.readText());
    expect(copied.length).toBeGreaterThan(0);
  });

  it("can be renamed, found and saved", async () => {
    await ada.page.getByRole("button", { name: "Options for “Tell me about lighthouses.”" }).click();
    await ada.page.getByRole("menuitem", { name: "Rename" }).click();
    await ada.page.getByLabel("Title").fill("Harbour notes");
    await ada.accessible("rename dialog");
    await ada.page.getByRole("button", { name: "Rename" }).click();
    await ada.page.locator(".entry").getByText("Harbour notes").waitFor();

    await ada.page.getByLabel("Search conversations").fill("one lighthouse");
    await ada.page.locator(".entry .snippet").first().waitFor();
    await ada.accessible("search");
    await ada.page.getByLabel("Search conversations").fill("zebra crossing quartz");
    await ada.page.getByText("Nothing found for").waitFor();
    await ada.page.getByRole("button", { name: "Clear the search" }).click();
    await ada.page.locator(".entry").getByText("Harbour notes").waitFor();

    const download = ada.page.waitForEvent("download");
    await ada.page.getByRole("button", { name: "Options for “Harbour notes”" }).click();
    await ada.page.getByRole("menuitem", { name: "Save as a file" }).click();
    expect((await download).suggestedFilename()).toBe("Harbour notes.md");
  });

  it("is deleted only after asking", async () => {
    await ada.go("/");
    await ada.send("A short one to throw away.");
    await ada.page.locator(".entry.here").getByText("A short one").waitFor();
    await ada.settled(1_000);
    await ada.page.getByRole("button", { name: "Options for “A short one to throw away.”" }).click();
    await ada.page.getByRole("menuitem", { name: "Delete" }).click();
    await ada.accessible("delete dialog");
    await ada.page.getByRole("button", { name: "Cancel" }).click();
    expect(await ada.page.locator(".entry").getByText("A short one").count()).toBe(1);
    await ada.page.getByRole("button", { name: "Options for “A short one to throw away.”" }).click();
    await ada.page.getByRole("menuitem", { name: "Delete" }).click();
    await ada.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await expect.poll(() => ada.page.locator(".entry").getByText("A short one").count()).toBe(0);
  });

  it("says so when a conversation does not exist", async () => {
    await ada.go("/c/chat_00000000000000000000000000");
    await ada.page.getByRole("alert").waitFor();
    await ada.accessible("missing conversation");
  });
});

describe("temporary chat", () => {
  it("answers, is marked, and is gone after a reload", async () => {
    await ada.go("/");
    await ada.page.getByRole("button", { name: "Temporary chat" }).click();
    await ada.page.getByText("nothing here is stored").waitFor();
    await ada.send("This is a secret about a birthday.");
    await ada.page.getByRole("button", { name: "Stop", exact: true }).waitFor();
    await expect.poll(async () => (await ada.answers()).at(-1)?.length ?? 0, { timeout: 110_000 }).toBeGreaterThan(0);
    await ada.settled(1_000);
    await ada.accessible("temporary chat");
    expect(await ada.page.locator(".entry").getByText("birthday").count()).toBe(0);
    await ada.page.reload();
    await ada.page.getByText("nothing here is stored").waitFor();
    expect(await ada.page.locator("article.turn").count()).toBe(0);
  });
});

describe("administration", () => {
  it("shows a new key once, with an example that works", async () => {
    await ada.go("/settings/keys");
    await ada.page.getByRole("button", { name: "Create a key" }).click();
    await ada.page.getByRole("dialog").waitFor();
    await ada.page.getByLabel("Name").fill("library search");
    await ada.accessible("create a key");
    await ada.page.getByRole("button", { name: "Create", exact: true }).click();
    const secret = await ada.page.getByTestId("secret").inputValue();
    expect(secret).toMatch(/^im-/);
    await ada.accessible("the new key");
    expect(await ada.page.getByRole("dialog").innerText()).toContain(
      `OpenAI(base_url="${baseUrl}/v1", api_key="${secret}")`,
    );
    if (!inject("faked")) {
      const models = await fetch(`${baseUrl}/v1/models`, { headers: { Authorization: `Bearer ${secret}` } });
      expect(models.status).toBe(200);
    }
    await ada.page.getByRole("button", { name: "Copy the key" }).click();
    expect(await ada.page.evaluate(() => navigator.clipboard.readText())).toBe(secret);
    await ada.page.getByRole("button", { name: "I have stored it" }).click();
    expect(await ada.page.content()).not.toContain(secret);
    await ada.page.getByRole("button", { name: "Revoke library search" }).click();
    await ada.page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await ada.page.getByText("revoked", { exact: true }).waitFor();
  });

  it("adds a person, who may chat but not administer, until disabled", async () => {
    await ada.go("/settings/people");
    await ada.page.getByRole("button", { name: "Add a person" }).click();
    await ada.page.getByLabel("User name").fill("mia");
    await ada.page.getByRole("button", { name: "Make one up" }).click();
    const password = await ada.page.getByLabel("First password").inputValue();
    expect(password).toMatch(/^(?:[a-z2-9]{5}-){3}[a-z2-9]{5}$/);
    await ada.accessible("add a person");
    await ada.page.getByRole("button", { name: "Add", exact: true }).click();
    await ada.page.getByText("mia", { exact: true }).waitFor();

    const mia = await Watched.open(browser, baseUrl);
    await mia.go("/");
    await mia.signIn("mia", password);
    await mia.page.getByRole("button", { name: "mia Member" }).click();
    expect(await mia.page.getByRole("menuitem").allInnerTexts()).not.toContain("Administration");
    await mia.page.keyboard.press("Escape");
    for (const own of ["usage", "keys", "models"]) {
      await mia.go(`/settings/${own}`);
      await mia.page.getByRole("heading", { level: 1 }).waitFor();
      await mia.page.waitForLoadState("networkidle");
      expect(await mia.page.getByRole("alert").allInnerTexts(), own).toEqual([]);
    }
    await mia.go("/settings/people");
    await mia.page.getByRole("heading", { name: "Account" }).waitFor();

    await ada.page.getByLabel("Role of mia").selectOption("auditor");
    await ada.page.getByText("mia was changed.").first().waitFor();
    await ada.page.getByRole("button", { name: "Options for mia" }).click();
    await ada.page.getByRole("menuitem", { name: "Disable" }).click();
    await ada.page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
    await ada.page.getByText("disabled", { exact: true }).waitFor();
    await mia.go("/settings/keys");
    await mia.page.getByRole("heading", { name: "Sign in" }).waitFor();
    mia.clean();
    await mia.close();
  });

  it("shows a model's walls and digest, pins it, unloads and loads it", async () => {
    await ada.go("/settings/models");
    await expect.poll(() => ada.page.url()).toContain("#/models/here");
    const card = ada.page.locator(".models > li").first();
    await card.getByText("Ready").waitFor();
    await card.getByText("Walls around it").waitFor();
    await card.getByText("Details").click();
    expect(await card.innerText()).toMatch(/sha256:[0-9a-f]{64}/);
    await ada.accessible("models");
    const name = await card.locator("h2").first().innerText();
    await ada.page.getByRole("button", { name: `Options for ${name}` }).click();
    await ada.page.getByRole("menuitem", { name: "Keep loaded" }).click();
    await card.getByText("kept loaded").first().waitFor();
    await ada.page.getByRole("button", { name: `Options for ${name}` }).click();
    await ada.page.getByRole("menuitem", { name: "Let it go when idle" }).click();
    await card.getByRole("button", { name: "Unload" }).click();
    await card.getByText("Not loaded").waitFor();
    await card.getByRole("button", { name: "Load", exact: true }).click();
    await card.getByText("Ready").waitFor({ timeout: 110_000 });
  });

  it("lists and filters the audit log, and verifies it", async () => {
    await ada.go("/settings/audit");
    await ada.page.getByText("Key revoked").last().waitFor();
    await ada.page.getByLabel("Event").selectOption("person.created");
    // The list before the filter stays until the filtered one is there.
    await expect
      .poll(async () => [...new Set(await ada.page.locator("ol.rows .what").allInnerTexts())])
      .toEqual(["Person added"]);
    await ada.page.locator("ol.rows summary").first().click();
    await ada.page.getByRole("button", { name: "Verify the whole log" }).click();
    await ada.page.getByText(/are in order/).waitFor();
    await ada.page.getByText("Signed checkpoint").first().click();
    await ada.accessible("audit");
  });

  it("counts usage", async () => {
    await ada.go("/settings/usage");
    for (const by of ["Person", "Model", "Day"]) {
      await ada.page.getByText(by, { exact: true }).first().click();
      await ada.page.locator("tbody tr").first().waitFor();
    }
    await ada.accessible("usage");
  });

  it("tells what this machine can wall in", async () => {
    await ada.go("/settings/machine");
    await ada.page.getByRole("heading", { name: "Confinement" }).waitFor();
  });
});

describe("looks", () => {
  it("every screen is accessible in the dark", async () => {
    await ada.go("/settings/account");
    await ada.page.getByText("Dark", { exact: true }).click();
    expect(
      await ada.page.evaluate(
        () => getComputedStyle(document.body).colorScheme || document.documentElement.dataset.theme,
      ),
    ).toContain("dark");
    for (const room of ROOMS) {
      await ada.go(`/${room}`);
      await ada.page.getByRole("heading", { level: 1 }).waitFor();
      await ada.page.waitForLoadState("networkidle");
      await ada.accessible(`${room}, dark`, { colours: true });
    }
    await ada.go("/");
    await ada.page.locator(".entry a").first().click();
    await ada.page.locator("article.turn").first().waitFor();
    await ada.accessible("chat, dark", { colours: true });
  });

  it("every screen is accessible and fits on a phone, in the dark", async () => {
    const phone = await Watched.open(browser, baseUrl, { ...PHONE, colorScheme: "dark" });
    await phone.go("/");
    await phone.page.getByRole("heading", { name: "Sign in" }).waitFor();
    await phone.accessible("login, phone");
    await phone.signIn("ada", PASSWORD);
    await phone.accessible("new chat, phone");
    for (const room of ROOMS) {
      await phone.go(`/${room}`);
      await phone.page.getByRole("heading", { level: 1 }).waitFor();
      await phone.page.waitForLoadState("networkidle");
      await phone.accessible(`${room}, phone`);
      expect(await phone.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), room).toBe(true);
    }
    await phone.go("/");
    await phone.page.getByRole("button", { name: "Show the sidebar" }).click();
    await phone.page.getByText("Harbour notes").waitFor();
    await phone.accessible("drawer, phone");
    await phone.page.getByText("Harbour notes").click();
    await phone.page.locator("article.turn").first().waitFor();
    await phone.accessible("chat, phone");
    phone.clean();
    await phone.close();
  });
});

describe("the end", () => {
  it("changes the password", async () => {
    await ada.go("/settings/account");
    await ada.page.getByLabel("Present password").fill("not this one at all");
    await ada.page.getByLabel("New password", { exact: true }).fill(`${PASSWORD} 2`);
    await ada.page.getByLabel("New password, once more").fill(`${PASSWORD} 2`);
    await ada.page.getByRole("button", { name: "Change the password" }).click();
    await ada.page.getByRole("alert").waitFor();
    await ada.page.getByLabel("Present password").fill(PASSWORD);
    await ada.page.getByRole("button", { name: "Change the password" }).click();
    await ada.page.getByText("The password is changed.").first().waitFor();
  });

  it("signs out and leaves nothing on screen", async () => {
    await ada.page.getByRole("button", { name: "ada Administrator" }).click();
    await ada.page.getByRole("menuitem", { name: "Sign out" }).click();
    await ada.page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await ada.page.content()).not.toContain("Harbour notes");
    await ada.page.reload();
    await ada.page.getByRole("heading", { name: "Sign in" }).waitFor();
  });

  it("refuses the old password with words, and takes the new one", async () => {
    await ada.page.getByLabel("User name").fill("ada");
    await ada.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await ada.page.getByRole("button", { name: "Sign in" }).click();
    await ada.page.getByRole("alert").waitFor();
    await ada.accessible("login with an error");
    await ada.signIn("ada", `${PASSWORD} 2`);
  });

  it("never asked another host, never broke, and the policy had nothing to stop", () => {
    ada.clean();
    expect(ada.requests.length).toBeGreaterThan(20);
  });
});
