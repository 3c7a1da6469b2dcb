/**
 * Text from outside, made harmless to read: what controls a terminal, ends a line or turns the direction of reading is
 * written as `\uXXXX`, and what is very long is cut. Markup needs nothing: the page only ever inserts text.
 */

const LONGEST = 4_000;
/** Control and format characters (bidirectional and zero-width marks, tags), separators, half characters, fillers. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

const escaped = (character: string): string =>
  [...character].map((each) => `\\u${(each.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`).join("");

export function visible(text: string): string {
  const shown = text.slice(0, LONGEST).replace(HIDDEN, escaped);
  return text.length > LONGEST ? `${shown}… [${text.length.toLocaleString("en")}]` : shown;
}

/** Any value of a fact: text as it is, all else as JSON; always harmless. */
export const shownFact = (value: unknown): string =>
  visible(typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
