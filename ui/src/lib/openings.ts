/** Reading what is another's in an emergency: the shapes of `/break-glass`, and what somebody may do with one now. */

export const PURPOSES = ["emergency", "safeguarding", "investigation", "legal", "request"] as const;
export type Purpose = (typeof PURPOSES)[number];
export type OpeningState = "requested" | "approved" | "open" | "closed" | "refused" | "expired";
export type Step = "approve" | "refuse" | "open" | "look" | "close";

export interface Opening {
  id: string;
  state: OpeningState;
  asker: string;
  person: string | null;
  workspace: string | null;
  purpose: string;
  reason: string;
  minutes: number;
  approver: string | null;
  asked_ms: number;
  ends_ms: number;
  opened_ms: number | null;
  closed_ms: number | null;
  why: string | null;
  mine: boolean;
}

export interface OpeningNotice {
  opening_id: string;
  who: string;
  purpose: string;
  purpose_text: string;
  reason: string;
  told_ms: number;
  ends_ms: number;
  closed_ms: number | null;
  reads: number;
  seen: boolean;
}

export interface Owner {
  id: string;
  username: string;
}

/** What an opening shows, kind by kind. `reads`: what is of one is read here; else it is downloaded. */
export const KINDS = {
  chats: { reads: true },
  files: { reads: false },
  responses: { reads: true },
  conversations: { reads: true },
  batches: { reads: false },
} as const;
export type Kind = keyof typeof KINDS;
/** So many of a kind are listed at a time; a list that is so long may go on. */
export const AT_ONCE = 200;

/** One of a kind in a list. What the service says of it differs: chats have a title, files a name, and so on. */
export interface Listed {
  id: string;
  title?: string;
  name?: string;
  model?: string;
  endpoint?: string;
  size_bytes?: number;
  total?: number;
  created_ms: number;
  updated_ms?: number;
}

/** What one says to have those that are older than the last one of a list. */
export const older = (kind: Kind, last: Listed): Record<string, string> =>
  kind === "chats" ? { before_ms: String(last.updated_ms) } : { before: last.id };

/** What one in a list is called: its title or name, what it was asked of, or how it is identified. */
export const called = (one: Listed): string => one.title || one.name || one.model || one.endpoint || one.id;

/** What is downloaded of one: the path behind that of its kind, and the name to save it under. */
export function downloads(kind: Kind, one: Listed): { part: "content" | "input" | "results"; save: string }[] {
  if (kind === "files") return [{ part: "content", save: one.name ?? one.id }];
  if (kind === "batches")
    return (["input", "results"] as const).map((part) => ({ part, save: `${one.id}-${part}.jsonl` }));
  return [];
}

/** Something that was said. `when` is known of chats alone. */
export interface Said {
  role: string;
  text: string;
  when: number | null;
}

interface Part {
  text?: unknown;
}
/** An item of a response or a conversation, as its dialect has it. */
export interface Item {
  type?: string;
  role?: string;
  content?: string | Part[];
}

/** Items as people read them: a message's words; of anything else what it holds. */
export function said(items: readonly Item[]): Said[] {
  return items.map((item) => {
    const parts = typeof item.content === "string" ? [{ text: item.content }] : item.content;
    const text = Array.isArray(parts)
      ? parts.map((part) => (typeof part.text === "string" ? part.text : JSON.stringify(part))).join("\n")
      : JSON.stringify(item);
    return { role: item.role ?? item.type ?? "", text, when: null };
  });
}

/** What can be done with an opening, in the order of the buttons. `may`: whether somebody has a permission. */
export function steps(opening: Opening, may: (permission: string) => boolean, now: number): Step[] {
  const live = ["requested", "approved", "open"].includes(opening.state) && now < opening.ends_ms;
  if (!live) return [];
  const found: Step[] = [];
  const others = !opening.mine;
  if (opening.state === "requested" && others && may("breakglass.approve")) found.push("approve");
  if (opening.state === "approved" && opening.mine) found.push("open");
  if (opening.state === "open" && opening.mine) found.push("look");
  if (opening.state !== "open" && others && may("breakglass.close")) found.push("refuse");
  else if (opening.mine || may("breakglass.close")) found.push("close");
  return found;
}
