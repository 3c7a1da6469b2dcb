/** What needs a server that misbehaves on request: always against the fake one, furnished. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { fake } from "../fake-server.mjs";
import { PHONE, Watched } from "./harness";

const PASSWORD = "correct horse battery";
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
let server: Awaited<ReturnType<typeof fake>>;

beforeAll(async () => {
  browser = await launch();
  // Answers come quickly; where one has to last, it is asked for slowly.
  server = await fake({ seed: true, pace_ms: 3 });
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function ada(options = {}): Promise<Watched> {
  const watched = await Watched.signedIn(browser, server.url, "ada", PASSWORD, "/", options);
  await watched.page.getByLabel("Your message").waitFor();
  return watched;
}

describe("when things go wrong", () => {
  it("an error in mid-answer is shown with its hint, and can be retried", async () => {
    const me = await ada();
    await me.send("[fail] please");
    await me.page.getByText("The model's process ended in mid-answer.").waitFor();
    await me.page.getByText("It is being started again; try once more.").waitFor();
    expect((await me.answers())[0]).toContain("Here is a calm");
    await me.accessible("a failed answer");
    await me.page.getByRole("button", { name: "Try again" }).click();
    await me.settled();
    expect(await me.page.locator("article.turn").count()).toBe(2);
    me.clean();
    await me.close();
  });

  it("a process that was refused something is named, with what it tried", async () => {
    const me = await ada();
    await me.go("/settings/machine");
    await me.page.getByText("Something within a day").waitFor();
    await me.page.getByText("socket (3 times), execve").waitFor();
    await me.page.getByText("A model, smollm2:135m-instruct-q4_1 (process 4242)").waitFor();
    await me.accessible("the machine");
    me.clean();
    await me.close();
  });

  it("a lost connection is told from a finished answer", async () => {
    const me = await ada();
    await me.send("[cut] please");
    await me.page.getByText("The answer broke off before its end.").waitFor();
    await me.close();
  });

  it("a full queue can be retried without asking twice", async () => {
    const me = await ada();
    await me.send("[busy] one");
    await me.page.getByText("Too many are waiting already.").waitFor();
    await me.page.getByRole("button", { name: "Try again" }).click();
    await me.page.getByTestId("meta").waitFor();
    expect(await me.page.locator("article.turn").count()).toBe(2);
    await me.page.reload();
    await me.page.locator("article.turn").nth(1).waitFor();
    expect(await me.page.locator("article.turn").count()).toBe(2);
    await me.close();
  });

  it("the place in the queue is shown while waiting", async () => {
    const me = await ada();
    server.world.ahead = 3;
    await me.send("[queue] one");
    await me.page.getByText("Number 3 in the queue").waitFor();
    await me.accessible("waiting");
    server.world.ahead = 1;
    await me.page.getByText("Number 1 in the queue").waitFor();
    server.world.ahead = 0;
    await me.settled();
    await me.close();
  });

  it("an ended session leads to signing in, with words", async () => {
    const me = await ada();
    server.world.sessions.length = 0;
    await me.go("/settings/keys");
    await me.page.getByText("Your session has ended.").waitFor();
    await me.accessible("an ended session");
    await me.page.getByLabel("User name").fill("ada");
    await me.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await me.page.getByRole("button", { name: "Sign in" }).click();
    await me.page.getByRole("heading", { level: 1, name: "Keys" }).waitFor();
    await me.close();
  });

  it("a server that does not answer is said, with a way to try again", async () => {
    const me = await Watched.open(browser, server.url);
    await me.page.route("**/welcome", (route) => route.abort());
    await me.go("/");
    await me.page.getByText("The server cannot be reached.").waitFor();
    await me.accessible("no server");
    await me.page.unroute("**/welcome");
    await me.page.getByRole("button", { name: "Try again" }).click();
    await me.page.getByRole("heading", { name: "Sign in" }).waitFor();
    await me.close();
  });

  it("an answer goes on being written while another conversation is read", async () => {
    const me = await ada();
    await me.send("[long] [slow] tell me everything");
    await me.page.locator(".prose").first().waitFor();
    await me.page.locator(".entry").getByText("Lesson plan").click();
    await me.page.getByText("What markdown can hold").waitFor();
    await me.page.locator(".entry").getByText("[long] [slow] tell me everything").first().click();
    const before = (await me.answers())[0]?.length ?? 0;
    await expect.poll(async () => (await me.answers())[0]?.length ?? 0).toBeGreaterThan(before);
    await me.page.getByRole("button", { name: "Stop", exact: true }).click();
    await me.settled();
    await me.close();
  });
});

