/**
 * Text files that are sent with a message. They become part of its text, so that every model reads them, the guard looks
 * at them, and nothing is kept anywhere else. Other files are refused: no model here would be given what is in them.
 */

import { ApiError } from "./api";
import { visible } from "./visible";
import { words } from "./words";

export interface Enclosed {
  name: string;
  text: string;
}

/** Some 60,000 words: more than the context of any model that a small machine runs. */
export const MOST_BYTES = 400_000;
const LONGEST_NAME = 120;
/** Where files may begin in a message; of so many places it is tried. */
const BEGINS = /(?:^|\n\n)(?=File [^\n]+:\n`{3,}\n)/g;
const MOST_TRIED = 100;
/** One file: its name, and its text between fences that are longer than any within. */
const ONE = /File ([^\n]+):\n(`{3,})\n((?:[^\n]*\n)*?)\2(?=\n\n|$)/y;

/** What a file says. Raises ApiError where it is no text, or too large. */
export async function read(file: File): Promise<Enclosed> {
  const name = visible(file.name).replace(/\s+/g, " ").trim().slice(0, LONGEST_NAME) || words.chat.fileUnnamed;
  if (file.size > MOST_BYTES) throw new ApiError(413, "file_too_large", words.chat.fileTooLarge(name, MOST_BYTES));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes("\0")) throw new TypeError("no text");
    return { name, text: text.replaceAll("\r\n", "\n") };
  } catch {
    throw new ApiError(415, "file_no_text", words.chat.fileNoText(name), words.chat.fileNoTextHint);
  }
}

/** A message with its files. */
export function joined(text: string, files: readonly Enclosed[]): string {
  const whole = files.map((file) => {
    const longest = Math.max(2, ...[...file.text.matchAll(/`{3,}/g)].map((found) => found[0].length));
    const fence = "`".repeat(longest + 1);
    return `File ${file.name}:\n${fence}\n${file.text}${file.text === "" || file.text.endsWith("\n") ? "" : "\n"}${fence}`;
  });
  return [text, ...whole].filter((part) => part !== "").join("\n\n");
}

/** What was joined, apart again. */
export function parted(message: string): { text: string; files: Enclosed[] } {
  let tried = 0;
  for (const { index, 0: gap } of message.matchAll(BEGINS)) {
    const files = filesFrom(message, index + gap.length);
    if (files !== null) return { text: message.slice(0, index), files };
    if (++tried === MOST_TRIED) break;
  }
  return { text: message, files: [] };
}

/** The files from here on, if there is nothing else to the end. */
function filesFrom(message: string, start: number): Enclosed[] | null {
  const files: Enclosed[] = [];
  for (let at = start; ; at += 2) {
    ONE.lastIndex = at;
    const found = ONE.exec(message);
    if (found === null) return null;
    files.push({ name: found[1] ?? "", text: found[3] ?? "" });
    at = ONE.lastIndex;
    if (at === message.length) return files;
  }
}
