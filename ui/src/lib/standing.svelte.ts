/** Whose age and consents are looked at: who lacks one, by name and in pages. */

import { type Api, api } from "./api";
import { Pages } from "./roll.svelte";

/** How one person stands. */
export interface Standing {
  person_id: string;
  username: string;
  age: string;
  /** What needs a guardian's consent at that age. */
  needed: string[];
  consents: string[];
  shut_out: boolean;
}

export const BANDS = ["under-13", "13-15", "16-17", "adult", "unknown"] as const;
/** What a guardian is asked about. */
export const FEATURES = ["use", "keep", "files", "audio"] as const;

/** The same as people are asked about them. */
export const inOrder = (features: readonly string[]): string[] => FEATURES.filter((each) => features.includes(each));

/** What is still to be consented to. */
export const missing = (one: Standing): string[] => one.needed.filter((each) => !one.consents.includes(each));

export class Standings extends Pages<Standing> {
  lacking = $state(true);
  /** One of `BANDS`; empty: any. */
  age = $state("");
  /** The identifier of one; empty: any. */
  group = $state("");

  constructor(size?: number, server: Api = api, pause_ms?: number) {
    super("/ages", () => ({ lacking: this.lacking, age: this.age, group_id: this.group }), size, server, pause_ms);
  }
}
