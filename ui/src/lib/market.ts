/** Choosing among the catalogue's models: pure, so that every rule can be tested without a page. */

import type { Entry, FitVerdict, Pull, Task, Use, Variant } from "./types";
import { TASKS, USES } from "./types";

export type Size = "small" | "medium" | "large" | "huge";
export type Order = "suggested" | "newest" | "smallest" | "fastest";
export const ORDERS: readonly Order[] = ["suggested", "newest", "smallest", "fastest"];

/** Bounds of what has to be fetched, in bytes: from (inclusive) and to (exclusive). */
export const SIZES: Record<Size, readonly [number, number]> = {
  small: [0, 4e9],
  medium: [4e9, 12e9],
  large: [12e9, 40e9],
  huge: [40e9, Number.POSITIVE_INFINITY],
};

export interface Filter {
  text: string;
  task: Task | "";
  fits: boolean;
  use: Use | "";
  size: Size | "";
  publisher: string;
  order: Order;
}

export const EVERYTHING: Filter = {
  text: "",
  task: "",
  fits: false,
  use: "",
  size: "",
  publisher: "",
  order: "suggested",
};

const among = <T extends string>(given: string | null, known: readonly T[]): T | "" =>
  known.find((one) => one === given) ?? "";

/** The filter that an address holds; what it does not know is passed over. */
export function filterOf(query: URLSearchParams): Filter {
  return {
    text: query.get("q") ?? "",
    task: among(query.get("task"), TASKS),
    fits: query.get("fits") === "yes",
    use: among(query.get("use"), USES),
    size: among(query.get("size"), Object.keys(SIZES) as Size[]),
    publisher: query.get("by") ?? "",
    order: among(query.get("order"), ORDERS) || "suggested",
  };
}

/** The filter as the end of an address: empty, or with its question mark. */
export function queryOf(filter: Filter): string {
  const query = new URLSearchParams();
  const set = (name: string, value: string) => value !== "" && query.set(name, value);
  set("q", filter.text.trim());
  set("task", filter.task);
  set("fits", filter.fits ? "yes" : "");
  set("use", filter.use);
  set("size", filter.size);
  set("by", filter.publisher);
  set("order", filter.order === "suggested" ? "" : filter.order);
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

/** How many of the choices beside the search box narrow the list. */
export const narrowings = (filter: Filter): number =>
  [filter.fits, filter.use, filter.size, filter.publisher].filter(Boolean).length;

const RANK: Record<FitVerdict, number> = { comfortable: 0, tight: 1, no: 2 };

const rank = (variant: Variant | undefined): number =>
  variant === undefined ? 9 : (variant.servable ? 0 : 4) + RANK[variant.fit.verdict];

/** What is offered first: one that runs before one that is only kept, then by fit; of equals the catalogue's first. */
export function offered(entry: Entry): Variant | undefined {
  return entry.variants.reduce<Variant | undefined>(
    (best, variant) => (best === undefined || rank(variant) < rank(best) ? variant : best),
    undefined,
  );
}

/** How many bits a weight takes, as the name of a quantisation says it; 0 where it does not. */
export const bits = (quantisation: string): number =>
  Number(/^(?:I?Q|TQ|MXFP|NVFP|B?F)(\d+)/.exec(quantisation)?.[1] ?? 0);

/** The variant on the shelf, where there is one. */
export const installed = (entry: Entry): Variant | undefined =>
  entry.variants.find((variant) => variant.installed !== null);

/** True where a variant both runs and fits. */
export const fitsHere = (variant: Variant | undefined): boolean =>
  variant?.servable === true && variant.fit.verdict !== "no";

export function matches(entry: Entry, filter: Filter): boolean {
  const variant = offered(entry);
  if (filter.task !== "" && !entry.tasks.includes(filter.task)) return false;
  if (filter.fits && !fitsHere(variant)) return false;
  if (filter.use !== "" && entry.licence[filter.use] === "no") return false;
  if (filter.publisher !== "" && entry.publisher !== filter.publisher) return false;
  if (filter.size !== "") {
    const [from, to] = SIZES[filter.size];
    if (variant === undefined || variant.size_bytes < from || variant.size_bytes >= to) return false;
  }
  const where = [
    entry.name,
    entry.publisher,
    entry.family,
    entry.summary,
    entry.id,
    ...entry.tasks,
    ...entry.modalities,
  ]
    .join(" ")
    .toLowerCase();
  return filter.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => where.includes(word));
}

