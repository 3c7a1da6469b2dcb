/** People by name, searched and in pages: the server has thousands, the page has those it shows. */

import { type Api, type ApiError, api, asApiError, isAbort, type Query } from "./api";
import type { Person } from "./types";

/** What is known of people at one address of the server, as `T`. */
export class Pages<T> {
  people = $state.raw<T[]>([]);
  total = $state(0);
  query = $state("");
  loading = $state(false);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  #next = $state.raw<string | null>(null);
  #found = $state<string | null>(null);
  #asking: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `also`: who is wanted besides by their names. */
  constructor(
    private readonly path: string,
    private readonly also: () => Query,
    private readonly size = 50,
    private readonly server: Api = api,
    private readonly pause_ms = 180,
  ) {}

  /** Whether what is there was found for the present query. */
  get fresh(): boolean {
    return this.#found === this.query.trim();
  }

  get more(): boolean {
    return this.#next !== null;
  }

  /** The first page for the present query; an older request under way is given up. */
  async refresh(): Promise<void> {
    await this.#load(null, Math.max(this.size, Math.min(this.people.length, 500)));
  }

  async showMore(): Promise<void> {
    if (this.#next !== null) await this.#load(this.#next, this.size);
  }

  /** Searches once the person pauses. */
  search(query: string): void {
    this.query = query;
    this.people = this.people.slice(0, this.size);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh(), this.pause_ms);
  }

  /** Nothing is wanted any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.loading = false;
  }

  async #load(after: string | null, limit: number): Promise<void> {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.loading = true;
    try {
      const sought = this.query.trim();
      const query = { ...this.also(), query: sought, limit, after };
      const page = await this.server.get<Page<T>>(this.path, query, asking.signal);
      this.people = after === null ? page.people : [...this.people, ...page.people];
      this.total = page.total;
      this.#found = sought;
      this.#next = page.next;
      this.error = null;
      this.loaded = true;
    } catch (thrown) {
      if (!isAbort(thrown)) this.error = asApiError(thrown);
    } finally {
      if (this.#asking === asking) this.loading = false;
    }
  }
}

interface Page<T> {
  people: T[];
  total: number;
  next: string | null;
}

/** People themselves. */
export class Roll extends Pages<Person> {
  constructor(kind: "person" | "service" | null = null, size?: number, server?: Api, pause_ms?: number) {
    super("/people", () => ({ kind }), size, server, pause_ms);
  }
}
