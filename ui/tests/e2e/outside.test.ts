/**
 * The browser as a way out: whatever a model writes, nothing is asked of anybody but this service until a person says so.
 *
 * It is run in a network whose only way out counts packets (tests/journeys/test_zero.py); with HOUSE_URL, HOUSE_USER and
 * HOUSE_PASSWORD the rooms of a real service are walked through as well.
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
  const me = await Watched.signedIn(browser, server.url, "ada", PASSWORD);
  await me.page.getByLabel("Your message").waitFor();
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
    expect(await prose.evaluate((node) => node.querySelectorAll("[src],[href],[srcset],[style],[ping]").length)).toBe(
      0,
    );
    expect(foreign(me)).toEqual([]);
    me.clean();
    await me.close();
  });

  it("leads away only after it was said where to, and somebody said yes", async () => {
    const asked: string[] = [];
    const elsewhere = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.referer ?? "from nowhere"}`);
      response.end("elsewhere");
    });
    await new Promise<void>((listening) => elsewhere.listen(0, "127.0.0.1", listening));
    const address = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/page`;
    const me = await ada();
    await me.send(`[link ${address}]`);
    await me.page.getByTestId("meta").waitFor();
    await me.page.locator(".prose [data-url]").click();
    await me.page.getByRole("dialog").getByText(address).waitFor();
    expect([foreign(me), asked]).toEqual([[], []]);
    await me.page.getByRole("link", { name: "Open in a new tab" }).click();
    // The log that was empty until now does see what is asked of somebody else.
    await expect.poll(() => asked).toContain("/page from nowhere");
    expect(foreign(me)).toContain(address);
    await me.close();
    elsewhere.close();
  });
});

describe("a page that was tricked all the same", () => {
  it("is held back by its policy", async () => {
    const me = await ada();
    const wanted = ["connect", "default", "font", "img", "media", "object", "script", "style"].map(
      (kind) => `${kind}-src`,
    );
    const stopped = await me.page.evaluate(
      async ({ host, kinds }) => {
        const found = new Set<string>();
        document.addEventListener("securitypolicyviolation", (event) =>
          found.add(event.effectiveDirective.replace(/-(?:elem|attr)$/, "")),
        );
        const put = (name: string, attributes: Record<string, string>) => {
          const element = document.createElement(name);
          for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
          document.body.append(element);
        };
        put("img", { src: `http://${host}/img` });
        put("link", { rel: "stylesheet", href: `http://${host}/style` });
        put("link", { rel: "prefetch", href: `http://${host}/prefetch` });
        put("link", { rel: "dns-prefetch", href: "//outside.example" });
        put("a", { href: "http://outside.example/anchor" });
        put("script", { src: `http://${host}/script` });
        put("object", { data: `http://${host}/object` });
        put("video", { src: `http://${host}/video` });
        document.body.style.background = `url(http://${host}/css)`;
        new FontFace("x", `url(http://${host}/font)`).load().catch(() => {});
        fetch(`http://${host}/fetch`).catch(() => {});
        navigator.sendBeacon(`http://${host}/beacon`, "said");
        try {
          new WebSocket(`ws://${host}/socket`);
        } catch {
          // It may say so at once.
        }
        for (let turn = 0; turn < 200 && !kinds.every((kind) => found.has(kind)); turn++)
          await new Promise((resolve) => setTimeout(resolve, 20));
        return [...found].sort();
      },
      { host: OUTSIDE[1], kinds: wanted },
    );
    expect(stopped).toEqual(wanted);
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
      await me.quiet();
    }
    expect(me.requests.length).toBeGreaterThan(places.length);
    expect(foreign(me)).toEqual([]);
    me.clean();
    await me.close();
  });
});
