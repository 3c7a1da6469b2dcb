/** First passwords for all who cannot sign in yet: whoever came with a list has none. */

import { type Api, type ApiError, api, asApiError } from "./api";
import { madeUp } from "./passwords";
import type { PeoplePage } from "./types";

export interface FirstPassword {
  username: string;
  password: string;
}

/** Twelve characters, some 59 bits: typed by a child, and never guessed where each try is counted. */
const GROUPS = 3;
const LENGTH = 4;
const AT_ONCE = 500;

/** Who closes the window loses what is shown this once: the browser asks whether they mean to. */
const askFirst = (event: BeforeUnloadEvent): void => event.preventDefault();

export class FirstPasswords {
  /** How many cannot sign in yet. */
  waiting = $state(0);
  total = $state(0);
  made = $state.raw<FirstPassword[]>([]);
  working = $state(false);
  error = $state.raw<ApiError | null>(null);

  #stopping = false;

  constructor(private readonly server: Api = api) {}

  /** Where it cannot be had nothing is offered. */
  async count(): Promise<void> {
    try {
      this.waiting = (await this.server.get<PeoplePage>("/people", { waiting: true, limit: 1 })).total;
    } catch {
      this.waiting = 0;
    }
  }

  /** Gives each of them one. What was made before something failed stays in `made`. */
  async make(): Promise<void> {
    if (this.working) return;
    this.working = true;
    this.#stopping = false;
    this.error = null;
    this.total = this.made.length + this.waiting;
    window.addEventListener("beforeunload", askFirst);
    try {
      while (!this.#stopping) {
        const { people } = await this.server.get<PeoplePage>("/people", { waiting: true, limit: AT_ONCE });
        if (people.length === 0) break;
        for (const { id, username } of people) {
          const password = madeUp(GROUPS, LENGTH);
          await this.server.patch(`/people/${encodeURIComponent(id)}`, { password });
          this.made = [...this.made, { username, password }];
          if (this.#stopping) break;
        }
      }
    } catch (thrown) {
      this.error = asApiError(thrown);
    } finally {
      this.working = false;
      await this.count();
    }
  }

  /** Ends it after the one that is under way; what was made is there to be saved. */
  stop(): void {
    this.#stopping = true;
  }

  /** As a file that a spreadsheet opens. Names begin with a letter or digit, so nothing in it is a formula. */
  get list(): string {
    return ["username,password", ...this.made.map((one) => `${one.username},${one.password}`)].join("\r\n");
  }

  /** They have been handed over. */
  forget(): void {
    window.removeEventListener("beforeunload", askFirst);
    this.made = [];
    this.error = null;
  }
}
