/**
 * People, groups, workspaces, limits, rules and the log in real Chromium, against a real service without a model:
 * one administrator's morning, from the set-up link to a signed review.
 */

import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launch } from "../browser.mjs";
import { DESKTOP, PHONE, Watched } from "./harness";

/** A fresh real server; `tests/journeys/test_page.py` gives it. */
const url = process.env.ADMIN_URL ?? "";
const token = process.env.ADMIN_SETUP_TOKEN ?? "";
/** Pictures of every screen are put here, for looking at. */
const pictures = process.env.ADMIN_PICTURES ?? "";
const PASSWORD = "three lighthouses in a row";
/** A few more than one page of the list. */
const PUPILS = 55;
const HOSTILE =
  "\r\n\u001b[31mred\u009b1m\u202egnp.exe\u2066\u200b<script>window.attacked=1</script><img src=x onerror=window.attacked=1>";
const NARROW = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: "dark" } as const;

let browser: Browser;
let ada: Watched;

/** What the page itself would do, without its screens. */
function ask(who: Watched, method: string, path: string, body?: unknown): Promise<{ status: number; said: unknown }> {
  return who.page.evaluate(
    async ([method, path, body]) => {
      const me = await (await fetch("./intramural/v1/me")).json();
      const answer = await fetch(`./intramural/v1${path}`, {
        method: String(method),
        headers: { "X-CSRF-Token": me.csrf_token, "Content-Type": "application/json" },
        ...(body === null ? {} : { body: JSON.stringify(body) }),
      });
      return { status: answer.status, said: await answer.json().catch(() => null) };
    },
    [method, path, body ?? null] as const,
  );
}

async function picture(who: Watched, name: string): Promise<void> {
  if (pictures !== "") await who.page.screenshot({ path: `${pictures}/${name}.png` });
}

/** Chooses somebody in a picker, by keyboard. */
async function pick(who: Watched, label: string, text: string): Promise<void> {
  const field = who.page.getByRole("combobox", { name: label });
  await field.fill(text);
  await who.page
    .getByRole("option", { name: new RegExp(`^${text}`) })
    .first()
    .waitFor();
  await expect.poll(() => field.getAttribute("aria-activedescendant")).not.toBeNull();
  await field.press("Enter");
}

/** Chooses a list of people with these lines. */
async function choose(lines: string[]): Promise<void> {
  const buffer = Buffer.from(`id,username,groups,birth_date\n${lines.join("\n")}\n`);
  await ada.page
    .getByLabel("File", { exact: true })
    .setInputFiles({ name: "people.csv", mimeType: "text/csv", buffer });
}

const dialog = () => ada.page.getByRole("dialog");

