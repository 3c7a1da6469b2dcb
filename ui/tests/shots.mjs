/**
 * Pictures of every screen, for looking at: `node tests/shots.mjs [folder]` against a furnished fake server.
 * Desktop light and dark, and a phone.
 */
import { mkdirSync } from "node:fs";
import { launch } from "./browser.mjs";
import { fake } from "./fake-server.mjs";

const folder = process.argv[2] ?? "/tmp/intramural-shots";
mkdirSync(folder, { recursive: true });
const server = await fake({ seed: true, pace_ms: 1 });
const browser = await launch();
const KINDS = {
  light: { viewport: { width: 1280, height: 860 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 860 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true, deviceScaleFactor: 2 },
};
for (const [kind, options] of Object.entries(KINDS)) {
  const context = await browser.newContext({ ...options, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.log("page error:", error.message));
  page.on("console", (line) => line.type() === "error" && console.log("console:", line.text()));
  const shot = async (name) => page.screenshot({ path: `${folder}/${kind}-${name}.png` });
  await page.goto(`${server.url}/`);
  await page.getByLabel("User name").waitFor();
  await shot("login");
  await page.getByLabel("User name").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Your message").waitFor();
  await page.waitForTimeout(300);
  await shot("new");
  await page.getByLabel("Your message").fill("[show] Show me what you can write, please.");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByTestId("meta").waitFor();
  await page.waitForTimeout(400);
  await shot("chat-end");
  await page.locator(".scroller").evaluate((node) => node.scrollTo(0, 0));
  await page.waitForTimeout(200);
  await shot("chat");
  if (kind === "phone") {
    await page.getByRole("button", { name: "Show the sidebar" }).click();
    await page.waitForTimeout(300);
    await shot("drawer");
    await page.keyboard.press("Escape");
  }
  if (kind === "light") {
    await page.getByRole("button", { name: /^Model:/ }).click();
    await shot("picker");
    await page.keyboard.press("Escape");
    await page.getByLabel("Your message").fill("[fail] and then?");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Try again" }).waitFor();
    await shot("failed");
    await page.getByRole("link", { name: "link", exact: true }).last().click();
    await shot("leaving");
    await page.keyboard.press("Escape");
  }
  for (const room of ["account", "keys", "usage", "people", "audit", "machine"]) {
    await page.goto(`${server.url}/#/settings/${room}`);
    await page.locator("h1").first().waitFor();
    await page.waitForTimeout(350);
    await shot(room);
  }
  server.world.gate = 0.43;
  await page.goto(`${server.url}/#/models`);
  await page.getByRole("button", { name: /^Get: Llama 3.1 8B/ }).click();
  await page.getByRole("button", { name: /^43%/ }).waitFor();
  await page.mouse.move(0, 0);
  await page.locator(".market .scroller").evaluate((node) => node.scrollTo(0, 0));
  await shot("market");
  await page.getByRole("button", { name: "Get by name" }).click();
  await page.getByLabel("Where it is").fill("hf:somebody/evil-GGUF");
  await shot("by-name");
  server.world.gate = 1;
  await page.getByRole("dialog").getByRole("button", { name: "Get", exact: true }).click();
  await page.getByText("tensor_past_end").waitFor();
  await shot("tray");
  await page.getByTestId("tray").getByRole("button", { expanded: true }).click();
  await page.goto(`${server.url}/#/models/entry/llama-3.1-405b`);
  await page.getByRole("dialog").waitFor();
  await page.waitForTimeout(200);
  await shot("sheet");
  await page.goto(`${server.url}/#/models/here`);
  await page.locator(".held").first().waitFor();
  await page.locator(".held").first().scrollIntoViewIfNeeded();
  await shot("here");
  await page.getByRole("button", { name: "Release…" }).click();
  await shot("release");
  server.world.pulls.length = 0;
  server.world.models = server.world.models.filter((one) => !one.name.startsWith("llama"));
  await page.goto(`${server.url}/#/settings/keys`);
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByLabel("Name").fill("library search");
  await shot("key-create");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByTestId("secret").waitFor();
  await shot("key-secret");
  await page.getByRole("button", { name: "I have stored it" }).click();
  await page.goto(`${server.url}/#/temporary`);
  await page.waitForTimeout(200);
  await shot("temporary");
  await context.close();
}
await browser.close();
await server.close();
console.log(folder);
