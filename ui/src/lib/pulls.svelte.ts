/** Models on their way here. They go on while the person is elsewhere in the page, and are said when they end. */

import { type Api, type ApiError, api, asApiError, isAbort, segment } from "./api";
import { bytes } from "./format";
import { isOver, share, standing } from "./market";
import { notices } from "./notices.svelte";
import { shelf } from "./shelf.svelte";
import { frames, parsedOrNull } from "./sse";
import type { Pull } from "./types";
import { words } from "./words";

/** A browser keeps six connections to one server: more streams than this would leave none for the rest of the page. */
const STREAMS = 2;
const LOOK_MS = 3000;

export class Pulls {
  /** Newest first. */
  items = $state.raw<Pull[]>([]);
  /** This person's role has nothing to do with them. */
  forbidden = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** Called when one has ended well or has been held back: the shelf has changed. */
  onShelved: (pull: Pull) => void = () => {};
  /** What a pull is called; the catalogue knows better names than the sources have. */
  called: (pull: Pull) => string = (pull) => pull.name ?? shortly(pull.source);

  /** The person sees them anyway: what ends is said, not shown once more. */
  seen = false;

  #met = new Set<string>();
  #asked = new Map<string, string>();
  #streams = new Map<string, AbortController>();
  #said = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #turn = 0;

  constructor(
    private readonly api: Api,
    private readonly look_ms = LOOK_MS,
  ) {}

  /** The newest one that fetches `source`; dismissed ones are gone. */
  of(source: string): Pull | undefined {
    const id = this.#asked.get(source);
    return this.items.find((pull) => pull.id === id || pull.source === source);
  }

  /** What a person wants to see: not what had come to its good end, or was given up, before this page was opened. */
  get shown(): readonly Pull[] {
    return this.items.filter(
      (pull) => (pull.state !== "shelved" && pull.state !== "cancelled") || this.#met.has(pull.id),
    );
  }

  get underWay(): readonly Pull[] {
    return this.items.filter((pull) => !isOver(pull));
  }

  /** Of all that is being fetched: the part that has come, or null while nothing is. */
  get progress(): number | null {
    const running = this.items.filter((pull) => pull.state === "running" && pull.step === "fetching");
    const total = running.reduce((sum, pull) => sum + (pull.total_bytes ?? 0), 0);
    return total === 0 ? null : running.reduce((sum, pull) => sum + pull.done_bytes, 0) / total;
  }

