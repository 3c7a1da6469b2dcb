import type { Quota } from "./types";

/** The quota of which the smallest share is left, with those that renew soon of no interest until they are empty. */
export function scarcest(quotas: readonly Quota[]): Quota | null {
  const share = (quota: Quota): number => (quota.limit > 0 ? quota.remaining / quota.limit : 0);
  const told = quotas.filter(
    (quota) => quota.measure !== "streams" && (quota.period !== "minute" || quota.remaining <= 0),
  );
  return told.reduce<Quota | null>(
    (least, each) => (least === null || share(each) < share(least) ? each : least),
    null,
  );
}
