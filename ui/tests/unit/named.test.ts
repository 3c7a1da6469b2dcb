/** What the service names has words here: its reference pages are generated from the code, and held to it by a test. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { admin } from "../../src/lib/admin-words";
import { eventWords, families } from "../../src/lib/events";
import { actionWords, ruleWords } from "../../src/lib/permissions";

const reference = (page: string, line: RegExp): string[] =>
  [...readFileSync(`../docs/reference/${page}.md`, "utf-8").matchAll(line)].map((found) => found[1] ?? "");

const EVENTS = reference("events", /^- `([^`]+)`/gm);
const ACTIONS = reference("permissions", /^\| `([^`]+)`/gm);
const RULES = reference("errors", /^\| `([^`]+)` \| Refused \| `access\/(?:policy|bounds)\.py`/gm);

describe("what the service names", () => {
  it("is read", () => {
    expect(EVENTS.length).toBeGreaterThan(150);
    expect(ACTIONS.length).toBeGreaterThan(80);
    expect(RULES.length).toBeGreaterThan(20);
  });

  it("has words for every event, and a family in which it is found", () => {
    expect(EVENTS.filter((event) => eventWords(event) === event)).toEqual([]);
    const found = families.flatMap((family) => family.events.map(([event]) => event));
    expect(EVENTS.filter((event) => !found.includes(event))).toEqual([]);
    expect(new Set(found).size).toBe(found.length);
  });

  it("has words for every act, and what it is about", () => {
    expect(ACTIONS.filter((action) => actionWords(action) === action)).toEqual([]);
    expect(ACTIONS.filter((action) => !admin.subjects[action.split(".", 1)[0] ?? ""])).toEqual([]);
  });

  it("has words for every rule that refuses", () => {
    expect(RULES.filter((rule) => ruleWords(rule) === rule)).toEqual([]);
  });
});
