/** The marketplace against the fake server: its catalogue, its pulls, and what can go wrong with them. */

import type { Browser, Locator } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { fake } from "../fake-server.mjs";
import { PHONE, Watched } from "./harness";

const PASSWORD = "correct horse battery";

let browser: Browser;
let server: Awaited<ReturnType<typeof fake>>;
let me: Watched;

beforeAll(async () => {
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
});

/** Somebody in the marketplace of a server of their own. */
async function visit(path = "/models", options = {}, name = "ada"): Promise<Watched> {
  const watched = await Watched.signedIn(browser, server.url, name, PASSWORD, path, options);
  await watched.page.getByRole("heading", { level: 1, name: "Models" }).waitFor();
  return watched;
}

beforeEach(async () => {
  server = await fake({ seed: true, pace_ms: 4 });
});

afterEach(async () => {
  await me?.close();
  await server?.close();
});

const card = (name: string): Locator =>
  me.page.locator("article.card").filter({ has: me.page.getByRole("link", { name, exact: true }) });
const names = (): Promise<string[]> => me.page.locator("article.card h2").allInnerTexts();
const tray = (): Locator => me.page.getByTestId("tray");
const row = (name: string): Locator => me.page.getByRole("group", { name, exact: true });
const focused = (): Promise<string> =>
  me.page.evaluate(() => {
    const node = document.activeElement;
    return node?.getAttribute("aria-label") ?? node?.textContent?.trim() ?? "";
  });

async function getByName(source: string): Promise<void> {
  await me.page.getByRole("button", { name: "Get by name" }).click();
  await me.page.getByLabel("Where it is").fill(source);
  await me.page.getByRole("dialog").getByRole("button", { name: "Get", exact: true }).click();
}

