/** What is said aloud (for screen readers) and what is shown for a moment. */

import type { Asked } from "./types";

export interface Notice {
  id: number;
  text: string;
  /** What the policy refused, if that is what is said. */
  asked: Asked | null;
}

/** So many are shown at once; the newest stay. */
const MOST = 3;

class Notices {
  shown = $state<Notice[]>([]);
  said = $state("");
  #next = 1;
  #last = "";

  /** Shows a line for some seconds; it is said as well. */
  show(text: string, asked: Asked | null = null): void {
    const id = this.#next++;
    this.shown = [...this.shown.slice(1 - MOST), { id, text, asked }];
    setTimeout(() => this.hide(id), asked === null ? 6000 : 20_000);
    this.say(text);
  }

  hide(id: number): void {
    this.shown = this.shown.filter((notice) => notice.id !== id);
  }

  /** Says something politely, without showing it. */
  say(text: string): void {
    // The same words twice would not be said twice. What was last is no state: whoever speaks does not listen.
    this.#last = text === this.#last ? `${text}\u00a0` : text;
    this.said = this.#last;
  }
}

export const notices = new Notices();
