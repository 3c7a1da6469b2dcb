/** What people are called whose identifiers are in a list: asked for by the hundred, and each once. */

import { type Api, api } from "./api";
import { session } from "./session.svelte";
import type { PeoplePage } from "./types";

const AT_ONCE = 100;

export class Names {
  #known = $state.raw<ReadonlyMap<string, string>>(new Map());
  #asked = new Set<string>();

  constructor(private readonly server: Api = api) {}

  /** The name, or the identifier while it is not known (or nobody has it any more). */
  of(id: string): string {
    return this.#known.get(id) ?? id;
  }

  /** Finds out who these are. */
  async want(ids: readonly string[]): Promise<void> {
    const fresh = [...new Set(ids)].filter((id) => id.startsWith("person_") && !this.#asked.has(id));
    for (const id of fresh) this.#asked.add(id);
    for (let at = 0; at < fresh.length; at += AT_ONCE) {
      const id = fresh.slice(at, at + AT_ONCE);
      const page = await this.server.get<PeoplePage>("/people", { id }).catch(() => null);
      if (page === null) {
        for (const each of id) this.#asked.delete(each);
        return; // identifiers are shown in the place of names
      }
      this.#known = new Map([...this.#known, ...page.people.map((one) => [one.id, one.username] as const)]);
    }
  }

  forget(): void {
    this.#known = new Map();
    this.#asked.clear();
  }
}

export const names = new Names();
session.onLeave(() => names.forget());
