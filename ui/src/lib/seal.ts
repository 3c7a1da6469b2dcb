/** What holds around each process, put for reading. Pure. */

import type { Process } from "./types";

export type Tone = "good" | "warn" | "bad";

/** Red where something that was asked for is not there; amber where settings leave something out. */
export function tone(process: Process): Tone {
  if (process.walls.some((wall) => wall.state === "missing")) return "bad";
  return process.walls.some((wall) => wall.state === "left_out") ? "warn" : "good";
}

/** How many of the kernel's capabilities a mask holds. */
export function capabilities(mask: string): number {
  return [...mask].reduce((sum, digit) => sum + (Number.parseInt(digit, 16).toString(2).match(/1/g) ?? []).length, 0);
}

/** Those with a hole first, else in the order of the server. */
export function worstFirst(processes: readonly Process[]): Process[] {
  const order = { bad: 0, warn: 1, good: 1 };
  return [...processes].sort((a, b) => order[tone(a)] - order[tone(b)]);
}