/** Below this one reads faster than it writes. */
export const SLOW_TOKENS_PER_S = 4;
const SUGGESTED: readonly Task[] = ["chat", "code", "vision"];

/** The model to begin with for each kind of work: the most capable that fits comfortably and is not too slow. */
export function suggestions(entries: readonly Entry[]): Map<string, Task[]> {
  const found = new Map<string, Task[]>();
  for (const task of SUGGESTED) {
    const best = entries
      .filter((entry) => {
        const variant = offered(entry);
        return (
          entry.tasks[0] === task &&
          variant?.servable === true &&
          variant.fit.verdict === "comfortable" &&
          (variant.fit.tokens_per_s ?? SLOW_TOKENS_PER_S) >= SLOW_TOKENS_PER_S
        );
      })
      .reduce<Entry | undefined>((a, b) => (a === undefined || b.parameters > a.parameters ? b : a), undefined);
    if (best) found.set(best.id, [...(found.get(best.id) ?? []), task]);
  }
  return found;
}

/** Sorted copies; equals keep the catalogue's order. */
export function ordered(entries: readonly Entry[], order: Order, first: ReadonlyMap<string, unknown>): Entry[] {
  const place = (entry: Entry): number => rank(offered(entry));
  const by: Record<Order, (a: Entry, b: Entry) => number> = {
    suggested: (a, b) =>
      Number(first.has(b.id)) - Number(first.has(a.id)) ||
      place(a) - place(b) ||
      (place(a) === RANK.no ? a.parameters - b.parameters : b.parameters - a.parameters),
    newest: (a, b) => (b.released ?? "").localeCompare(a.released ?? ""),
    smallest: (a, b) => (offered(a)?.size_bytes ?? 0) - (offered(b)?.size_bytes ?? 0),
    fastest: (a, b) => (offered(b)?.fit.tokens_per_s ?? 0) - (offered(a)?.fit.tokens_per_s ?? 0),
  };
  return [...entries].sort(by[order]);
}

export const publishers = (entries: readonly Entry[]): string[] =>
  [...new Set(entries.map((entry) => entry.publisher))].sort((a, b) => a.localeCompare(b));

/** The entry and variant that a model on the shelf came from. */
export function origin(entries: readonly Entry[], name: string): { entry: Entry; variant: Variant } | null {
  for (const entry of entries)
    for (const variant of entry.variants) if (variant.installed === name) return { entry, variant };
  return null;
}

/** It talks: a chat can be opened with it. What nobody catalogued may be tried. */
export const talks = (entry: Entry | undefined): boolean =>
  entry === undefined || entry.tasks.some((task) => task === "chat" || task === "code" || task === "vision");

/** Nothing more will happen by itself. */
export const isOver = (pull: Pull): boolean => pull.state !== "running" && pull.state !== "paused";

/** Over, but what came is kept: it can go on. */
export const canResume = (pull: Pull): boolean => pull.state === "paused" || pull.state === "stopped";

/** The part of the bytes that has come, 0 to 1; null where nobody knows how many there are. */
export const share = (pull: Pull): number | null =>
  pull.total_bytes === null || pull.total_bytes <= 0 ? null : Math.min(1, pull.done_bytes / pull.total_bytes);

export const STEPS = ["resolving", "fetching", "verifying", "inspecting", "shelving"] as const;

const isStep = (step: string): boolean => (STEPS as readonly string[]).includes(step);

/**
 * A pull with the step it stands at. Once it does not run the server says no more than how it ended: then it is the step
 * that was seen last, or what the bytes tell.
 */
export function standing(pull: Pull, before: Pull | undefined): Pull {
  if (isStep(pull.step) || pull.state === "shelved" || pull.state === "quarantined") return pull;
  if (before && isStep(before.step)) return { ...pull, step: before.step };
  if (pull.state === "refused" || pull.state === "cancelled") return pull;
  if (pull.total_bytes === null) return { ...pull, step: "resolving" };
  return { ...pull, step: pull.done_bytes < pull.total_bytes ? "fetching" : "verifying" };
}

/** Where a step stands among STEPS; -1 where nobody knows. A finished pull is past the last. */
export const stepAt = (pull: Pull): number =>
  pull.state === "shelved" || pull.state === "quarantined"
    ? STEPS.length
    : (STEPS as readonly string[]).indexOf(pull.step);
