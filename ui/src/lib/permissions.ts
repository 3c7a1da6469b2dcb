/** Permissions in plain words. An action is `people.read`; a permission may say with whom: `people.read.all`. */

import { admin } from "./admin-words";

export interface Permission {
  /** As the server calls it. */
  name: string;
  action: string;
  whose: "" | ".managed" | ".all";
}

export function permissionOf(name: string): Permission {
  const whose = name.endsWith(".all") ? ".all" : name.endsWith(".managed") ? ".managed" : "";
  return { name, action: name.slice(0, name.length - whose.length), whose };
}

/** What an action is in words; one that is not known here keeps its name. */
export const actionWords = (action: string): string => admin.actions[action] ?? action;

const subjectOf = (action: string): string => {
  const first = action.split(".", 1)[0] ?? "";
  return admin.subjects[first] ?? first;
};

export interface Subject<T> {
  label: string;
  items: T[];
}

/** Sorted under what they are about, in the order of `admin.subjects`; what has no place there comes last. */
export function bySubject<T>(items: readonly T[], action: (item: T) => string): Subject<T>[] {
  const found = new Map<string, T[]>([...new Set(Object.values(admin.subjects))].map((label) => [label, []]));
  for (const item of items) {
    const label = subjectOf(action(item));
    found.set(label, [...(found.get(label) ?? []), item]);
  }
  return [...found].filter(([, each]) => each.length > 0).map(([label, each]) => ({ label, items: each }));
}

/** A rule in words. */
export const ruleWords = (rule: string): string =>
  admin.why.rules[rule] ?? (rule.startsWith("rule_") ? admin.why.institution : rule);