describe("what a model may write", () => {
  it("attacks do not run, fetch or navigate", async () => {
    const me = await ada();
    await me.send("[attack] now");
    await me.page.getByTestId("meta").waitFor({ timeout: 110_000 });
    expect(await me.page.evaluate(() => (window as unknown as { attacked?: number }).attacked)).toBeUndefined();
    expect(
      await me.page.locator(".prose :is(img, script, iframe, form, input, style, svg:not(figure svg), object)").count(),
    ).toBe(0);
    expect(me.page.url().startsWith(server.url)).toBe(true);
    await me.page.reload();
    await me.page.locator(".prose").first().waitFor();
    expect(await me.page.evaluate(() => (window as unknown as { attacked?: number }).attacked)).toBeUndefined();
    me.clean();
    await me.close();
  });

  it("links and pictures ask first, and say where they lead", async () => {
    const me = await ada();
    await me.send("[show] please");
    await me.page.getByTestId("meta").waitFor();
    await me.page.getByRole("link", { name: "Picture not loaded: A picture" }).click();
    await me.page.getByText("https://tracker.example.com/pixel.png").last().waitFor();
    await me.accessible("leaving");
    await me.page.keyboard.press("Escape");
    await me.page.getByRole("link", { name: "link", exact: true }).focus();
    await me.page.keyboard.press("Enter");
    const open = me.page.getByRole("link", { name: "Open in a new tab" });
    expect(await open.getAttribute("href")).toBe("https://example.org/path?q=1");
    expect(await open.getAttribute("rel")).toBe("noopener noreferrer");
    await me.page.getByRole("button", { name: "Close" }).click();
    await me.page.locator("math").first().waitFor();
    await me.page.locator(".hljs-keyword").first().waitFor();
    await me.page.getByRole("button", { name: "Copy code" }).click();
    expect(await me.page.evaluate(() => navigator.clipboard.readText())).toContain("def greet");
    me.clean();
    await me.close();
  });

  it("reasoning and limits are shown for what they are", async () => {
    const me = await ada();
    await me.send("[think] [length] please");
    await me.page.getByText("The answer reached its length limit.").waitFor();
    await me.page.getByText("Its reasoning").waitFor();
    await me.accessible("reasoning");
    await me.close();
  });
});

describe("reading along", () => {
  it("follows the answer, lets go when the person scrolls up, and comes back on request", async () => {
    const me = await ada();
    await me.send("[long] [slow] please");
    const scroller = me.page.locator(".scroller");
    const state = () =>
      scroller.evaluate((node) => ({
        top: node.scrollTop,
        rest: node.scrollHeight - node.scrollTop - node.clientHeight,
      }));
    await expect.poll(async () => (await state()).top, { timeout: 60_000 }).toBeGreaterThan(100);
    expect((await state()).rest).toBeLessThan(60);
    await scroller.hover();
    await me.page.mouse.wheel(0, -120);
    const latest = me.page.getByRole("button", { name: "Jump to the latest" });
    await latest.waitFor();
    const { top } = await state();
    const { length = 0 } = (await me.answers())[0] ?? "";
    await expect.poll(async () => (await me.answers())[0]?.length ?? 0).toBeGreaterThan(length + 60);
    expect((await state()).top).toBe(top);
    await latest.click();
    await expect.poll(async () => (await state()).rest).toBeLessThan(60);
    await me.page.getByLabel("Your message").press("Escape");
    await me.settled();
    await me.page.locator(".ending").getByText("Stopped.").waitFor();
    await me.close();
  });

  it("has text files sent with its question, and refuses others by name", async () => {
    const me = await ada();
    const add = (name: string, text: string | Buffer) =>
      me.page.getByTestId("files").setInputFiles({ name, mimeType: "", buffer: Buffer.from(text) });
    await add("photo.png", Buffer.from([0x89, 0x50, 0xff]));
    await me.page.getByText("“photo.png” is no text file.").first().waitFor();
    await add("notes.md", "# Tides\nTwice a day.\n");
    await add("other.csv", "a,b\n");
    await me.page.getByRole("button", { name: "Take out: other.csv" }).click();
    await me.accessible("a file beside a question");
    await me.send("How often?");
    await me.settled();
    const mine = me.page.locator("article.turn.mine");
    await expect.poll(() => mine.locator("summary").innerText()).toContain("notes.md");
    await mine.locator("summary").click();
    await mine.getByText("Twice a day.").waitFor();
    await me.accessible("a question with a file");
    await me.page.reload();
    await expect.poll(() => mine.locator("summary").allInnerTexts()).toHaveLength(1);
    await me.close();
  });

  it("is said politely: whole paragraphs, then that it is complete", async () => {
    const me = await ada();
    const said: string[] = [];
    await me.page.exposeFunction("heard", (text: string) => said.push(text));
    await me.page.evaluate(() => {
      const node = document.querySelector("[data-testid=said]") as HTMLElement;
      new MutationObserver(() =>
        (window as unknown as { heard(text: string): void }).heard(node.textContent ?? ""),
      ).observe(node, { childList: true, characterData: true, subtree: true });
    });
    await me.send("[show] please");
    await me.page.getByTestId("meta").waitFor();
    await expect.poll(() => said.at(-1)).toContain("The answer is complete.");
    expect(said[0]).toContain("The answer is being written.");
    expect(said.length).toBeGreaterThan(3);
    expect(said.length).toBeLessThan(40);
    await me.close();
  });

  it("a long answer leaves the page responsive (measured; the bound is generous)", async () => {
    const me = await ada();
    await me.page.evaluate(() => {
      const tasks: number[] = [];
      (window as unknown as { tasks: number[] }).tasks = tasks;
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({
        type: "longtask",
      });
    });
    await me.send("[long] please");
    await me.page.getByTestId("meta").waitFor();
    const tasks = await me.page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
    console.log(`tasks over 50 ms while streaming: ${tasks.length}, longest ${Math.round(Math.max(0, ...tasks))} ms`);
    expect(Math.max(0, ...tasks)).toBeLessThan(2000);
    await me.close();
  });
});

