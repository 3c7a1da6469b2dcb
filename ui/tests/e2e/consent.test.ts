/** Notices to be read, labels under answers, and what the account says of age and consent. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { fake } from "../fake-server.mjs";
import { PHONE, Watched } from "./harness";

const RULES = {
  id: "notice_rules",
  title: "House rules",
  text: "Be **kind**.",
  audience: "everyone",
  blocking: true,
  digest: "sha256:1",
  changed_ms: 0,
};
const AI = {
  ...RULES,
  id: "notice_ai",
  title: "You are talking to an AI",
  text: "To {model}, not to a person.",
  blocking: false,
};

let browser: Browser;
let server: Awaited<ReturnType<typeof fake>>;

beforeAll(async () => {
  browser = await launch();
  server = await fake({ seed: true });
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function ada(options = {}): Promise<Watched> {
  const watched = await Watched.signedIn(browser, server.url, "ada", "correct horse battery", "/", options);
  await watched.page.getByLabel("Your message").waitFor();
  return watched;
}

describe("notices", () => {
  it.each([
    ["a desk", {}],
    ["a phone", PHONE],
  ])("that block wait on the page until they are read, on %s", async (_, options) => {
    server.world.notices = [RULES, AI];
    const me = await ada(options);
    const dialog = me.page.getByRole("dialog", { name: "House rules" });
    await dialog.getByText("kind").waitFor();
    await me.accessible("a notice to be read");
    await me.page.keyboard.press("Escape");
    expect(await dialog.isVisible()).toBe(true);
    await dialog.getByRole("button", { name: "I have read this" }).focus();
    await me.page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    const strip = me.page.getByRole("complementary", { name: "You are talking to an AI" });
    await strip.getByText("You are talking to an AI").click();
    await strip.getByText("not to a person").waitFor();
    await me.accessible("a notice beside the conversation");
    await strip.getByRole("button").click();
    await strip.waitFor({ state: "detached" });
    me.clean();
    await me.close();
  });

  it("can be put off, and are on the account page", async () => {
    server.world.notices = [RULES];
    const me = await ada();
    await me.page.getByRole("dialog").getByRole("button", { name: "Not now" }).click();
    await me.page.getByRole("heading", { name: "House rules" }).waitFor();
    await me.accessible("the account page with a notice");
    await me.page.getByRole("button", { name: "I have read this: House rules" }).click();
    await me.page.getByRole("heading", { name: "House rules" }).waitFor({ state: "detached" });
    await me.page.getByRole("list", { name: "What you have read" }).getByText("House rules").first().waitFor();
    expect(server.world.read[0]?.notice_id).toBe("notice_rules");
    await me.close();
  });

  it("that changed meanwhile are shown anew", async () => {
    server.world.notices = [RULES];
    const me = await ada();
    await me.page.getByRole("dialog").getByText("kind").waitFor();
    server.world.notices = [{ ...RULES, text: "Be kinder.", digest: "sha256:2" }];
    await me.page.getByRole("button", { name: "I have read this" }).click();
    await me.page.getByRole("dialog").getByText("Be kinder.").waitFor();
    await me.page.getByRole("button", { name: "I have read this" }).click();
    await me.page.getByRole("dialog").waitFor({ state: "detached" });
    await me.close();
  });
});

describe("what an AI wrote", () => {
  it("says so under it, in what is copied and in what is saved", async () => {
    server.world.notices = [];
    const me = await ada();
    await me.send("Tell me about rivers.");
    await me.settled();
    const answer = me.page.locator("article.turn").last();
    await answer.getByText(/^Written by AI: .+ It can be wrong\.$/).waitFor();
    await answer.getByRole("button", { name: "Copy this message" }).click();
    const copied = await me.page.evaluate(() => navigator.clipboard.readText());
    expect(copied).toMatch(/\n\nWritten with AI \(.+\), at Hill School\. It can be wrong; check what matters\.\n$/);
    await me.page.emulateMedia({ media: "print" });
    expect(await answer.getByText(/^Written by AI/).isVisible()).toBe(true);
    const question = me.page.locator("article.turn").first();
    expect(await question.getByText(/Written by AI/).count()).toBe(0);
    me.clean();
    await me.close();
  });
});

describe("the account", () => {
  it("says what is off and what a guardian has to consent to", async () => {
    server.world.notices = [];
    server.world.consent = { age: "13-15", off: ["tools"], needed: ["use", "keep"], consents: ["use"] };
    const me = await ada();
    await me.go("/settings/account");
    await me.page.getByText("You are known to be 13 to 15.").waitFor();
    await me.page.getByText(/not recorded: keeping conversations\./).waitFor();
    await me.page.getByText("Off for your age: functions that models call.").waitFor();
    await me.accessible("the account of somebody younger");
    await me.go("/");
    await me.page.getByLabel("Your message").waitFor();
    expect(await me.page.getByText("Before models answer you").count()).toBe(0); // asking is consented to
    server.world.consent = {};
    await me.close();
  });

  it("and that nothing can be asked before that, in the chat itself", async () => {
    server.world.consent = { age: "13-15", needed: ["use"], consents: [] };
    const me = await ada();
    await me.page.getByText("Before models answer you, a parent or guardian has to consent.").waitFor();
    await me.accessible("a chat that waits for consent");
    server.world.consent = {};
    await me.close();
  });
});
