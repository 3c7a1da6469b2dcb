/** The list of stored conversations beside the chat: paged, searchable. */

import { type Api, type ApiError, api, asApiError, isAbort, segment } from "./api";
import type { ChatEntry } from "./types";

const PAGE = 60;

export class ChatList {
  items = $state.raw<ChatEntry[]>([]);
  query = $state("");
  loading = $state(false);
  loaded = $state(false);
  more = $state(false);
  error = $state.raw<ApiError | null>(null);
  #asking: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly api: Api,
    private readonly pause_ms = 180,
  ) {}

  /** Loads the first page for the present query; an older request under way is given up. */
  async refresh(): Promise<void> {
    await this.#load(null);
  }

  async older(): Promise<void> {
    const last = this.items.at(-1);
    if (last && this.more) await this.#load(last.updated_ms);
  }

  /** Searches once the person pauses. */
  search(query: string): void {
    this.query = query;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh(), this.pause_ms);
  }

  async rename(id: string, title: string): Promise<void> {
    const changed = await this.api.patch<ChatEntry>(`/chats/${segment(id)}`, { title });
    this.items = this.items.map((chat) => (chat.id === id ? { ...chat, title: changed?.title ?? title } : chat));
  }

  async remove(id: string): Promise<void> {
    await this.api.remove(`/chats/${segment(id)}`);
    this.items = this.items.filter((chat) => chat.id !== id);
  }

  /** Puts a chat on top: it is new, or something was just written in it. */
  touch(chat: ChatEntry, now: number = Date.now()): void {
    if (this.query.trim() !== "") return;
    this.items = [{ ...chat, updated_ms: now }, ...this.items.filter((other) => other.id !== chat.id)];
  }

  forget(): void {
    this.#asking?.abort();
    clearTimeout(this.#timer);
    this.items = [];
    this.query = "";
    this.more = false;
    this.loaded = false;
    this.error = null;
  }

  async #load(before_ms: number | null): Promise<void> {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.loading = true;
    try {
      const query = { query: this.query.trim(), limit: PAGE, before_ms };
      const { chats } = await this.api.get<{ chats: ChatEntry[] }>("/chats", query, asking.signal);
      const known = new Set(this.items.map((chat) => chat.id));
      this.items = before_ms === null ? chats : [...this.items, ...chats.filter((chat) => !known.has(chat.id))];
      this.more = chats.length === PAGE;
      this.error = null;
      this.loaded = true;
    } catch (thrown) {
      if (!isAbort(thrown)) this.error = asApiError(thrown);
    } finally {
      if (this.#asking === asking) this.loading = false;
    }
  }
}

export const chats = new ChatList(api);
