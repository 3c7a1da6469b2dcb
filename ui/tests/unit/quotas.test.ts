import { expect, test } from "vitest";
import { scarcest } from "../../src/lib/quotas";
import type { Quota } from "../../src/lib/types";
import { words } from "../../src/lib/words";

const quota: Quota = {
  id: "quota_1",
  words: "1,000 tokens a day for each person",
  measure: "tokens",
  unit: "tokens",
  period: "day",
  limit: 1_000,
  used: 100,
  held: 0,
  remaining: 900,
  renews_ms: 1,
};

test("the quota of which least is left is told", () => {
  const month = { ...quota, id: "quota_2", period: "month" as const, limit: 10_000, remaining: 2_000 };
  expect(scarcest([quota, month])).toBe(month);
  expect(scarcest([])).toBeNull();
});

test("streams and what renews in a minute are of no interest until they are empty", () => {
  const minute = { ...quota, period: "minute" as const, remaining: 1 };
  const streams = { ...quota, measure: "streams" as const, period: "now" as const, remaining: 0 };
  expect(scarcest([quota, minute, streams])).toBe(quota);
  const empty = { ...minute, remaining: 0 };
  expect(scarcest([quota, empty])).toBe(empty);
  expect(scarcest([{ ...quota, limit: 0, remaining: 0 }, quota])?.limit).toBe(0);
});

test("what is left is said in its unit", () => {
  expect(words.quotas.left(quota)).toBe("900 of 1,000 tokens left");
  expect(words.quotas.left({ ...quota, measure: "money", unit: "EUR", remaining: 0.125, limit: 2 })).toBe(
    "0.13 of 2 EUR left",
  );
  expect(words.quotas.left({ ...quota, measure: "storage_bytes", remaining: 1024, limit: 2048 })).toContain("left");
});
