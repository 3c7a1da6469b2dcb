/** The workspaces that one is a member of, and in which of them new chats begin. */

import { type Api, api } from "./api";
import type { Place } from "./types";

export class Places {
  list = $state.raw<Place[]>([]);
  /** Where the next new chat begins; null: in none. Lasts until somebody signs out. */
  preferred = $state<string | null>(null);
  /** What was last chosen in each, of those that have several purposes. */
  purposes = $state<Record<string, string>>({});
  loaded = $state(false);

  constructor(private readonly server: Api) {}

  async refresh(): Promise<void> {
    // Whoever cannot have the list chats in no workspace.
    const found = await this.server.get<{ workspaces: Place[] }>("/workspaces").catch(() => null);
    this.list = found?.workspaces ?? [];
    this.loaded = true;
  }

  find(id: string | null | undefined): Place | undefined {
    return this.list.find((place) => place.id === id);
  }

  /** What a workspace is asked for: the one purpose it has, or the one that was chosen; empty: none is known. */
  purposeOf(place: Place): string {
    return place.purposes.length === 1 ? (place.purposes[0] ?? "") : (this.purposes[place.id] ?? "");
  }

  forget(): void {
    this.list = [];
    this.preferred = null;
    this.purposes = {};
    this.loaded = false;
  }
}

export const places = new Places(api);
