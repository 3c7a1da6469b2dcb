import { type ApiError, asApiError } from "./api";

/** What a form sends: one at a time, and what went wrong is there until the next try. */
export class Sending {
  working = $state(false);
  error = $state.raw<ApiError | null>(null);

  /** Does nothing while `act` of before is on its way. */
  async send(act: () => Promise<unknown>): Promise<void> {
    if (this.working) return;
    this.working = true;
    this.error = null;
    try {
      await act();
    } catch (thrown) {
      this.error = asApiError(thrown);
    } finally {
      this.working = false;
    }
  }
}
