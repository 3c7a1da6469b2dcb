/** What the guard says of a text before it is sent, in words: classes and counts, never what was found. */

import type { GuardCheck } from "./types";
import { words } from "./words";

/** The mildest first. */
const ACTIONS = ["warn", "redact", "block"] as const;

/** One sentence for every action that something was found for; the gravest last. */
export function sentences(checked: GuardCheck): string[] {
  return ACTIONS.flatMap((action) => {
    const counts = new Map<string, number>();
    for (const found of checked.found)
      if (found.action === action) counts.set(found.called, (counts.get(found.called) ?? 0) + 1);
    const named = [...counts].map(([called, count]) => (count === 1 ? called : `${called} (${count})`));
    return named.length === 0 ? [] : [words.guard[action](named.join(", "))];
  });
}
