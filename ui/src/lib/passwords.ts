/** Passwords for somebody else, to be typed from paper. */

/** Letters and digits without look-alikes; some 4.95 bits each. */
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";

/** So many groups of so many characters, from the browser's own generator: `k7mw-p3hd-x9cf`. */
export function madeUp(groups: number, length: number): string {
  const chosen: string[] = [];
  while (chosen.length < groups * length) {
    const value = crypto.getRandomValues(new Uint8Array(1))[0] ?? 255;
    // What is left over at the end would make the first letters likelier.
    if (value < LETTERS.length * 8) chosen.push(LETTERS[value % LETTERS.length] ?? "");
  }
  return Array.from({ length: groups }, (_, at) => chosen.slice(at * length, (at + 1) * length).join("")).join("-");
}