describe("with the keyboard alone", () => {
  it("signs in, skips, writes, stops, edits, renames, administers and signs out", async () => {
    const me = await Watched.open(browser, server.url);
    const { page } = me;
    const press = (key: string) => page.keyboard.press(key);
    const focused = () =>
      page.evaluate(
        () => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim() ?? "",
      );
    const tabTo = async (name: string) => {
      for (let step = 0; step < 60; step++) {
        if ((await focused()).startsWith(name)) return;
        await press("Tab");
      }
      throw new Error(`never reached ${name}; at ${await focused()}`);
    };
    await me.go("/");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("username");
    await page.keyboard.type("ada");
    await press("Tab");
    await page.keyboard.type(PASSWORD);
    await press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("composer");

    // The skip links come before everything and lead where they say.
    for (let step = 0; step < 60 && (await focused()) !== "Skip to the main content"; step++) await press("Shift+Tab");
    expect(await focused()).toBe("Skip to the main content");
    await me.accessible("a skip link");
    await press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("main");
    await press("Shift+Tab");
    for (let step = 0; step < 60 && (await focused()) !== "Skip to the message box"; step++) await press("Shift+Tab");
    await press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("composer");

    // Shift + Enter is a new line, Enter sends, Escape stops.
    await page.keyboard.type("[long] [slow] line one");
    await press("Shift+Enter");
    await page.keyboard.type("line two");
    await press("Enter");
    await page.locator(".prose").first().waitFor();
    await press("Escape");
    await page.locator(".ending").getByText("Stopped.").waitFor();
    expect(await page.locator(".bubble").innerText()).toBe("[long] [slow] line one\nline two");

    await page.evaluate(() => (document.querySelector("section.scroller") as HTMLElement).focus());
    await tabTo("Edit this message");
    await press("Enter");
    await expect.poll(focused).toBe("Edit your message");
    await press("Control+a");
    await page.keyboard.type("Something shorter");
    await press("Enter");
    await me.settled();
    expect(await page.locator(".bubble").innerText()).toBe("Something shorter");

    // Search has a shortcut; a conversation's menu has arrows.
    await press("Control+k");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("search");
    await page.keyboard.type("fractions");
    await expect.poll(() => page.locator(".entry").count()).toBe(1);
    await tabTo("Options for “Lesson plan: fractions”");
    await press("Enter");
    await expect.poll(focused).toBe("Rename");
    await press("ArrowDown");
    await press("ArrowDown");
    expect(await focused()).toBe("Delete");
    await press("Escape");
    await expect.poll(focused).toContain("Options for");

    // The model is chosen with arrows.
    await tabTo("Model:");
    await press("Enter");
    await expect.poll(focused).toMatch(/^smollm2/);
    await press("ArrowDown");
    await press("Enter");
    await expect.poll(() => page.getByRole("button", { name: /^Model: qwen3/ }).count()).toBe(1);

    await page.evaluate(() => (document.querySelector(".foot .person") as HTMLElement).focus());
    await press("Enter");
    await expect.poll(focused).toBe("Account");
    await press("a"); // the next entry that begins with it
    expect(await focused()).toBe("Administration");
    await press("Enter");
    await page.getByRole("heading", { level: 1, name: "People" }).waitFor();
    await tabTo("Add a person");
    await press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("person-name");
    // The focus stays in the dialog.
    for (let step = 0; step < 25; step++) {
      await press("Tab");
      expect(
        await page.evaluate(
          () => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null,
        ),
      ).toBe(true);
    }
    await press("Escape");
    await expect.poll(focused).toBe("Add a person");

    await page.evaluate(() => (document.querySelector(".foot .person") as HTMLElement).focus());
    await press("Enter");
    await press("End");
    expect(await focused()).toBe("Sign out");
    await press("Enter");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    me.clean();
    await me.close();
  });

  it("shows where the focus is", async () => {
    const me = await ada();
    await me.page.keyboard.press("Tab");
    for (let step = 0; step < 25; step++) {
      const ring = await me.page.evaluate(() => {
        const node = document.activeElement;
        if (!node || node === document.body) return "nowhere";
        const own = getComputedStyle(node);
        const around = getComputedStyle(node.closest("form.composer") ?? node);
        return own.outlineStyle !== "none" || around.boxShadow !== "none" ? "" : node.outerHTML.slice(0, 120);
      });
      if (ring !== "nowhere") expect(ring).toBe("");
      await me.page.keyboard.press("Tab");
    }
    await me.close();
  });
});

