/** The models on the shelf, as the pickers and the administration see them. */

import { type ApiError, api, asApiError, segment } from "./api";
import { isHeld } from "./held";
import type { Machine, Model, ModelList } from "./types";

const CHOSEN = "intramural.model";
const STARTER = "intramural.starter-dismissed";

class Shelf {
  models = $state.raw<Model[]>([]);
  budgetBytes = $state(0);
  plannedBytes = $state(0);
  queued = $state(0);
  machine = $state.raw<Machine | null>(null);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** How far what is being fetched has come, 0 to 1; null while nothing is. The marketplace tells. */
  fetching = $state<number | null>(null);
  /** The model new chats begin with. */
  preferred = $state(read(localStorage, CHOSEN));
  starterDismissed = $state(read(sessionStorage, STARTER) === "yes");

  async refresh(): Promise<void> {
    try {
      const list = await api.get<ModelList>("/models");
      this.models = list.models;
      this.budgetBytes = list.budget_bytes;
      this.plannedBytes = list.planned_bytes;
      this.queued = list.queued;
      this.error = null;
    } catch (thrown) {
      this.error = asApiError(thrown);
    } finally {
      this.loaded = true;
    }
  }

  async refreshMachine(): Promise<void> {
    // For a suggestion, which nothing depends on; whoever may not see the machine does without.
    this.machine = await api.get<Machine>("/machine").catch(() => null);
  }

  /** What may be used: without what is held back. */
  get usable(): Model[] {
    return this.models.filter((model) => !isHeld(model));
  }

  find(name: string): Model | undefined {
    return this.models.find((model) => model.name === name);
  }

  /** What a new chat uses: the last chosen one, else one that is loaded, else any. */
  get initial(): string {
    const models = this.usable;
    if (models.some((model) => model.name === this.preferred)) return this.preferred;
    return (models.find((model) => model.state === "ready") ?? models[0])?.name ?? "";
  }

  choose(name: string): void {
    this.preferred = name;
    write(localStorage, CHOSEN, name);
  }

  dismissStarter(): void {
    this.starterDismissed = true;
    write(sessionStorage, STARTER, "yes");
  }

  async act(name: string, act: "load" | "unload" | "pin" | "unpin"): Promise<void> {
    try {
      await api.post(`/models/${segment(name)}/${act}`);
    } finally {
      await this.refresh();
    }
  }

  async remove(name: string): Promise<void> {
    await api.remove(`/models/${segment(name)}`);
    await this.refresh();
  }

  /** Hashes every byte of a model on the server. Raises ApiError when one differs. */
  async verify(name: string): Promise<void> {
    try {
      await api.post(`/models/${segment(name)}/verify`);
    } finally {
      await this.refresh();
    }
  }

  /** Lets a model that is held back be used; the reason is written down. */
  async release(name: string, reason: string): Promise<void> {
    await api.post(`/models/${segment(name)}/release`, { reason });
    await this.refresh();
  }

  forget(): void {
    this.models = [];
    this.machine = null;
    this.fetching = null;
    this.loaded = false;
    this.error = null;
  }
}

function read(storage: Storage, name: string): string {
  try {
    return storage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

function write(storage: Storage, name: string, value: string): void {
  try {
    storage.setItem(name, value);
  } catch {
    // Without storage the choice lasts until the page is left.
  }
}

export const shelf = new Shelf();
