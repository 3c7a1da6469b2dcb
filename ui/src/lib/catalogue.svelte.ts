/** The catalogue, this machine's measure and its disk, as the marketplace sees them. */

import { type Api, type ApiError, api, asApiError } from "./api";
import type { Catalogue, Entry } from "./types";

export class Market {
  value = $state.raw<Catalogue | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** This person's role does not see the catalogue. */
  forbidden = $state(false);
  #turn = 0;

  constructor(private readonly api: Api) {}

  get entries(): readonly Entry[] {
    return this.value?.entries ?? [];
  }

  find(id: string): Entry | undefined {
    return this.entries.find((entry) => entry.id === id);
  }

  /** Reads anew. Of several readings under way, the newest counts; what was there stays until it is replaced. */
  async refresh(): Promise<void> {
    const turn = ++this.#turn;
    try {
      const value = await this.api.get<Catalogue>("/catalogue");
      if (turn !== this.#turn) return;
      this.value = value;
      this.error = null;
      this.forbidden = false;
    } catch (thrown) {
      if (turn !== this.#turn) return;
      const error = asApiError(thrown);
      this.forbidden = error.status === 403;
      this.error = this.forbidden ? null : error;
    }
  }

  forget(): void {
    this.#turn++;
    this.value = null;
    this.error = null;
    this.forbidden = false;
  }
}

export const market = new Market(api);
