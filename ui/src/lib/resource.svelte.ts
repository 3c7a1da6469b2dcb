/** Something read from the server: its value, whether it is being read, and why it could not be. */

import { type ApiError, asApiError } from "./api";

export class Resource<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(false);
  #turn = 0;

  constructor(private readonly read: () => Promise<T>) {}

  /** Reads anew. Of several readings under way, the newest counts. */
  async refresh(): Promise<void> {
    const turn = ++this.#turn;
    this.loading = true;
    try {
      const value = await this.read();
      if (turn !== this.#turn) return;
      this.value = value;
      this.error = null;
    } catch (thrown) {
      if (turn === this.#turn) this.error = asApiError(thrown);
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }
}
