import { expect, test } from "vitest";
import { type Opening, type OpeningState, steps } from "../../src/lib/openings";

const opening = (state: OpeningState, mine: boolean): Opening => ({
  id: "opening_1",
  state,
  asker: "ada",
  person: "tea",
  workspace: null,
  purpose: "legal",
  reason: "because a court says so",
  minutes: 60,
  approver: null,
  asked_ms: 0,
  ends_ms: 100,
  opened_ms: null,
  closed_ms: null,
  why: null,
  mine,
});
const administrator = (permission: string): boolean =>
  ["breakglass.ask", "breakglass.list", "breakglass.approve", "breakglass.close"].includes(permission);
const officer = (permission: string): boolean => permission === "breakglass.ask";

test("nobody agrees to what they have asked for, and nobody else looks", () => {
  expect(steps(opening("requested", true), administrator, 1)).toEqual(["close"]);
  expect(steps(opening("requested", false), administrator, 1)).toEqual(["approve", "refuse"]);
  expect(steps(opening("approved", true), administrator, 1)).toEqual(["open", "close"]);
  expect(steps(opening("approved", false), administrator, 1)).toEqual(["refuse"]);
  expect(steps(opening("open", true), administrator, 1)).toEqual(["look", "close"]);
  expect(steps(opening("open", false), administrator, 1)).toEqual(["close"]);
});

test("who may only ask does that with their own", () => {
  expect(steps(opening("approved", true), officer, 1)).toEqual(["open", "close"]);
  expect(steps(opening("open", true), officer, 1)).toEqual(["look", "close"]);
  for (const state of ["requested", "approved", "open"] as const)
    expect(steps(opening(state, false), officer, 1)).toEqual([]);
});

test("nothing is left to do with one that is over, by its state or by the clock", () => {
  for (const state of ["closed", "refused", "expired"] as const)
    expect(steps(opening(state, true), administrator, 1)).toEqual([]);
  for (const state of ["requested", "approved", "open"] as const)
    expect(steps(opening(state, true), administrator, 100)).toEqual([]);
});
