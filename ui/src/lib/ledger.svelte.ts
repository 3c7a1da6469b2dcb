/** The ledger of what leaves: its newest lines, those that come while it is looked at, and older ones on demand. */

import { type Api, type ApiError, api, asApiError } from "./api";
import type { AuditEntry } from "./types";

export interface Narrowed {
  /** The beginning of a host. */
  host: string;
  purpose: string;
  outcome: string;
}

interface Page {
  entries: AuditEntry[];
  older: number | null;
  newest: number;
}

interface Asked {
  limit: number;
  before?: number;
  after?: number;
  quietly?: boolean;
}

const LINES = 50;
/** More than this in one look: what is shown is read anew. */
const MOST_NEW = 500;
/** As many lines as a page carries well; older ones than these are let go when new ones come. */
const MOST_SHOWN = 2000;

export class Leaving {
  /** Newest first. */
  lines = $state.raw<readonly AuditEntry[]>([]);
  /** Where to look for older ones; null: there are none. */
  below = $state<number | null>(null);
  narrowed = $state<Narrowed>({ host: "", purpose: "", outcome: "" });
  /** Lines that came since it was opened are marked from this position on. */
  since = $state<number | null>(null);
  /** How many came with the last look that found any. */
  came = $state(0);
  loading = $state(false);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  #newest: number | null = null;
  #turn = 0;

  constructor(private readonly server: Api = api) {}

  /** Whether what is shown is only a part of it. */
  get isNarrowed(): boolean {
    return Object.values(this.narrowed).some((value) => value.trim() !== "");
  }

  /** Reads the newest lines. */
  load = (): Promise<void> =>
    this.#read({ limit: LINES }, (page) => {
      this.lines = page.entries;
      this.below = page.older;
      this.since = page.newest;
      this.came = 0;
      this.#newest = page.newest;
    });

  /** Reads the next older ones. */
  async older(): Promise<void> {
    if (this.below === null) return;
    await this.#read({ limit: LINES, before: this.below }, (page) => {
      this.lines = [...this.lines, ...page.entries];
      this.below = page.older;
    });
  }

  /** Reads what came since the last look. Nothing while something else is read. */
  async look(): Promise<void> {
    if (this.loading) return;
    if (this.#newest === null) return this.load();
    let missed = false;
    await this.#read({ limit: MOST_NEW, after: this.#newest, quietly: true }, (page) => {
      missed = page.older !== null;
      this.#newest = page.newest;
      const known = new Set(this.lines.map((line) => line.position));
      const come = page.entries.filter((line) => !known.has(line.position));
      if (come.length === 0) return;
      this.came = come.length;
      const all = [...come, ...this.lines];
      this.lines = all.slice(0, MOST_SHOWN);
      if (all.length > MOST_SHOWN) this.below = this.lines.at(-1)?.position ?? null;
    });
    if (missed) await this.load();
  }

  /** Of several readings under way the newest counts. `quietly`: nobody asked for it, so nobody waits. */
  async #read({ quietly = false, ...asked }: Asked, take: (page: Page) => void): Promise<void> {
    const turn = ++this.#turn;
    this.loading = !quietly;
    try {
      const { host, purpose, outcome } = this.narrowed;
      const page = await this.server.get<Page>("/egress/ledger", { ...asked, host: host.trim(), purpose, outcome });
      if (turn !== this.#turn) return;
      take(page);
      this.loaded = true;
      this.error = null;
    } catch (thrown) {
      if (turn === this.#turn) this.error = asApiError(thrown);
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }
}
