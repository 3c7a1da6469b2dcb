/** A list of people on its way in: chosen, looked at, taken in. It goes on while other rooms are looked at. */

import { admin } from "./admin-words";
import { type Api, ApiError, api, asApiError, errorOf, isAbort } from "./api";
import { session } from "./session.svelte";
import { frames, parsedOrNull } from "./sse";
import type { ErrorBody } from "./types";

/** As much as the server takes. */
export const MOST_BYTES = 64 * 2 ** 20;

export interface ListStep {
  what: string;
  name: string;
  target: string;
  /** Null: the list says so by its silence. */
  line: number | null;
}

/** What a list would change, or changes. */
export interface ListPlan {
  people: number;
  groups: number;
  members: number;
  changes: Record<string, number>;
  steps: ListStep[];
  /** Who is not on it any more; some of `missing_count`. */
  missing: string[];
  missing_count: number;
  known: number;
  unlisted_groups: number;
  left_out: Record<string, number>;
  /** Why it looks as if the list were not whole. */
  too_many: string | null;
}

/** A list as the log tells of it. */
export interface ListRun {
  position: number;
  source: string;
  by: string;
  time_ms: number;
  ended_ms: number | null;
  counts: Record<string, number>;
  missing: number;
  done: number | null;
  outcome: "checked" | "running" | "finished" | "cancelled" | "failed" | "interrupted";
}

export interface Choices {
  /** What the list is called. */
  source: string;
  /** Who is not on it any more is shut out. */
  disable_missing: boolean;
  /** Who has the name of somebody on it is that person. */
  adopt: boolean;
  /** `theirs=ours`, one a line. */
  roles: string;
}

export type Stage = "choosing" | "checking" | "planned" | "taking" | "done" | "stopped" | "failed";

type State = ({ state: "planned" } & ListPlan) | { state: "applying" | "done"; done: number; total: number };

/** The bytes of a file. Raises ApiError where the browser may not read it: it was changed since it was chosen. */
async function read(file: File): Promise<Blob> {
  try {
    return new Blob([await file.arrayBuffer()]);
  } catch {
    throw new ApiError(0, "file_changed", admin.lists.fileChanged, admin.lists.fileChangedHint);
  }
}

/** Who closes the window stops what is under way: the browser asks whether they mean to. */
const askFirst = (event: BeforeUnloadEvent): void => event.preventDefault();

export class Listing {
  file = $state.raw<File | null>(null);
  choices = $state<Choices>({ source: "roster", disable_missing: false, adopt: false, roles: "" });
  stage = $state<Stage>("choosing");
  plan = $state.raw<ListPlan | null>(null);
  error = $state.raw<ApiError | null>(null);
  progress = $state.raw<{ done: number; total: number } | null>(null);
  /** What was looked at is what is taken in, whatever becomes of the file on the disk. */
  #read: Blob | null = null;
  #asking: AbortController | null = null;

  constructor(private readonly server: Api = api) {}

  get busy(): boolean {
    return this.stage === "checking" || this.stage === "taking";
  }

  /** How many changes there would be. */
  get changes(): number {
    return Object.values(this.plan?.changes ?? {}).reduce((sum, count) => sum + count, 0);
  }

  /** Another file or another choice: what was found does not count any more. */
  changed(): void {
    if (this.busy) return;
    this.stage = "choosing";
    this.#read = null;
    this.plan = null;
    this.error = null;
    this.progress = null;
  }

  /** Finds out what it would change; changes nothing. */
  check = (): Promise<void> => this.#send("checking", { dry_run: true });

  /** Does it; `anyway` also where very much would be taken away. */
  take = (anyway: boolean): Promise<void> => this.#send("taking", { yes: anyway });

  /** Ends it after the part that is under way. What was changed stays. */
  stop(): void {
    this.#asking?.abort();
  }

  forget(): void {
    this.stop();
    this.#asking = null;
    this.stage = "choosing";
    this.file = null;
    this.choices = { source: "roster", disable_missing: false, adopt: false, roles: "" };
    this.changed();
  }

  async #send(stage: "checking" | "taking", how: { dry_run?: boolean; yes?: boolean }): Promise<void> {
    const file = this.file;
    if (file === null || this.busy) return;
    const asking = new AbortController();
    this.#asking = asking;
    this.stage = stage;
    this.error = null;
    this.progress = null;
    if (stage === "checking") this.plan = null;
    const { roles, ...given } = this.choices;
    const role = roles
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
    if (stage === "taking") window.addEventListener("beforeunload", askFirst);
    try {
      const query = { ...given, source: given.source.trim(), ...how, file: file.name.slice(0, 200), role };
      if (stage === "checking" || this.#read === null) this.#read = await read(file);
      const body = await this.server.upload("/people/import", this.#read, query, asking.signal);
      for await (const frame of frames(body)) {
        const said = frame.kind === "event" ? parsedOrNull<State | { error: ErrorBody }>(frame.data) : null;
        if (said !== null) this.#heard(said);
      }
      if (!this.#whole(stage)) throw new TypeError("network: the stream broke off");
      this.stage = stage === "checking" ? "planned" : "done";
    } catch (thrown) {
      if (this.#asking !== asking) return; // all of it was forgotten meanwhile
      this.stage = isAbort(thrown) ? "stopped" : "failed";
      if (!isAbort(thrown)) this.error = asApiError(thrown);
      if (stage === "checking" && isAbort(thrown)) this.changed();
    } finally {
      window.removeEventListener("beforeunload", askFirst);
    }
  }

  /** Whether everything was told: a stream that broke off looks like one that has ended. */
  #whole(stage: "checking" | "taking"): boolean {
    if (this.plan === null) return false;
    return (
      stage === "checking" ||
      this.changes === 0 ||
      (this.progress !== null && this.progress.done === this.progress.total)
    );
  }

  #heard(said: State | { error: ErrorBody }): void {
    if ("error" in said) throw errorOf(200, said);
    if (said.state === "planned") this.plan = said;
    else this.progress = { done: said.done, total: said.total };
  }
}

export const listing = new Listing();
session.onLeave(() => listing.forget());
