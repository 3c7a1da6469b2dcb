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

export interface ChatShown {
  id: string;
  title: string;
  updated_ms: number;
}

export interface FileShown {
  id: string;
  name: string;
  size_bytes: number;
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
