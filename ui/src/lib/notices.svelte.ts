/** What is said aloud (for screen readers) and what is shown for a moment. */

export interface Notice {
  id: number;
  text: string;
}

class Notices {
  shown = $state<Notice[]>([]);
  said = $state("");
  #next = 1;

  /** Shows a line for some seconds; it is said as well. */
  show(text: string): void {
    const id = this.#next++;
    this.shown.push({ id, text });
    setTimeout(() => this.hide(id), 6000);
    this.say(text);
  }

  hide(id: number): void {
    this.shown = this.shown.filter((notice) => notice.id !== id);
  }

  /** Says something politely, without showing it. */
  say(text: string): void {
    // The same words twice would not be said twice.
    this.said = text === this.said ? `${text}\u00a0` : text;
  }
}

export const notices = new Notices();