describe.skipIf(url === "")("an administrator's morning", () => {
  beforeAll(async () => {
    browser = await launch();
    ada = await Watched.open(browser, url);
    await ada.go(`/setup?token=${token}`);
    await ada.page.getByLabel("User name").fill("ada");
    for (const field of await ada.page.locator("input[type=password]").all()) await field.fill(PASSWORD);
    await ada.page.locator("form button[type=submit]").click();
    await ada.page.getByLabel("Your message").waitFor();
    const pupils = Array.from({ length: PUPILS }, (_, number) => `pupil-${String(number).padStart(2, "0")}`);
    const made = await Promise.all(pupils.map((username) => ask(ada, "POST", "/people", { username, role: "member" })));
    expect(new Set(made.map((one) => one.status))).toEqual(new Set([201]));
    expect((await ask(ada, "POST", "/people", { username: "mia", role: "auditor", password: PASSWORD })).status).toBe(
      201,
    );
  });

  afterAll(async () => {
    await browser?.close();
  });

  it("makes groups, one in another, and puts people in", async () => {
    const page = ada.page;
    await ada.go("/settings/groups");
    await page.getByText("No groups yet.").waitFor();
    for (const [name, within] of [
      ["Springfield School", ""],
      ["Grade 7", "Springfield School"],
      ["7b Maths", ""],
    ] as const) {
      await page.getByRole("button", { name: "Add a group" }).click();
      await dialog().getByLabel("Name", { exact: true }).fill(name);
      if (within) await dialog().getByLabel("Within").selectOption({ label: within });
      await dialog().getByRole("button", { name: "Add", exact: true }).click();
      await page.getByRole("heading", { level: 2, name }).waitFor();
      await page.getByRole("button", { name: "Close the group" }).click();
    }
    await page.getByRole("link", { name: /7b Maths/ }).click();
    await dialog().getByLabel("Within").selectOption({ label: "\u2003Grade 7" });
    await dialog().getByRole("button", { name: "Save" }).click();
    await pick(ada, "Add somebody", "pupil-07");
    await dialog().locator("li strong", { hasText: "pupil-07" }).waitFor();
    await pick(ada, "Add somebody", "mia");
    await dialog().getByLabel("mia manages it").check();
    await expect
      .poll(async () => (await ask(ada, "GET", `/groups/${page.url().split("/").at(-1)}/members`)).said)
      .toMatchObject({
        members: [
          { username: "mia", manager: true },
          { username: "pupil-07", manager: false },
        ],
      });
    await ada.accessible("a group");
    await picture(ada, "desktop-group");
    await dialog().getByRole("button", { name: "Take out: pupil-07" }).click();
    await expect.poll(() => dialog().locator("li strong").allInnerTexts()).toEqual(["mia"]);
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: /7b Maths/ }).waitFor();
    expect(await page.locator(".tree .tree .tree .name").allInnerTexts()).toEqual(["7b Maths"]);
  });

  it("makes a workspace, with a label, purposes and people, and closes it", async () => {
    const page = ada.page;
    await ada.go("/settings/workspaces");
    await page.getByRole("link", { name: "Add a workspace" }).click();
    await dialog().getByLabel("Name", { exact: true }).fill("Grade 7 Maths");
    await dialog()
      .getByLabel(/^Pupils' records/)
      .check();
    await dialog().getByLabel("Purposes").fill("lessons\ngrading");
    await dialog()
      .getByLabel(/^Log of what happened/)
      .fill("30");
    await dialog().getByRole("button", { name: "Add", exact: true }).click();
    await dialog().getByText("The log may not be deleted after 30 days").waitFor();
    await dialog()
      .getByLabel(/^Log of what happened/)
      .fill("");
    await dialog().getByRole("button", { name: "Add", exact: true }).click();
    await dialog().getByRole("heading", { name: "Who works there" }).waitFor();
    await pick(ada, "Add somebody", "mia");
    await dialog().getByLabel("Add a group").selectOption({ label: "Springfield School" });
    await expect.poll(() => dialog().locator("li .who").allInnerTexts()).toEqual(["Springfield School", "mia"]);
    await ada.accessible("a workspace");
    await picture(ada, "desktop-workspace");
    const all = (await ask(ada, "GET", "/workspaces/all")).said;
    expect(all).toMatchObject({ workspaces: [{ label: "education", purposes: ["lessons", "grading"], models: null }] });
    await dialog().getByRole("button", { name: "Close this workspace" }).click();
    await page.getByRole("button", { name: "Close it" }).click();
    await dialog().getByRole("button", { name: "Open it again" }).click();
    await dialog().getByRole("button", { name: "Close this workspace" }).waitFor();
    await dialog().getByRole("button", { name: "Take out: Springfield School" }).click();
    await expect.poll(() => dialog().locator("li .who").allInnerTexts()).toEqual(["mia"]);
    await page.keyboard.press("Escape");
    await page.getByText("Pupils' records").waitFor();
  });

  it("gives a program a service account and a key that is shown once", async () => {
    await ada.go("/settings/services");
    await ada.page.getByRole("button", { name: "Add a service account" }).click();
    await dialog().getByLabel("Name", { exact: true }).fill("library-search");
    await dialog().getByRole("button", { name: "Add", exact: true }).click();
    await dialog().getByRole("heading", { name: "Make a key for library-search" }).waitFor();
    await dialog().getByLabel("Name", { exact: true }).fill("catalogue");
    await dialog().getByRole("button", { name: "Create", exact: true }).click();
    expect(await ada.page.getByTestId("secret").inputValue()).toMatch(/^im-/);
    await ada.page.getByRole("button", { name: "I have stored it" }).click();
    await ada.page.getByText("catalogue").waitFor();
    expect(await ada.page.content()).not.toMatch(/im-[A-Za-z0-9]{20}/);
  });

  it("sets a limit, changes and removes it", async () => {
    const page = ada.page;
    await ada.go("/settings/limits");
    await page.getByText("No limits yet").waitFor();
    await page.getByRole("button", { name: "Set a limit" }).click();
    await dialog().getByLabel("At most").fill("1000");
    await dialog().getByLabel("For whom").selectOption({ label: "A group" });
    await dialog().getByLabel("A group").selectOption({ label: "\u2003Grade 7" });
    await ada.accessible("a limit");
    await dialog().getByRole("button", { name: "Set", exact: true }).click();
    await page.getByRole("heading", { name: "1,000 tokens a day: each person in Grade 7" }).waitFor();
    await page.getByRole("button", { name: /^Change the amount/ }).click();
    await dialog().getByLabel("At most").fill("2500");
    await dialog().getByRole("button", { name: "Set", exact: true }).click();
    await page.getByRole("heading", { name: "2,500 tokens a day: each person in Grade 7" }).waitFor();
    await page.getByRole("button", { name: "Set a limit" }).click();
    await dialog().getByLabel("What is limited").selectOption({ label: "Requests" });
    await dialog().getByLabel("At most").fill("5");
    await dialog().getByLabel("For whom").selectOption({ label: "One person" });
    await dialog().getByRole("button", { name: "Set", exact: true }).click();
    await dialog().getByText("Choose whom it is for.").waitFor();
    await pick(ada, "One person", "pupil-11");
    await dialog().getByRole("button", { name: "Set", exact: true }).click();
    await page.getByRole("heading", { name: "5 requests a day: pupil-11" }).waitFor();
    await page.getByRole("button", { name: "Remove: 5 requests a day: pupil-11" }).click();
    await dialog().getByRole("button", { name: "Remove", exact: true }).click();
    await expect.poll(() => page.locator("main section.limit").count()).toBe(1);
  });

  it("makes a role of plain words, and asks the rules about somebody", async () => {
    const page = ada.page;
    await ada.go("/settings/roles");
    await page.getByRole("button", { name: "Make a role" }).click();
    await dialog().getByLabel("Name", { exact: true }).fill("help desk");
    await dialog().getByLabel("change people: role, password, second factors").check();
    await ada.accessible("a role");
    await dialog().getByRole("button", { name: "Save" }).click();
    await page.getByText("help desk").first().waitFor();
    await ada.go("/settings/permissions?person=mia");
    await page.getByLabel("Wants to").selectOption({ label: "change people: role, password, second factors" });
    await page.getByRole("button", { name: "Ask", exact: true }).click();
    await page.getByText("No: mia may not change people").waitFor();
    await page.getByText("the role does not include it").waitFor();
    await page.getByText(/mia; auditor; in 7b Maths, Grade 7, Springfield School/).waitFor();
    await ada.accessible("an answer of the rules");
    await picture(ada, "desktop-permissions");
  });

  it("finds people among many, invites one, and takes lost second factors away", async () => {
    const page = ada.page;
    await ada.go("/settings/people");
    await page.getByText(`50 of ${PUPILS + 2} people`).waitFor();
    await page.getByRole("button", { name: /^Show \d+ more/ }).click();
    await page.getByText(`${PUPILS + 2} people`, { exact: true }).waitFor();
    await page.getByLabel("Search people").fill("PIL-4");
    await expect.poll(() => page.locator("main li strong").count()).toBe(10);
    await page.getByRole("button", { name: "Options for pupil-41" }).click();
    await page.getByRole("menuitem", { name: "Make an invitation link" }).click();
    expect(await page.getByTestId("invitation").inputValue()).toMatch(/oidc\/school\/start\?invitation=.{20}/);
    await ada.accessible("an invitation");
    await page.getByRole("button", { name: "I have handed it over" }).click();
    await page.getByRole("button", { name: "Options for pupil-42" }).click();
    await page.getByRole("menuitem", { name: "Take second factors away" }).click();
    await dialog().getByRole("button", { name: "Take them away" }).click();
    await page.getByText("pupil-42 has no second factors any more.").first().waitFor();
  });

  it("allows a connection, and takes it off the list again", async () => {
    const page = ada.page;
    await ada.go("/settings/egress");
    await page.getByRole("heading", { name: "The list" }).waitFor();
    await page.getByRole("button", { name: "Allow a connection" }).click();
    await dialog().getByLabel("Host").fill("models.example");
    await dialog().getByLabel("For how long").selectOption({ label: "for 7 days" });
    await ada.accessible("allowing a connection");
    await dialog().getByRole("button", { name: "Allow it" }).click();
    await page.getByRole("listitem").filter({ hasText: "models.example:443" }).getByText("Fetching models").waitFor();
    await page.getByRole("rowheader", { name: "models.example:443" }).first().waitFor();
    await ada.accessible("what leaves");
    await picture(ada, "desktop-egress");
    await page.getByRole("button", { name: "Take away: models.example:443" }).click();
    await dialog().getByRole("button", { name: "Take away" }).click();
    await expect.poll(() => page.getByRole("listitem").filter({ hasText: "models.example" }).count()).toBe(0);
    expect((await ask(ada, "GET", "/egress")).said).toMatchObject({ mode: "supervised", entries: [] });
  });

  it("sees the ledger grow, narrows it down, and goes back in it", async () => {
    const page = ada.page;
    const deny = (host: string, purpose: string) =>
      ask(ada, "POST", "/egress/entries", { host, port: 443, purpose, verdict: "deny" });
    for (let number = 0; number < 52; number++) await deny(`host-${number}.example`, "traces");
    await ada.go("/settings/groups");
    await ada.go("/settings/egress");
    const lines = page.locator("tbody tr");
    await expect.poll(() => lines.count()).toBe(50);
    await page.getByRole("button", { name: "Older entries" }).press("Enter");
    await page.getByRole("rowheader", { name: "host-0.example:443" }).waitFor();
    await deny("while-it-is-looked-at.example", "media");
    await page.locator("tr.new", { hasText: "while-it-is-looked-at.example" }).waitFor();
    await expect
      .poll(() => page.getByRole("status").allInnerTexts())
      .toContainEqual(expect.stringMatching(/^1 new line,/));
    await page.getByRole("rowheader", { name: "host-0.example:443" }).waitFor(); // what was read stays
    await page.getByLabel("Purpose").selectOption({ label: "Images in questions" });
    await expect.poll(() => lines.count()).toBe(1);
    await page.getByLabel("Purpose").selectOption({ label: "Every purpose" });
    await page.getByLabel("Host begins with").fill("host-1");
    await page.getByLabel("Host begins with").press("Enter");
    await expect.poll(() => lines.count()).toBe(11);
    await page.getByLabel("Outcome").selectOption({ label: "Refused" });
    await page.getByText("No lines of this kind.").waitFor();
    await page.getByLabel("Outcome").selectOption({ label: "Every outcome" });
    await page.getByLabel("Host begins with").fill("");
    await page.getByLabel("Host begins with").press("Enter");
    await expect.poll(() => lines.count()).toBe(50);
    await page.getByLabel("Show new lines as they come").uncheck();
    await deny("while-it-is-held.example", "media");
    await ada.accessible("the ledger");
    await picture(ada, "desktop-ledger");
    expect(await page.getByText("while-it-is-held.example").count()).toBe(0);
    await page.getByLabel("Show new lines as they come").check();
    await page.getByRole("rowheader", { name: "while-it-is-held.example:443" }).waitFor();
  });

  it("sees what holds around the service, and what the settings give up", async () => {
    const page = ada.page;
    await ada.go("/settings/machine");
    await page.getByText("sandbox.required_level = no-netns, in INTRAMURAL_SANDBOX_REQUIRED_LEVEL").waitFor();
    for (const name of ["The service", "What starts the models"]) {
      const process = page.getByRole("listitem").filter({ has: page.getByText(name, { exact: true }) });
      await process.getByText(/^every wall stands$|left out by the settings$/).waitFor();
    }
    const gateway = page.getByRole("listitem").filter({ has: page.getByText("The service", { exact: true }) });
    await gateway.getByText("Details").press("Enter");
    await gateway.getByText("Reaches the files that it needs, and no others.").waitFor();
    await gateway.getByText("Sockets", { exact: true }).waitFor();
    await page.getByText("Nothing within a day").waitFor();
    await ada.accessible("the machine");
    await picture(ada, "desktop-machine");
  });

  it("puts a legal hold on somebody, who is then not erased, and lifts it", async () => {
    const page = ada.page;
    await ada.go("/settings/retention");
    await page.getByText("No legal holds.").waitFor();
    await page.getByRole("button", { name: "Put a legal hold" }).click();
    await pick(ada, "One person", "pupil-13");
    await dialog().getByLabel("Reason").fill("Smith v. District 12");
    await ada.accessible("a legal hold");
    await dialog().getByRole("button", { name: "Put it" }).click();
    await page.getByText("Smith v. District 12").waitFor();
    await ada.accessible("kept and deleted");
    await picture(ada, "desktop-retention");
    const { people } = (await ask(ada, "GET", "/people?query=pupil-13")).said as { people: { id: string }[] };
    expect((await ask(ada, "DELETE", `/people/${people[0]?.id}`)).status).toBe(403);
    await page.getByRole("button", { name: "Lift: pupil-13" }).click();
    await dialog().getByLabel("Reason").fill("Settled.");
    await dialog().getByRole("button", { name: "Lift", exact: true }).click();
    await page.getByText("lifted", { exact: true }).waitFor();
  });

  it("shows what controls come to, and makes a pack that can be read on a phone and printed", async () => {
    const page = ada.page;
    await ada.go("/settings/evidence");
    await page.getByRole("heading", { name: "Packs" }).waitFor();
    const anchored = page.getByRole("listitem").filter({ hasText: "Somebody outside holds a checkpoint" });
    await anchored.getByText("failed", { exact: true }).waitFor();
    await anchored.locator("summary").click();
    await anchored.getByText("No anchor is named").waitFor();
    await ada.accessible("evidence");
    await picture(ada, "desktop-evidence");
    await page.getByLabel("Name of the backup").fill("20260101T000000Z");
    await page.getByRole("button", { name: "I restored it" }).click();
    const restored = page.getByRole("listitem").filter({ hasText: "Somebody has tried to restore a backup." });
    await restored.getByText("met", { exact: true }).waitFor();

    await page.getByRole("button", { name: "Make the pack: GDPR" }).click();
    await page.getByRole("button", { name: "Signed statement" }).waitFor();
    const download = async (name: string): Promise<string> => {
      const coming = page.waitForEvent("download");
      await page.getByRole("button", { name }).click();
      return (await coming).path();
    };
    const signed = await download("Signed statement");
    const shown = await download("Page to read and print");
    const pack = JSON.parse(readFileSync(signed, "utf8")) as {
      object: string;
      statement: { controls: unknown[] };
    };
    expect(pack.object).toBe("evidence");
    expect(pack.statement.controls.length).toBeGreaterThan(30);

    const copy = join(mkdtempSync(join(tmpdir(), "intramural-pack-")), "gdpr.html");
    copyFileSync(shown, copy);
    for (const [where, options] of [
      ["on a phone", PHONE],
      ["on a screen", DESKTOP],
    ] as const) {
      const reader = await Watched.open(browser, url, options);
      await reader.page.goto(pathToFileURL(copy).href);
      await reader.page.getByRole("heading", { level: 1, name: "GDPR: evidence" }).waitFor();
      expect(await reader.page.getByText("To be filled in by the institution").count()).toBe(7);
      expect(await reader.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), where).toBe(true);
      await reader.accessible(`a pack ${where}`);
      await picture(reader, `pack-${where.replaceAll(" ", "-")}`);
      await reader.page.emulateMedia({ media: "print" });
      await reader.accessible(`a pack ${where}, printed`);
      expect((await reader.page.pdf({ format: "A4" })).subarray(0, 5).toString()).toBe("%PDF-");
      expect(reader.requests.filter((each) => !each.startsWith("file:"))).toEqual([]);
      expect(reader.complaints).toEqual([]);
      await reader.close();
    }
  });

  it("shows what attackers wrote into the log as text, and finds and exports it", async () => {
    const page = ada.page;
    const asked = new URLSearchParams({ action: "model.use", person: "mia", thing: HOSTILE });
    expect((await ask(ada, "GET", `/policy/explain?${asked}`)).status).toBe(400);
    await ask(ada, "GET", `/audit?${new URLSearchParams({ target: `${HOSTILE.repeat(2)}` })}`);
    const big = await new Promise<number>((done) => {
      const sent = request(`${url}/intramural/v1/login`, {
        method: "POST",
        headers: { "User-Agent": "x".repeat(1_000_000) },
      });
      sent.on("response", (answer) => done(answer.statusCode ?? 0));
      sent.on("error", () => done(0)); // the connection was closed on it
      sent.end("{}");
    });
    expect(big === 0 || big >= 400).toBe(true);
    await ada.go("/settings/audit");
    await page.locator("ol.rows li").nth(40).waitFor();
    await page.getByLabel("Event").selectOption("policy.explained");
    await expect.poll(() => page.locator("ol.rows li").count()).toBe(2);
    await page.getByLabel("Event").selectOption("");
    await page.getByLabel("Search").fill("window.attacked");
    await page.getByLabel("Search").press("Enter");
    await expect
      .poll(() => page.locator("ol.rows .what").allInnerTexts())
      .toEqual(["Audit log read", "Rules asked about somebody"]);
    for (const details of await page.locator("ol.rows details").all())
      await details.evaluate((node) => node.setAttribute("open", ""));
    const shown = await page.locator("ol.rows").innerText();
    expect(shown).toContain(
      "\\u000d\\u000a\\u001b[31mred\\u009b1m\\u202egnp.exe\\u2066\\u200b<script>window.attacked=1</script>",
    );
    expect(shown.replace(/\n/g, "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(await page.locator("ol.rows script, ol.rows img").count()).toBe(0);
    expect(await page.evaluate(() => "attacked" in window)).toBe(false);
    await page.getByText("Check it without this service").click();
    const [fetched] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "verify_intramural.py" }).click(),
    ]);
    const digest = createHash("sha256")
      .update(readFileSync(await fetched.path()))
      .digest("hex");
    await page.getByText(digest).waitFor();
    await ada.accessible("the log of an attack");
    await picture(ada, "desktop-audit-hostile");
    await page.getByRole("button", { name: "Clear" }).click();
    await pick(ada, "Who", "ada");
    await page.getByLabel("Outcome").selectOption("allowed");
    const today = new Date();
    const day = `${today.getFullYear()}-${String(today.getMonth() + 1).padStart(2, "0")}-${String(today.getDate()).padStart(2, "0")}`;
    await page.getByLabel("From").fill(day);
    await page.getByLabel("Until").fill(day);
    await page.getByLabel("Event").selectOption("workspace.joined");
    await expect
      .poll(async () => [...new Set(await page.locator("ol.rows .what").allInnerTexts())])
      .toEqual(["Added to a workspace"]);
    await page.getByLabel("Workspace").selectOption({ label: "Grade 7 Maths" });
    await expect.poll(() => page.locator("ol.rows li").count()).toBe(2);
    await page.getByText("Export", { exact: true }).click();
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: /OCSF/ }).click();
    const lines = readFileSync(await (await download).path(), "utf8")
      .trim()
      .split("\n");
    expect(lines.length).toBe(2);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ class_uid: 6003 });
  });

  it("makes reports, and signs a review", async () => {
    const page = ada.page;
    await ada.go("/settings/reports");
    await page.getByRole("button", { name: "Make the report" }).click();
    await page.getByText("Changes of people, keys, roles and limits").click();
    await page.getByText("Taken out of a workspace").first().waitFor();
    await ada.accessible("an activity review");
    await picture(ada, "desktop-report");
    await page.getByLabel("Note").fill("Nothing out of the ordinary.");
    await page.getByRole("button", { name: "Sign", exact: true }).click();
    await page.getByText(/^Signed: entry/).waitFor();
    await page.getByText("Disclosures of one student").click();
    await pick(ada, "Student", "pupil-07");
    await page.getByRole("button", { name: "Make the report" }).click();
    await page.getByRole("heading", { level: 2, name: "Disclosures of one student" }).waitFor();
    await page.getByText(/to be recorded under 99.32/).waitFor();
  });

  it("takes in a list of people: its mistakes, what it would do, and then that", async () => {
    const page = ada.page;
    const check = () => page.getByRole("button", { name: "See what it would do" }).click();
    const counts = () => page.locator("li.kind summary").allInnerTexts();
    await ada.go("/settings/lists");
    await page.getByText("No list was taken in yet.").waitFor();
    await ada.accessible("no list yet");

    // What is hostile is told by line, and nothing of it is taken; after a megabyte no more is read.
    await choose([
      "1,=HYPERLINK(1),,",
      "2,zoe,7c\u202e,",
      "3,yan,,2013-02-30",
      `4,xia,${"x".repeat(1_000_000)},`,
      "5,won,,",
    ]);
    await check();
    await page.getByRole("heading", { name: "4 mistakes" }).waitFor();
    expect(await page.locator("tbody .mono").allInnerTexts()).toEqual([
      "formula",
      "bad_character",
      "bad_date",
      "bad_csv",
    ]);
    expect(await page.locator("tbody td.number").allInnerTexts()).toEqual(["2", "3", "4", "5"]);
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("4 mistakes");
    await ada.accessible("mistakes of a list");
    await picture(ada, "desktop-list-mistakes");

    // By keyboard: the same field again, then Enter. It says what it would do, and does nothing.
    const first = Array.from(
      { length: 40 },
      (_, at) => `${at},reader-${at},Library/Room ${at % 4},${at < 10 ? "2014-03-09" : ""}`,
    );
    await choose(first);
    await page.getByLabel("What the list is called").press("Enter");
    await page.getByRole("heading", { name: "What it would do" }).waitFor();
    expect(await counts()).toEqual(["Groups made 5", "People added 40", "Ages written down 10", "Put into groups 40"]);
    await page.locator("li.kind", { hasText: "People added" }).locator("summary").press("Enter");
    await page.getByText("reader-39", { exact: true }).waitFor();
    await ada.accessible("what a list would do");
    await picture(ada, "desktop-list-plan");
    expect((await ask(ada, "GET", "/people?query=reader-")).said).toMatchObject({ total: 0 });
    await page.getByRole("button", { name: "Take it in" }).press("Enter");
    await page.getByRole("heading", { name: "What it did" }).waitFor();
    await page.locator("main").getByText("The list was taken in.").waitFor();
    expect((await ask(ada, "GET", "/people?query=reader-")).said).toMatchObject({ total: 40 });
    await expect.poll(() => page.locator("li.run .tag").allInnerTexts()).toEqual(["taken in", "only compared"]);
    await ada.accessible("a list that was taken in");

    // Who came with a list has no password: they are made for all of them, until somebody stops it.
    await page.getByRole("link", { name: "How they sign in" }).click();
    await page.getByText(/^\d+ people cannot sign in yet/).waitFor();
    await page.getByRole("button", { name: "First passwords…" }).click();
    await ada.accessible("first passwords");
    await dialog()
      .getByRole("button", { name: /^Make \d+ passwords$/ })
      .click();
    await dialog()
      .getByText(/^[1-9]\d* of \d+ passwords made$/)
      .waitFor();
    await dialog().getByRole("button", { name: "Stop" }).click();
    await dialog()
      .getByText(/can sign in now/)
      .waitFor();
    await ada.accessible("first passwords, made");
    const saving = page.waitForEvent("download");
    await dialog().getByRole("button", { name: "Save the list" }).click();
    const list = readFileSync(await (await saving).path(), "utf-8");
    const [username, password] = list.split("\r\n")[1]?.split(",") ?? [];
    const headers = { "Content-Type": "application/json" };
    const signIn = { method: "POST", headers, body: JSON.stringify({ username, password }) };
    expect((await fetch(`${url}/intramural/v1/login`, signIn)).status).toBe(200);
    await dialog().getByRole("button", { name: "I have saved it" }).click();
    await ada.go("/settings/lists");

    // What it takes away it asks first, and what is very much it says.
    await choose(first.slice(0, 20));
    await page.getByLabel("Shut out who is not on it any more").check();
    await check();
    await page.getByText("20 of 40 people would be shut out (50%).").waitFor();
    await page.getByRole("button", { name: "Take it in" }).click();
    await dialog()
      .getByText(/20 people are shut out: their sessions and keys end at once. 20 of 40/)
      .waitFor();
    await ada.accessible("a list that takes much away");
    await picture(ada, "desktop-list-asks");
    await dialog().getByRole("button", { name: "Cancel" }).click();
    expect((await ask(ada, "GET", "/people?query=reader-39")).said).toMatchObject({ people: [{ disabled_ms: null }] });
    await page.getByRole("button", { name: "Take it in" }).click();
    await dialog().getByRole("button", { name: "Take it in" }).click();
    await page.getByRole("heading", { name: "What it did" }).waitFor();
    expect((await ask(ada, "GET", "/people?query=reader-39")).said).toMatchObject({
      people: [{ disabled_ms: expect.any(Number) }],
    });
  });

  it("takes in five thousand people, is stopped, and does the rest", async () => {
    const page = ada.page;
    const done = page.getByText(/^[\d,]+ of 10,020 changes made/);
    const lines = Array.from({ length: 5000 }, (_, at) => `${at},student-${at},Year ${at % 20},`);
    await ada.go("/settings/lists");
    await page.getByLabel("What the list is called").fill("students");
    await page.getByLabel("Shut out who is not on it any more").uncheck();
    await choose(lines);
    await page.getByRole("button", { name: "See what it would do" }).click();
    await page.getByRole("button", { name: "Take it in" }).click();
    await done.filter({ hasNotText: /^0 of/ }).waitFor();
    await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
    await page.getByText(/^Stopped: [\d,]+ of 10,020 changes are made and stay/).waitFor();
    await expect.poll(() => page.locator("li.run .tag").first().innerText()).toBe("stopped");
    const { total } = (await ask(ada, "GET", "/people?query=student-&limit=1")).said as { total: number };
    expect(total).toBeGreaterThan(0);
    await page.getByRole("button", { name: "Take it in" }).click();
    await page.getByRole("progressbar", { name: "The list is being taken in" }).waitFor();
    await picture(ada, "desktop-list-progress");
    await ada.accessible("a list that is being taken in");
    // It goes on while something else is looked at.
    await ada.go("/settings/groups");
    await page.getByRole("heading", { level: 1, name: "Groups" }).waitFor();
    await ada.go("/settings/lists");
    await page.locator("main").getByText("The list was taken in.").waitFor({ timeout: 90_000 });
    expect((await ask(ada, "GET", "/people?query=student-&limit=1")).said).toMatchObject({ total: 5000 });
    await page.reload();
    await expect.poll(() => page.locator("li.run .tag").allInnerTexts()).toContain("taken in");
    await picture(ada, "desktop-list-before");
  });

  it("finds who lacks a consent, records one, and withdraws it", async () => {
    const page = ada.page;
    await ada.go("/settings/consents");
    await page.getByText("10 people", { exact: true }).waitFor();
    await page.getByLabel("Search people").fill("READER-3");
    await page.getByRole("link", { name: /^reader-3 / }).waitFor();
    await expect.poll(() => page.locator("main li a").count()).toBe(1);
    await ada.accessible("who lacks a consent");
    await picture(ada, "desktop-consents");
    await page.getByRole("link", { name: /^reader-3 / }).press("Enter");
    await dialog().getByText("No consent is recorded.").waitFor();
    await dialog().getByRole("button", { name: "Record a consent" }).click();
    const form = page.getByRole("dialog", { name: "Record a consent for reader-3" });
    for (const feature of ["Have conversations kept", "Upload files", "Speak and be heard"])
      await form.getByLabel(feature).check();
    await form.getByLabel("Until", { exact: true }).fill("2099-07-31");
    await form.getByLabel("Where the form is").fill("folder 12, sheet 7");
    await ada.accessible("recording a consent");
    await picture(ada, "desktop-consent-form");
    await form.getByRole("button", { name: "Record a consent" }).click();
    await dialog().getByText("folder 12, sheet 7").waitFor();
    await dialog()
      .getByText(/until Jul 31, 2099/)
      .waitFor();
    await ada.accessible("somebody's consents");
    await picture(ada, "desktop-consent-sheet");
    await dialog()
      .getByRole("button", { name: /^Withdraw/ })
      .click();
    await page
      .getByRole("dialog", { name: "Withdraw the consent for reader-3?" })
      .getByRole("button", { name: "Withdraw" })
      .click();
    await dialog().getByText("withdrawn", { exact: true }).waitFor();
    await dialog().getByLabel("Age", { exact: true }).selectOption("adult");
    await page.keyboard.press("Escape");
    await page.getByLabel("Search people").fill("");
    await page.getByText("9 people", { exact: true }).waitFor();

    // A whole group at once; of full age is who needs none.
    await page.getByRole("button", { name: "Record a consent" }).click();
    await dialog().getByLabel("Everybody in").selectOption({ label: "Library" });
    for (const feature of ["Have conversations kept", "Upload files", "Speak and be heard"])
      await dialog().getByLabel(feature).check();
    await dialog().getByRole("button", { name: "Record a consent" }).click();
    await page.getByText("Nobody lacks a consent.").waitFor();
    await page.getByLabel("Show", { exact: true }).selectOption("all");
    await page.getByLabel("Age", { exact: true }).selectOption("under-13");
    await page.getByText("9 people", { exact: true }).waitFor();
    expect(await page.locator("main li a").first().innerText()).toContain("Consented: asking models");
    await page.getByLabel("In", { exact: true }).selectOption({ label: "\u2003Room 0" });
    await page.getByText("3 people", { exact: true }).waitFor(); // readers 0, 4 and 8
  });

  it("writes a notice, sees who has read it, and ends it", async () => {
    const page = ada.page;
    await ada.go("/settings/notices");
    const rows = () => page.locator("main .what > p > strong").allInnerTexts();
    await expect.poll(rows).toEqual(["You are talking to an AI"]);
    expect(await page.getByRole("button", { name: /^(Change|End)/ }).count()).toBe(0);
    await page.getByRole("button", { name: "Write a notice" }).click();
    await dialog().getByLabel("Title", { exact: true }).fill("House rules");
    await dialog().getByLabel("Text", { exact: true }).fill("Be **kind**. <script>window.attacked=1</script>");
    await dialog().getByText("As it will look").click();
    await dialog().locator("strong", { hasText: "kind" }).waitFor();
    await dialog().getByLabel("Who has to read it").selectOption({ label: "A group" });
    await dialog().getByLabel("Group", { exact: true }).selectOption({ label: "Springfield School" });
    await ada.accessible("writing a notice");
    await picture(ada, "desktop-notice-form");
    await dialog().getByRole("button", { name: "Publish" }).click();
    await expect.poll(rows).toEqual(["House rules", "You are talking to an AI"]);
    await page.getByText("in Springfield School").waitFor();
    await page.getByRole("link", { name: "Who has read it: House rules" }).press("Enter");
    await dialog().getByText("Nobody yet.").waitFor();
    await pick(ada, "Somebody signed it on paper", "pupil-07");
    await dialog()
      .getByRole("listitem")
      .getByText(/on paper/)
      .waitFor();
    await ada.accessible("who has read a notice");
    await picture(ada, "desktop-notice-readers");
    await page.keyboard.press("Escape");
    await page.getByText(/read by 1 person; 1 has yet to read it/).waitFor();
    await ada.accessible("notices");
    await picture(ada, "desktop-notices");
    await page.getByRole("button", { name: "Change: House rules" }).click();
    await dialog().getByLabel("Text", { exact: true }).fill("Be kind!");
    await dialog().getByRole("button", { name: "Publish" }).click();
    await expect.poll(() => page.getByText(/read by nobody/).count()).toBe(2); // it is another text
    await page.getByRole("button", { name: "End: House rules" }).click();
    await dialog().getByRole("button", { name: "End", exact: true }).click();
    await expect.poll(rows).toEqual(["You are talking to an AI"]);
    expect(await page.evaluate(() => "attacked" in window)).toBe(false);
  });

  it("who may less sees less, and is told why not", async () => {
    const mia = await Watched.open(browser, url, { colorScheme: "dark" });
    const page = mia.page;
    await mia.go("/settings/audit");
    await page.getByLabel("User name").fill("mia");
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { level: 1, name: "Audit" }).waitFor();
    const rooms = () => page.locator("nav.rooms .link:not(.back)").allInnerTexts();
    expect(await rooms()).toEqual([
      ...["Account", "Keys", "Usage", "Permissions", "People", "Groups", "Service accounts", "Roles", "Consent"],
      ...["Workspaces", "Limits", "Kept and deleted", "What leaves", "Notices", "Audit", "Emergency access", "Reports"],
      ...["Evidence", "Attestation"],
      "Models",
      "Machine",
    ]);
    await mia.go("/settings/groups");
    await page.getByRole("link", { name: /Grade 7/ }).waitFor();
    expect(await page.getByRole("button", { name: "Add a group" }).count()).toBe(0);
    await mia.go("/settings/audit");
    await page.locator("ol.rows li").first().waitFor();
    const { people } = (await ask(ada, "GET", "/people?query=mia")).said as { people: { id: string }[] };
    expect((await ask(ada, "PATCH", `/people/${people[0]?.id}`, { role: "member" })).status).toBe(200);
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByRole("button", { name: "Why can't I?" }).click();
    await page.getByText("No: you may not read the log.").waitFor();
    await page.getByText("Ask an administrator.").last().waitFor();
    await mia.accessible("why not");
    await picture(mia, "desktop-why");
    await page.keyboard.press("Escape");
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "Account" }).waitFor();
    expect(await rooms()).toEqual(["Account", "Keys", "Usage", "Permissions", "Models"]);

    // A chat can be begun in the workspace that she is in, for one of its purposes.
    await mia.go("/");
    await page.getByRole("button", { name: /^Workspace: No workspace/ }).click();
    await page.getByRole("menuitemradio", { name: /^Grade 7 Maths/ }).click();
    await page.getByText("What is this for?").first().waitFor();
    await page.getByText("grading", { exact: true }).click();
    await mia.accessible("a chat in a workspace");
    await picture(mia, "desktop-chat-workspace");
    mia.clean();
    await mia.close();
  });

  it("on a small phone nothing is too wide, in the dark", async () => {
    const phone = await Watched.open(browser, url, NARROW);
    const page = phone.page;
    await phone.go("/");
    await phone.signIn("ada", PASSWORD);
    const workspaces = (await ask(phone, "GET", "/workspaces/all")).said as { workspaces: { id: string }[] };
    const sheet = `workspaces/${workspaces.workspaces[0]?.id}`;
    for (const room of [
      "people",
      "groups",
      "services",
      "roles",
      "lists",
      "consents",
      "notices",
      "workspaces",
      "limits",
      "retention",
      "egress",
      "machine",
      "permissions",
      "audit",
      "reports",
      "evidence",
      sheet,
    ]) {
      await phone.go(`/settings/${room}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      if (room === "audit") await page.locator("ol.rows li").first().waitFor();
      if (room === sheet) await page.getByRole("heading", { name: "Who works there" }).waitFor();
      await expect.poll(() => page.locator("main").getByText("Loading…", { exact: true }).count()).toBe(0);
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${room} is too wide`).toBe(
        true,
      );
      const wide = await page.evaluate(() =>
        [...document.querySelectorAll("main *, dialog *")]
          .filter(
            (node) => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".wide, .unseen, ol, pre"),
          )
          .map((node) => node.outerHTML.slice(0, 120)),
      );
      expect(wide, `${room} reaches over the edge`).toEqual([]);
      await phone.accessible(`${room}, phone, dark`);
      await picture(phone, `phone-${room.split("/")[0]}${room === sheet ? "-sheet" : ""}`);
    }
    phone.clean();
    await phone.close();
    ada.clean();
  });
});
