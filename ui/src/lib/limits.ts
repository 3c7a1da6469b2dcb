/** Limits in words, and how much of them is used. Pure. */

import { admin } from "./admin-words";
import { bytes } from "./format";
import type { QuotaListed } from "./types";

export const amount = (value: number, measure: QuotaListed["measure"]): string =>
  measure === "storage_bytes" ? bytes(value) : value.toLocaleString("en", { maximumFractionDigits: 2 });

/** For whom: `each person in Grade 7`. `called`: the name of its person, group, workspace or key. */
export function whom(limit: Pick<QuotaListed, "subject" | "each">, called: string): string {
  if (limit.subject === "everyone") return limit.each ? admin.limits.eachPerson : admin.limits.everyone;
  if (limit.subject === "group") return admin.limits.group(called, limit.each);
  if (limit.subject === "workspace") return admin.limits.workspace(called, limit.each);
  return limit.subject === "key" ? admin.limits.key(called) : admin.limits.person(called);
}

/** `1,000 tokens a day with tiny:1b: each person in Grade 7`. */
export function limitWords(limit: QuotaListed, called: string): string {
  const parts = [admin.limits.amountOf(amount(limit.limit, limit.measure), limit.measure, limit.unit)];
  if (limit.period !== "now") parts.push(admin.limits.periods[limit.period]);
  if (limit.model !== null) parts.push(admin.limits.only(limit.model));
  return `${parts.join(" ")}: ${whom(limit, called)}`;
}

/** The used part, from 0 to 1, with what answers under way hold. */
export const share = (limit: QuotaListed, balance: { used: number; held: number }): number =>
  limit.limit > 0 ? Math.min(1, (balance.used + balance.held) / limit.limit) : 1;
