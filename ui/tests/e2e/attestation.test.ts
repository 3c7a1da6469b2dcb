/** An account of the installation, made and read on the page and printed, against a real service. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { PHONE, Watched } from "./harness";

/** A real server with an administrator; `tests/journeys/test_attestation.py` gives it. */
const url = process.env.ATTEST_URL ?? "";
const username = process.env.ATTEST_USER ?? "";
const password = process.env.ATTEST_PASSWORD ?? "";
/** A folder for pictures to look at; none are taken without. */
const pictures = process.env.ATTEST_PICTURES ?? "";

let browser: Browser;

beforeAll(async () => {
  if (url !== "") browser = await launch();
});

afterAll(async () => {
  await browser?.close();
});

describe.skipIf(url === "")("an attestation", () => {
  it("is asked for by keyboard with somebody's number, read, and printed", async () => {
    const me = await Watched.open(browser, url);
    const { page } = me;
    await me.go("/");
    await me.signIn(username, password);
    await me.go("/settings/attestation");
    const field = page.getByLabel("Their number");
    await field.focus();
    await page.keyboard.type("a1b2c3");
    await page.keyboard.press("Enter");
    const row = page.getByRole("listitem").filter({ hasText: "number a1b2c3" });
    await row.waitFor();
    await me.accessible("attestations");
    if (pictures !== "") await page.screenshot({ path: `${pictures}/room.png`, fullPage: true });

    const file = await Promise.all([
      page.waitForEvent("download"),
      row.getByRole("link", { name: /^Signed file/ }).click(),
    ]);
    expect(file[0].suggestedFilename()).toMatch(/^att_[0-9a-z]+\.json$/);

    await row.getByRole("link", { name: /^Read and print/ }).focus();
    const [opened] = await Promise.all([page.context().waitForEvent("page"), page.keyboard.press("Enter")]);
    await opened.getByRole("heading", { level: 1, name: /^Attestation of/ }).waitFor();
    const address = opened.url();
    await opened.close();

    // The page that a board reads: on a screen, on a phone, on paper.
    await page.goto(address);
    await page.getByRole("heading", { name: "What holds" }).waitFor();
    await me.accessible("the account");
    if (pictures !== "") await page.screenshot({ path: `${pictures}/page.png`, fullPage: true });
    await page.emulateMedia({ media: "print" });
    await me.accessible("the account, printed");
    const printed = await page.pdf({ format: "A4" });
    expect(printed.subarray(0, 5).toString()).toBe("%PDF-");
    if (pictures !== "") await page.pdf({ format: "A4", path: `${pictures}/page.pdf` });
    await page.emulateMedia({ media: null });
    await page.setViewportSize(PHONE.viewport);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(wide, "nothing but tables scrolls sideways").toBe(false);
    if (pictures !== "") await page.screenshot({ path: `${pictures}/page-phone.png`, fullPage: true });
    me.clean();
    await me.close();
  });

  it("fits a phone, in the dark", async () => {
    const phone = await Watched.open(browser, url, { ...PHONE, colorScheme: "dark" });
    await phone.go("/");
    await phone.signIn(username, password);
    await phone.go("/settings/attestation");
    await phone.page
      .getByRole("link", { name: /^Read and print/ })
      .first()
      .waitFor();
    await phone.accessible("attestations, phone, dark");
    const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(wide).toBe(false);
    if (pictures !== "") await phone.page.screenshot({ path: `${pictures}/room-phone.png`, fullPage: true });
    phone.clean();
    await phone.close();
  });
});