describe("finding a model", () => {
  it("shows what fits first, with why, and what does not fit with why not", async () => {
    me = await visit();
    await card("Qwen3 8B").getByText("Fits comfortably").waitFor();
    await card("Qwen3 8B").getByText("It needs 6.7 GB of 11.0 GB").waitFor();
    await card("Qwen3 8B").getByText("Suggested for chat").waitFor();
    await card("Llama 3.1 405B").getByText("It needs 258.9 GB, and 11.0 GB are there").waitFor();
    expect(await card("Llama 3.1 405B").getByRole("button").count()).toBe(0);
    await card("Whisper Large v3 Turbo").getByText("Cannot run yet").waitFor();
    const all = await names();
    expect(all.indexOf("Qwen3 8B")).toBeLessThan(all.indexOf("Llama 3.1 405B"));
    expect(all).toHaveLength(19);
    me.clean();
  });

  it("narrows by task, fit, licence, size, publisher and words; the address remembers", async () => {
    me = await visit();
    const { page } = me;
    const count = page.getByRole("status").filter({ hasText: /model/ });
    await page.getByText("Code", { exact: true }).first().click();
    await expect.poll(names).not.toContain("Llama 3.1 8B");
    await page.getByLabel("Fits this machine").check();
    await expect.poll(names).not.toContain("Devstral Small");
    await page.getByLabel("Licence").selectOption("hospitals");
    await page.getByLabel("Publisher").selectOption("Qwen");
    await page.getByLabel("Download").selectOption("medium");
    await expect.poll(names).toEqual(["Qwen3 8B", "Qwen2.5 Coder 7B"]);
    await page.getByLabel("Search models").fill("completes ");
    await expect.poll(names).toEqual(["Qwen2.5 Coder 7B"]);
    expect(await page.getByLabel("Search models").inputValue()).toBe("completes ");
    await count.getByText("1 of 19 models").waitFor();
    await page.reload();
    await expect.poll(names).toEqual(["Qwen2.5 Coder 7B"]);
    expect(await page.getByLabel("Publisher").inputValue()).toBe("Qwen");
    await page.getByRole("link", { name: "Models", exact: true }).click();
    await expect.poll(async () => (await names()).length).toBe(19);
    await page.goBack();
    await expect.poll(names).toEqual(["Qwen2.5 Coder 7B"]);
    await page.getByLabel("Search models").fill("zebra");
    await page.getByText("No model matches.").waitFor();
    await me.accessible("no match");
    await page.locator(".nothing").getByRole("button", { name: "Clear all filters" }).click();
    await expect.poll(async () => (await names()).length).toBe(19);
    await expect.poll(focused).toBe("Search models");
    await page.getByLabel("Sort").selectOption("smallest");
    await expect.poll(async () => (await names())[0]).toBe("EmbeddingGemma 300M");
    me.clean();
  });

  it("tells everything about one, and gives the focus back", async () => {
    me = await visit("/models?task=chat");
    const { page } = me;
    await page.getByRole("link", { name: "Qwen3 8B", exact: true }).click();
    const panel = page.getByRole("dialog", { name: "Qwen3 8B" });
    await panel.waitFor();
    await expect.poll(focused).toBe("Qwen3 8B");
    expect(await panel.getByRole("radio").count()).toBe(3);
    await panel.getByText("Anyone may use, change and pass it on").waitFor();
    await panel.getByText("Digest pinned.").waitFor();
    await panel.getByText("signed by intramural release key 2026").waitFor();
    await panel.getByRole("radio", { name: /Q8_0/ }).check();
    await panel.getByText("nothing else large can run beside it").waitFor();
    await panel.getByRole("button", { name: "Get · 8.7 GB" }).waitFor();
    await panel.getByRole("radio", { name: /Q5_K_M/ }).check();
    await panel.getByText("Digest not pinned.").waitFor();
    await page.keyboard.press("Escape");
    await panel.waitFor({ state: "detached" });
    await expect.poll(focused).toBe("Qwen3 8B");
    expect(page.url()).toContain("/models?task=chat");
    await page.keyboard.press("Enter");
    await panel.waitFor();
    await page.goBack();
    await panel.waitFor({ state: "detached" });
    await page.getByRole("link", { name: "Qwen3 8B", exact: true }).click();
    await page.reload();
    await panel.waitFor();
    await panel.getByRole("button", { name: "Close the details" }).click();
    await panel.waitFor({ state: "detached" });
    expect(page.url()).toContain("/models?task=chat");
    await me.go("/models/entry/there-is-no-such");
    await expect.poll(() => page.url()).toMatch(/#\/models$/);
    me.clean();
  });

  it("a catalogue that cannot be read says so and is read again", async () => {
    me = await visit("/models/here");
    await me.page.route("**/catalogue", (route) =>
      route.fulfill({
        status: 500,
        json: { error: { code: "broken", message: "The catalogue is broken.", hint: "Look at the log." } },
      }),
    );
    await me.page.reload();
    await me.page.getByRole("link", { name: "Discover" }).click();
    await me.page.getByText("The catalogue is broken.").waitFor();
    await me.accessible("a broken catalogue");
    await me.page.unroute("**/catalogue");
    await me.page.getByRole("button", { name: "Try again" }).click();
    await card("Qwen3 8B").waitFor();
  });

  it("keeps its places while it is loading", async () => {
    me = await visit("/models/here");
    let go = () => {};
    const held = new Promise<void>((done) => {
      go = done;
    });
    await me.page.route("**/catalogue", async (route) => {
      await held;
      await route.continue();
    });
    await me.page.reload();
    await me.page.getByRole("link", { name: "Discover" }).click();
    await me.page.getByText("Loading the catalogue…").waitFor();
    await me.accessible("loading");
    const before = await me.page.locator(".ghost").first().boundingBox();
    go();
    await card("Qwen3 8B").waitFor();
    const after = await me.page.locator("article.card").first().boundingBox();
    expect(after?.x).toBe(before?.x);
    expect(Math.abs((after?.y ?? 0) - (before?.y ?? 0))).toBeLessThan(8);
  });
});

describe("getting a model", () => {
  it("with one click: progress, pause, resume, done, and a chat with it", async () => {
    server.world.gate = 0.5;
    me = await visit();
    const { page } = me;
    const before = await card("Qwen2.5 Coder 7B").boundingBox();
    await card("Qwen2.5 Coder 7B").getByRole("button", { name: /^Get/ }).click();
    const show = card("Qwen2.5 Coder 7B").getByRole("button", { name: /^50%/ });
    await show.waitFor();
    // Nothing jumped, and the focus is where it was.
    expect(await card("Qwen2.5 Coder 7B").boundingBox()).toEqual(before);
    expect(await focused()).toContain("Show how far it is");
    await page.getByRole("link", { name: /fetching, 50%$/ }).waitFor();
    await show.click();
    const mine = row("Qwen2.5 Coder 7B Q4_K_M");
    await expect.poll(focused).toBe("Qwen2.5 Coder 7B Q4_K_M");
    await mine.getByText("2.3 GB of 4.7 GB").waitFor();
    await mine.getByText("26 MB/s").waitFor();
    await mine.getByText("2 min left").waitFor();
    expect(await mine.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("50");
    await mine.getByRole("button", { name: "Pause" }).click();
    await mine.getByText("What came so far is kept.").waitFor();
    await me.accessible("paused");
    // It stays after a reload: it is the server's, not the page's.
    await page.reload();
    await tray()
      .getByRole("button", { name: /Qwen2.5 Coder/ })
      .click();
    await mine.getByRole("button", { name: "Resume" }).click();
    await mine.getByText("Fetching").first().waitFor();
    server.world.gate = null;
    await mine.getByText("On this machine").waitFor();
    await page
      .getByRole("link", { name: /On this machine/ })
      .getByText("5", { exact: true })
      .waitFor();
    await card("Qwen2.5 Coder 7B").getByText("On this machine").waitFor();
    await card("Qwen2.5 Coder 7B").getByRole("button", { name: "Open chat" }).click();
    await page.getByRole("button", { name: /^Model: qwen2.5-coder-7b:q4_k_m/ }).waitFor();
    await me.send("Hello there");
    await page.getByTestId("meta").waitFor();
    me.clean();
  });

  it("is said in a few words, and told where the person is when it is done", async () => {
    me = await visit();
    const said: string[] = [];
    await me.page.exposeFunction("heard", (text: string) => said.push(text));
    await me.page.evaluate(() => {
      const node = document.querySelector("[data-testid=said]") as HTMLElement;
      new MutationObserver(() =>
        (window as unknown as { heard(text: string): void }).heard(node.textContent ?? ""),
      ).observe(node, { childList: true, characterData: true, subtree: true });
    });
    await card("Qwen3 4B Instruct").getByRole("button", { name: /^Get/ }).click();
    await card("Qwen3 4B Instruct").getByText("On this machine").waitFor();
    await expect.poll(() => said.at(-1)).toContain("is ready to use.");
    expect(said.some((text) => text.includes("50% of 2.5 GB"))).toBe(true);
    expect(said.length).toBeLessThan(14);
    // Away from the marketplace the same is shown.
    server.world.gate = 0.3;
    await card("Llama 3.1 8B").getByRole("button", { name: /^Get/ }).click();
    await card("Llama 3.1 8B").getByRole("button", { name: /^30%/ }).waitFor();
    await me.go("/");
    server.world.gate = null;
    await me.page.locator(".notice").getByText("is ready to use.").waitFor();
    me.clean();
  });

  it("can be cancelled, after asking, and dismissed", async () => {
    server.world.gate = 0.4;
    me = await visit();
    await card("Llama 3.1 8B").getByRole("button", { name: /^Get/ }).click();
    await card("Llama 3.1 8B").getByRole("button", { name: /^40%/ }).click();
    const mine = row("Llama 3.1 8B Q4_K_M");
    await mine.getByRole("button", { name: "Cancel" }).click();
    await me.page.getByText("The 2 GB that came so far are deleted.").waitFor();
    await me.accessible("cancel dialog");
    await me.page.getByRole("button", { name: "Cancel and delete" }).click();
    await mine.getByText("What came was deleted.").waitFor();
    expect(server.world.pulls[0]?.state).toBe("cancelled");
    await card("Llama 3.1 8B").getByRole("button", { name: /^Get/ }).waitFor();
    await mine.getByRole("button", { name: "Dismiss" }).click();
    await tray().waitFor({ state: "detached" });
    await expect.poll(() => me.page.evaluate(() => document.activeElement?.id)).toBe("main");
    expect(server.world.pulls).toEqual([]);
    me.clean();
  });

  it("shows progress and refusals in the sheet too", async () => {
    server.world.gate = 0.5;
    me = await visit("/models/entry/qwen3-8b");
    const panel = me.page.getByRole("dialog", { name: "Qwen3 8B" });
    await panel.getByRole("radio", { name: /Q8_0/ }).check();
    await panel.getByRole("button", { name: "Get · 8.7 GB" }).click();
    await panel.getByText("4.4 GB of 8.7 GB").waitFor();
    await me.accessible("a sheet with progress");
    server.world.gate = null;
    await panel.getByRole("button", { name: "Open chat" }).last().waitFor();
    await panel.getByText("Hub-attested").waitFor();
    await me.accessible("a sheet of what is here");
    await me.page.route("**/pulls", (route) =>
      route.fulfill({
        status: 409,
        json: { error: { code: "disk_full", message: "There is not enough disk.", hint: "Remove a model first." } },
      }),
    );
    await me.go("/models/entry/bloom-7b1");
    const other = me.page.getByRole("dialog", { name: "BLOOM 7B" });
    await other.getByRole("button", { name: /^Get/ }).click();
    await other.getByText("Remove a model first.").waitFor();
    await me.accessible("a sheet with a refusal");
  });

  it("by name: refused at once, refused by the inspection, and with the reason", async () => {
    me = await visit();
    const { page } = me;
    await getByName("https://elsewhere.example/model.gguf");
    await page.getByRole("dialog").getByText("Models may not be fetched from there.").waitFor();
    await me.accessible("get by name, refused");
    await page.getByLabel("Where it is").fill("hf:somebody/evil-GGUF");
    await page.getByRole("dialog").getByRole("button", { name: "Get", exact: true }).click();
    const mine = row("evil-GGUF");
    await mine.getByText("A tensor of this file points past its end").waitFor();
    await mine.getByText("Get it from its publisher.").waitFor();
    await mine.getByText("tensor_past_end").waitFor();
    await expect.poll(focused).toBe("evil-GGUF");
    await me.accessible("refused");
    await mine.getByRole("button", { name: "Dismiss" }).click();
    await getByName("hf:somebody/missing-GGUF");
    await row("missing-GGUF").getByText("Check the spelling, capital letters too.").waitFor();
    await row("missing-GGUF").getByRole("button", { name: "Try again" }).click();
    await expect.poll(() => server.world.pulls.length).toBe(1);
    me.clean();
  });

  it("goes on after it broke off", async () => {
    me = await visit();
    await getByName("hf:somebody/patchy-GGUF");
    const mine = row("patchy-GGUF");
    await mine.getByText("The connection to the source was lost.").waitFor();
    await me.accessible("interrupted");
    await mine.getByRole("button", { name: "Resume" }).click();
    await mine.getByText("On this machine").waitFor();
    await mine.getByRole("button", { name: "Open chat" }).click();
    await me.page.getByLabel("Your message").waitFor();
    me.clean();
  });

  it("two people asking for the same share one", async () => {
    server.world.gate = 0.5;
    me = await visit();
    await card("Qwen3 8B").getByRole("button", { name: /^Get/ }).click();
    await card("Qwen3 8B").getByRole("button", { name: /^50%/ }).waitFor();
    const other = await visit("/models");
    const same = other.page
      .locator("article.card")
      .filter({ has: other.page.getByRole("link", { name: "Qwen3 8B", exact: true }) });
    await same.getByRole("button", { name: /^50%/ }).waitFor();
    server.world.gate = null;
    await same.getByText("On this machine").waitFor();
    await card("Qwen3 8B").getByText("On this machine").waitFor();
    expect(server.world.pulls).toHaveLength(1);
    await other.close();
  });
});

describe("what is held back", () => {
  it("is kept from use until an administrator says why it is harmless", async () => {
    me = await visit();
    const { page } = me;
    await getByName("hf:somebody/suspicious-GGUF");
    await row("suspicious-GGUF").getByRole("button", { name: "See findings" }).click();
    await expect.poll(() => page.url()).toContain("/models/here?model=");
    const mine = page.locator(".models > li").filter({ hasText: "suspicious-gguf:model" });
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("model-suspicious-gguf:model");
    await mine.getByText("The chat template reaches for “__class__”").waitFor();
    await mine.getByText("line 14").waitFor();
    expect(await mine.getByRole("button", { name: /^(Load|Open chat)/ }).count()).toBe(0);
    await me.accessible("held back");
    await mine.getByRole("button", { name: "Release…" }).click();
    const dialog = page.getByRole("dialog", { name: "Release suspicious-gguf:model?" });
    await dialog.getByText("written into the audit log for good").waitFor();
    expect(await dialog.getByRole("button", { name: "Release it" }).isDisabled()).toBe(true);
    await me.accessible("release dialog");
    await dialog.getByLabel("Reason").fill("Read it line by line: a harmless test for a name.");
    await dialog.getByRole("button", { name: "Release it" }).click();
    await mine.getByRole("button", { name: "Open chat" }).waitFor();
    await mine.getByText("Details").click();
    await mine.getByText("Released by ada").waitFor();
    await mine.getByText("Read it line by line").waitFor();
    await me.accessible("released");
    expect(server.world.audit.at(-1)).toMatchObject({ event: "model.released" });
    me.clean();
  });

  it("is in no picker", async () => {
    me = await visit();
    await me.go("/");
    await me.page.getByRole("button", { name: /^Model:/ }).click();
    const offered = await me.page.getByRole("menuitemradio").allInnerTexts();
    expect(offered.length).toBe(3);
    expect(offered.join()).not.toContain("merged-7b");
  });
});

describe("what is on this machine", () => {
  it("shows the disk and where each comes from; verifies; removes and says what became free", async () => {
    me = await visit("/models/here");
    const { page } = me;
    await page.getByText("325 GB of 512 GB free").waitFor();
    const mine = page.locator(".models > li").filter({ hasText: "gemma-3:4b" });
    await mine.getByText("Details").click();
    await mine.getByText("Signed: its publisher's signature was checked here").waitFor();
    await mine.getByText("Google model release 2025").waitFor();
    await mine.getByText("d0976223747697cb51e056d85c532013931fe52e").waitFor();
    await mine.getByText("mmproj-f16.gguf").waitFor();
    await me.accessible("provenance");
    await mine.getByRole("button", { name: "Options for gemma-3" }).click();
    await page.getByRole("menuitem", { name: "Verify every byte" }).click();
    await mine.getByText("Every byte is as it was").waitFor();
    await mine.getByRole("link", { name: "in words" }).click();
    await page.getByRole("dialog", { name: "Gemma 3 4B" }).getByText("Google's list of forbidden uses").waitFor();
    await page.keyboard.press("Escape");
    await me.go("/models/here");
    await mine.getByRole("button", { name: "Options for gemma-3" }).click();
    await page.getByRole("menuitem", { name: "Remove" }).click();
    await page.getByText("Up to 4 GB of disk become free.").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await page.locator(".notice").getByText("4 GB are free again").waitFor();
    await expect.poll(focused).toBe("Models");
    await page.getByText("329 GB of 512 GB free").waitFor();
    await page.getByRole("link", { name: "Discover" }).click();
    await card("Gemma 3 4B").getByRole("button", { name: /^Get/ }).waitFor();
    me.clean();
  });

  it("says when a byte is not what it was", async () => {
    for (const one of server.world.models.slice(1, 2)) server.world.models.push({ ...one, name: "rotten:4b" });
    me = await visit("/models/here");
    await me.page.getByRole("button", { name: "Options for rotten" }).click();
    await me.page.getByRole("menuitem", { name: "Verify every byte" }).click();
    await me.page.getByText("are not the ones that were checked in").waitFor();
    await me.page.getByText("Remove it and get it again").waitFor();
    await me.accessible("a rotten model");
  });

  it("is empty at first, and says where to look", async () => {
    server.world.models.length = 0;
    me = await visit("/models/here");
    await me.page.getByText("No models on this machine yet.").waitFor();
    await me.accessible("an empty shelf");
    await me.page.getByRole("link", { name: "Discover models" }).click();
    await card("Qwen3 8B").waitFor();
    await me.go("/");
    await me.page.getByText("No model is on the shelf yet.").waitFor();
    await me.page.getByRole("link", { name: "See models" }).click();
    await card("Qwen3 8B").waitFor();
    me.clean();
  });
});

describe("for a member", () => {
  beforeEach(() => {
    const linus = server.world.people.find((one: { username: string }) => one.username === "linus");
    if (linus) linus.disabled_ms = null;
  });

  it("the catalogue is for looking", async () => {
    me = await visit("/models", {}, "linus");
    await card("Qwen3 8B").waitFor();
    expect(await me.page.getByRole("button", { name: /^Get/ }).count()).toBe(0);
    await me.page.getByText("An administrator can get a model from here.").waitFor();
    await card("Gemma 3 4B").getByRole("button", { name: "Open chat" }).waitFor();
    await me.page.getByRole("link", { name: "Qwen3 8B", exact: true }).click();
    const panel = me.page.getByRole("dialog", { name: "Qwen3 8B" });
    await panel.getByText("An administrator can get a model").waitFor();
    expect(await panel.getByRole("button", { name: /^Get/ }).count()).toBe(0);
    await me.accessible("a member's sheet");
    expect(me.requests.some((address) => address.endsWith("/pulls"))).toBe(false);
    me.clean();
  });

  it("where the catalogue is closed, there are the models to use", async () => {
    server.world.open = false;
    me = await visit("/models", {}, "linus");
    await me.page.getByText("Your role does not see the catalogue.").waitFor();
    await me.page.getByRole("heading", { name: "qwen3:4b-instruct-q4_k_m" }).waitFor();
    expect(await me.page.getByRole("link", { name: "Discover" }).count()).toBe(0);
    expect(await me.page.getByRole("button", { name: /^(Load|Unload|Options for [^l])/ }).count()).toBe(0);
    await me.page.getByText("An administrator must look at it first.").waitFor();
    await me.accessible("a closed catalogue");
    await me.page.getByRole("button", { name: "Open chat: qwen3:4b-instruct-q4_k_m" }).click();
    await me.page.getByRole("button", { name: /^Model: qwen3:4b/ }).waitFor();
    me.clean();
  });
});

describe("with the keyboard alone", () => {
  it("filters, opens, gets, pauses, cancels and releases", async () => {
    server.world.gate = 0.4;
    me = await visit();
    const { page } = me;
    const press = (key: string) => page.keyboard.press(key);
    const tabTo = async (name: string) => {
      for (let step = 0; step < 90; step++) {
        if ((await focused()).startsWith(name)) return;
        await press("Tab");
      }
      throw new Error(`never reached ${name}; at ${await focused()}`);
    };
    await card("Qwen3 8B").waitFor();
    await page.evaluate(() => document.getElementById("main")?.focus());
    await tabTo("Search models");
    await page.keyboard.type("distill");
    await expect.poll(names).toEqual(["DeepSeek R1 Distill 7B"]);
    await tabTo("DeepSeek R1 Distill 7B");
    await press("Enter");
    await expect.poll(focused).toBe("DeepSeek R1 Distill 7B");
    const panel = page.getByRole("dialog");
    await panel.waitFor();
    await tabTo("Get · 4.7 GB");
    await press("Enter");
    await panel.getByText("1.9 GB of 4.7 GB").waitFor();
    // The focus stays in the sheet.
    for (let step = 0; step < 20; step++) {
      await press("Tab");
      expect(
        await page.evaluate(
          () => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null,
        ),
      ).toBe(true);
    }
    await press("Escape");
    await expect.poll(focused).toBe("DeepSeek R1 Distill 7B");
    await tabTo("40%");
    await press("Enter");
    await expect.poll(focused).toBe("DeepSeek R1 Distill 7B");
    await press("Tab");
    expect(await focused()).toContain("Pause");
    await press("Enter");
    await expect.poll(() => server.world.pulls[0]?.state).toBe("paused");
    await page.getByRole("button", { name: /^Resume/ }).waitFor(); // until then another press does nothing
    await tabTo("Cancel");
    await press("Enter");
    await page.getByRole("dialog").waitFor();
    await expect.poll(focused).toBe("Cancel");
    await tabTo("Cancel and delete");
    await press("Enter");
    await expect.poll(() => server.world.pulls[0]?.state).toBe("cancelled");
    // Whatever was pressed, the focus is somewhere.
    await expect.poll(() => page.evaluate(() => document.activeElement !== document.body)).toBe(true);
    me.clean();
  });
});

// A phone in the dark is in journey.test.ts.
describe.each([
  ["desktop, light", { colorScheme: "light" }],
  ["desktop, dark", { colorScheme: "dark" }],
  ["phone, light", { ...PHONE, colorScheme: "light" }],
] as const)("accessibility: %s", (kind, options) => {
  it("of every state", async () => {
    server.world.gate = 0.6;
    me = await visit("/models", options);
    const { page } = me;
    const theme = { colours: options.colorScheme === "dark" };
    const fits = async (what: string) => {
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} is too wide`).toBe(
        true,
      );
      expect(
        await page.evaluate(() =>
          [...document.querySelectorAll("main *, dialog[open] *")]
            .filter(
              (node) => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".unseen, [popover]"),
            )
            .map((node) => node.outerHTML.slice(0, 80)),
        ),
        what,
      ).toEqual([]);
    };
    await card("Qwen3 8B").waitFor();
    if (kind.startsWith("phone")) await page.getByRole("button", { name: "Filters" }).click();
    await me.accessible(`discover, ${kind}`, theme);
    await fits("discover");
    await getByName("hf:somebody/evil-GGUF");
    server.world.gate = null;
    await row("evil-GGUF").getByText("tensor_past_end").waitFor();
    await getByName("hf:somebody/suspicious-GGUF");
    await row("suspicious-GGUF").getByRole("button", { name: "See findings" }).waitFor();
    await getByName("hf:somebody/fine-GGUF");
    await row("fine-GGUF").getByRole("button", { name: "Open chat" }).waitFor();
    server.world.gate = 0.6;
    await getByName("hf:somebody/a-model-with-a-rather-long-name-that-goes-on-and-on-GGUF");
    await row("a-model-with-a-rather-long-name-that-goes-on-and-on-GGUF").getByText("720 MB of 1.2 GB").waitFor();
    await me.accessible(`tray, ${kind}`, theme);
    await fits("tray");
    await page.getByRole("button", { name: "Get by name" }).click();
    await page.getByLabel("Where it is").waitFor();
    await me.accessible(`get by name, ${kind}`, theme);
    await fits("get by name");
    await page.keyboard.press("Escape");
    for (const id of ["qwen3-8b", "gemma-3-4b", "llama-3.1-405b", "whisper-large-v3-turbo", "codestral-22b"]) {
      await me.go(`/models/entry/${id}`);
      await page.getByRole("dialog").getByRole("heading", { name: "Licence" }).waitFor();
      await me.accessible(`sheet of ${id}, ${kind}`, theme);
      await fits(`sheet of ${id}`);
    }
    await me.go("/models/here");
    await page.locator(".held").first().waitFor();
    for (const details of await page.locator("main details").all())
      await details.evaluate((node) => node.setAttribute("open", ""));
    await me.accessible(`here, ${kind}`, theme);
    await fits("here");
    me.clean();
  });
});
