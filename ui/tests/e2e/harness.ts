import axe from "axe-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";

export const DESKTOP = { viewport: { width: 1280, height: 860 } };
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** A page that is watched: what it asked for, what it complained about, what the security policy stopped. */
export class Watched {
  readonly requests: string[] = [];
  readonly complaints: string[] = [];
  #underWay = 0;

  private constructor(
    readonly page: Page,
    readonly url: string,
  ) {}

  static async open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
    const context = await browser.newContext({ ...DESKTOP, colorScheme: "light", reducedMotion: "reduce", ...options });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
    const page = await context.newPage();
    const watched = new Watched(page, url);
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    context.on("request", (request) => {
      watched.requests.push(request.url());
      watched.#underWay++;
    });
    context.on("requestfinished", () => watched.#underWay--);
    context.on("requestfailed", () => watched.#underWay--);
    page.on("pageerror", (error) => watched.complaints.push(String(error)));
    page.on("console", (line) => {
      // A refused request is said by the browser as well; the tests look at what the page makes of it.
      if (line.type() === "error" && !line.text().startsWith("Failed to load resource"))
        watched.complaints.push(line.text());
    });
    return watched;
  }

  /** Somebody who is signed in already, at `path`: signing in by the page is what the journeys begin with. */
  static async signedIn(
    browser: Browser,
    url: string,
    username: string,
    password: string,
    path = "/",
    options: BrowserContextOptions = {},
  ): Promise<Watched> {
    const watched = await Watched.open(browser, url, options);
    const data = { username, password };
    const answer = await watched.page.context().request.post(`${url}/intramural/v1/login`, { data });
    expect(answer.status()).toBe(200);
    await watched.go(path);
    return watched;
  }

  async go(path: string): Promise<void> {
    await this.page.goto(`${this.url}/#${path}`);
  }

  async signIn(username: string, password: string): Promise<void> {
    await this.page.getByLabel("User name").fill(username);
    await this.page.getByLabel("Password", { exact: true }).fill(password);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.getByLabel("Your message").waitFor();
  }

  /** Waits until nothing is under way to a server, and what came is drawn. */
  async quiet(): Promise<void> {
    do {
      await expect.poll(() => this.#underWay).toBe(0);
      await this.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    } while (this.#underWay > 0);
  }

  /** Types a message and sends it with Enter. */
  async send(text: string): Promise<void> {
    await this.page.getByLabel("Your message").fill(text);
    await this.page.getByLabel("Your message").press("Enter");
  }

  /**
   * Waits until no answer is being written; true when it came to its own end. A small real model may ramble on for
   * minutes: after `patience_ms` it is stopped.
   */
  async settled(patience_ms = 25_000): Promise<boolean> {
    const send = this.page.getByRole("button", { name: "Send", exact: true });
    try {
      await send.waitFor({ timeout: patience_ms });
      return true;
    } catch {
      const stop = this.page.getByRole("button", { name: "Stop", exact: true });
      // It may come to its end in this very moment, and the button goes.
      const stopped = await stop.click({ timeout: 5_000 }).then(
        () => true,
        () => false,
      );
      await send.waitFor();
      return !stopped;
    }
  }

  /** What the answers on screen say. */
  answers(): Promise<string[]> {
    return this.page.locator("article.turn:not(.mine) .prose").allInnerTexts();
  }

  /**
   * Accessibility of what is on screen: no violation of any of axe's rules. With `colours` only of those that look at
   * colours: for a screen whose other theme is tried with all of them.
   */
  async accessible(where: string, { colours = false } = {}): Promise<void> {
    // Reading axe takes longer than most of its runs: once for each document.
    if (!(await this.page.evaluate(() => "axe" in globalThis))) await this.page.evaluate(axe.source);
    const rules = colours ? ["color-contrast", "link-in-text-block"] : null;
    const violations = await this.page.evaluate(async (rules) => {
      const runner = (globalThis as unknown as { axe: typeof axe }).axe;
      const only = rules === null ? {} : { runOnly: { type: "rule" as const, values: rules } };
      const { violations } = await runner.run(document, { resultTypes: ["violations"], ...only });
      return violations.map(
        ({ id, nodes }) =>
          `${id}: ${nodes.map((node) => `${node.html.slice(0, 200)} — ${node.failureSummary}`).join(" | ")}`,
      );
    }, rules);
    expect(violations, `axe on ${where}`).toEqual([]);
  }

  /** Nothing went to another host, nothing broke, the policy stopped nothing. */
  clean(): void {
    const foreign = this.requests.filter(
      (address) => !address.startsWith(`${this.url}/`) && !/^(?:data|blob):/.test(address),
    );
    expect(foreign).toEqual([]);
    expect(this.complaints).toEqual([]);
  }

  close(): Promise<void> {
    return this.page.context().close();
  }
}
