/** What is said of an AI: notices to be read, labels of what it wrote, and what a guardian consents to. */

import { words } from "./words";

export interface NoticeToRead {
  id: string;
  title: string;
  /** Markdown. */
  text: string;
  audience: string;
  /** Models answer only who has read it. */
  blocking: boolean;
  /** Of the version that is shown. */
  digest: string;
  changed_ms: number;
}

/** A notice as whoever writes notices sees it. */
export interface NoticeListed extends NoticeToRead {
  /** How many have read it as it is now. */
  readers: number;
  /** How many of those whom it is for have not. */
  unread: number;
  /** It is made of the settings. */
  fixed: boolean;
}

/** Whom a notice is for: `everyone`, or a kind and which one, as `group:group_01k…`. */
export interface Audience {
  kind: "everyone" | "role" | "group" | "workspace" | "age";
  which: string;
}

const KINDS: readonly string[] = ["everyone", "role", "group", "workspace", "age"];

/** An audience taken apart; one of a kind that is not known here is everybody's to look at, as it is. */
export function audienceOf(text: string): Audience {
  const colon = text.indexOf(":");
  const kind = colon < 0 ? text : text.slice(0, colon);
  if (!KINDS.includes(kind)) return { kind: "everyone", which: text };
  return { kind: kind as Audience["kind"], which: colon < 0 ? "" : text.slice(colon + 1) };
}

export const audienceText = ({ kind, which }: Audience): string => (kind === "everyone" ? kind : `${kind}:${which}`);

export interface Unread {
  notices: NoticeToRead[];
  labelled: boolean;
  institution: string;
}

export interface ReadNotice {
  notice_id: string;
  digest: string;
  title: string;
  how: string;
  time_ms: number;
}

export interface Consent {
  id: string;
  features: string[];
  given_by: string;
  how: string;
  given_ms: number;
  until_ms: number | null;
  reference: string;
  withdrawn_ms: number | null;
}

export interface OwnConsent {
  age: string;
  off: string[];
  needed: string[];
  consents: string[];
  keep_days: number | null;
  guard: string;
  hours: string | null;
  recorded: Consent[];
}

/** What is copied of an answer, with the line that an AI wrote it. */
export const labelledText = (text: string, models: string[], institution: string): string =>
  `${text.trimEnd()}\n\n${words.labels.line(models, institution)}\n`;

interface Said {
  role: string;
  model: string | null;
}

/** Whoever wrote answers among these messages, in order. */
export const writers = (messages: Said[]): string[] => [
  ...new Set(messages.flatMap((each) => (each.role === "assistant" && each.model ? [each.model] : []))),
];

/** A saved conversation as Markdown: fields before it for programs, a line below it for people. */
export function labelledFile(markdown: string, models: string[], institution: string): string {
  if (models.length === 0) return markdown;
  const named = models.map((model) => `  - ${JSON.stringify(model)}`);
  const fields = ["---", `digital_source_type: ${SOURCE_TYPE}`, "generated_by:", ...named, "---", "", ""].join("\n");
  return `${fields}${markdown.trimEnd()}\n\n---\n\n*${words.labels.line(models, institution)}*\n`;
}

/** IPTC's word for what a trained model made alone. */
const SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