  async refresh(): Promise<void> {
    const turn = ++this.#turn;
    try {
      const { pulls } = await this.api.get<{ pulls: Pull[] }>("/pulls");
      if (turn !== this.#turn) return;
      const before = new Map(this.items.map((pull) => [pull.id, pull]));
      this.items = pulls.map((pull) => standing(pull, before.get(pull.id)));
      this.error = null;
      this.forbidden = false;
      for (const pull of this.items) {
        if (!isOver(pull)) this.#met.add(pull.id);
        this.#ended(before.get(pull.id), pull);
      }
    } catch (thrown) {
      if (turn !== this.#turn) return;
      const error = asApiError(thrown);
      this.forbidden = error.status === 403;
      this.error = this.forbidden ? null : error;
    }
    this.#watch();
  }

  /** Asks for a model. The same source already under way is joined. */
  async start(source: string, name?: string): Promise<Pull> {
    const pull = await this.api.post<Pull>("/pulls", name ? { source, name } : { source });
    this.#asked.set(source, pull.id);
    this.#put(pull);
    this.#watch();
    return pull;
  }

  async act(id: string, act: "pause" | "resume" | "cancel"): Promise<void> {
    const pull = await this.api.post<Pull>(`/pulls/${segment(id)}/${act}`);
    this.#put(pull);
    this.#watch();
  }

  async dismiss(id: string): Promise<void> {
    await this.api.remove(`/pulls/${segment(id)}`);
    this.#turn++; // a list that was asked for before still has it
    this.items = this.items.filter((pull) => pull.id !== id);
    this.#said.delete(id);
  }

  forget(): void {
    this.#turn++;
    for (const stop of this.#streams.values()) stop.abort();
    this.#streams.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.items = [];
    this.error = null;
    this.forbidden = false;
    this.#asked.clear();
    this.#met.clear();
    this.#said.clear();
  }

  /** Takes up what the server says of one. */
  #put(given: Pull): void {
    this.#turn++; // a list that was asked for before is older than this
    const before = this.items.find((other) => other.id === given.id);
    const pull = standing(given, before);
    this.#met.add(pull.id);
    this.items = before ? this.items.map((other) => (other.id === pull.id ? pull : other)) : [pull, ...this.items];
    shelf.fetching = this.progress;
    this.#ended(before, pull);
    this.#say(pull);
  }

  #ended(before: Pull | undefined, pull: Pull): void {
    if (before === undefined || isOver(before) || !isOver(pull)) return;
    if (pull.state === "shelved" || pull.state === "quarantined") this.onShelved(pull);
    const text = words.pulls.endings[pull.state]?.(this.called(pull));
    if (!text) return;
    if (this.seen) notices.say(text);
    else notices.show(text);
  }

  /** Steps and quarters are said; every percent would be a nuisance. */
  #say(pull: Pull): void {
    if (pull.state !== "running") return;
    const part = share(pull);
    const quarter = part === null ? 0 : Math.floor(part * 4) * 25;
    const now = `${pull.step} ${pull.step === "fetching" ? quarter : ""}`;
    if (this.#said.get(pull.id) === now) return;
    this.#said.set(pull.id, now);
    const name = this.called(pull);
    notices.say(
      pull.step === "fetching" && pull.total_bytes !== null && quarter > 0
        ? words.pulls.said(name, quarter, bytes(pull.total_bytes))
        : words.pulls.saidStep(name, words.pulls.steps[pull.step] ?? pull.step),
    );
  }

  /** Listens to a few of those that run, and looks at the others now and then. */
  #watch(): void {
    const open = this.underWay;
    for (const [id, stop] of this.#streams)
      if (!open.some((pull) => pull.id === id && pull.state === "running")) {
        this.#streams.delete(id);
        stop.abort();
      }
    for (const pull of open)
      if (pull.state === "running" && this.#streams.size < STREAMS && !this.#streams.has(pull.id))
        void this.#follow(pull.id);
    shelf.fetching = this.progress;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (open.some((pull) => !this.#streams.has(pull.id)) || (this.error !== null && open.length > 0))
      this.#timer = setTimeout(() => void this.refresh(), this.look_ms);
  }

  async #follow(id: string): Promise<void> {
    const stop = new AbortController();
    this.#streams.set(id, stop);
    try {
      const body = await this.api.listen(`/pulls/${segment(id)}/events`, stop.signal);
      for await (const frame of frames(body)) {
        if (stop.signal.aborted) return;
        if (frame.kind !== "event") continue;
        const pull = frame.event === "message" ? parsedOrNull<Pull>(frame.data) : null;
        if (pull === null) return; // an error: the next look at the list says how it stands
        this.#put(pull);
      }
    } catch (thrown) {
      // A lost stream is no lost pull: the next look at the list says how it stands.
      if (isAbort(thrown)) return;
    } finally {
      if (this.#streams.get(id) === stop) {
        // Ended, or lost. It counts as listened to until the next look, so that a broken stream is not hammered.
        setTimeout(() => {
          if (this.#streams.get(id) !== stop) return;
          this.#streams.delete(id);
          if (this.items.some((pull) => pull.id === id && !isOver(pull))) void this.refresh();
          else this.#watch();
        }, this.look_ms / 3);
      }
    }
  }
}

/** The end of a source, which is what people recognise. */
export const shortly = (source: string): string => source.split("/").at(-1) || source;

export const pulls = new Pulls(api);