// A phone in the dark is in journey.test.ts.
describe.each([
  ["desktop, light", { colorScheme: "light" }],
  ["desktop, dark", { colorScheme: "dark" }],
  ["phone, light", { ...PHONE, colorScheme: "light" }],
] as const)("accessibility: %s", (kind, options) => {
  it("of every screen", async () => {
    const me = await Watched.open(browser, server.url, options);
    const theme = { colours: options.colorScheme === "dark" };
    await me.go("/");
    await me.page.getByRole("heading", { name: "Sign in" }).waitFor();
    await me.accessible(`login, ${kind}`, theme);
    await me.signIn("ada", PASSWORD);
    await me.page.getByText("This starter model").waitFor();
    await me.accessible(`new chat, ${kind}`, theme);
    await me.page.getByRole("button", { name: /^Model:/ }).click();
    await me.page.getByRole("menuitemradio").first().waitFor();
    await me.accessible(`model picker, ${kind}`, theme);
    await me.page.keyboard.press("Escape");
    await me.page.getByLabel("Your message").fill("[show] please");
    await me.page.getByRole("button", { name: "Send", exact: true }).click();
    await me.page.getByTestId("meta").waitFor();
    await me.page.locator(".hljs-keyword").first().waitFor();
    await me.page.locator("math").first().waitFor();
    await me.accessible(`chat, ${kind}`, theme);
    await me.go("/temporary");
    await me.page.getByText("nothing here is stored").waitFor();
    await me.accessible(`temporary chat, ${kind}`, theme);
    for (const room of ROOMS) {
      await me.go(`/${room}`);
      await me.page.getByRole("heading", { level: 1 }).waitFor();
      await me.quiet();
      for (const details of await me.page.locator("main details").all())
        await details.evaluate((node) => node.setAttribute("open", ""));
      await me.accessible(`${room}, ${kind}`, theme);
      expect(
        await me.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        `${room} is too wide`,
      ).toBe(true);
    }
    me.clean();
    await me.close();
  });
});

describe("the served page", () => {
  it("names no other host in any file", async () => {
    const html = await (await fetch(`${server.url}/`)).text();
    const assets = [...html.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((found) => found[1]);
    expect(assets.length).toBeGreaterThan(3);
    expect(html).not.toMatch(/https?:\/\//);
    expect(html).not.toMatch(/<script(?![^>]*src=)/);
    expect(html).not.toMatch(/<style|style=|\son[a-z]+=/);
  });
});
