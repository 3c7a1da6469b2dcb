/** One conversation: its messages, and the answer that is being written. */

import { tick } from "svelte";
import { type Api, ApiError, api, asApiError, errorOf, isAbort, segment } from "./api";
import { chats } from "./chats.svelte";
import { notices } from "./notices.svelte";
import { places } from "./places.svelte";
import { shelf } from "./shelf.svelte";
import { type Frame, frames, parsedOrNull } from "./sse";
import type { Chat, ChatEntry, StoredMessage, Usage } from "./types";
import { words } from "./words";

export type Outcome = "writing" | "finished" | "length" | "filtered" | "cancelled" | "failed";

/** A message as it is shown. `id` is null until the server has told it. */
export interface Message {
  key: number;
  id: string | null;
  role: "user" | "assistant";
  content: string;
  reasoning: string;
  model: string | null;
  outcome: Outcome | null;
  error: ApiError | null;
  usage: Usage | null;
  seconds: number | null;
  requestId: string | null;
  createdMs: number;
}

interface TurnRequest {
  content: string | null;
  replace_from: string | null;
}

interface Chunk {
  choices?: { delta?: { content?: string | null; reasoning_content?: string | null }; finish_reason?: string | null }[];
  usage?: Usage | null;
  error?: unknown;
}

const TITLE_LENGTH = 60;
const REST_PER_WORK = 8;
const LONGEST_PAUSE_MS = 300;
/** How long to wait for the end of an answer that somebody else is having written; then it counts as stopped. */
const FOLLOW_PAUSES_MS = [200, 400, 800, 1600, 3000, 5000, 10_000, 20_000, 40_000, 60_000];
let nextKey = 1;

export class Conversation {
  id = $state<string | null>(null);
  title = $state("");
  model = $state("");
  /** The identifier of the workspace that it is in; it stays where it was begun. */
  workspace = $state<string | null>(null);
  messages = $state<Message[]>([]);
  status = $state<"idle" | "loading" | "waiting" | "writing">("idle");
  /** Place in the queue while waiting, or null when the server has not said. */
  position = $state<number | null>(null);
  /** About how many seconds that will be, as the server last said; 0: soon, or it has not said. */
  wait_s = $state(0);
  /** Why the conversation itself could not be opened. */
  error = $state.raw<ApiError | null>(null);
  /** Only what is on screen is said aloud. */
  visible = false;

  #stop: AbortController | null = null;
  #request: TurnRequest | null = null;
  #pending = "";
  #pendingReasoning = "";
  #frame: { cancel(): void } | null = null;
  #saidUpTo = 0;
  #pause_ms = 0;

  constructor(
    private readonly api: Api,
    readonly temporary: boolean,
    model: string,
    id: string | null = null,
  ) {
    this.model = model;
    this.id = id;
  }

  get busy(): boolean {
    return this.status === "waiting" || this.status === "writing";
  }

  /** In which workspace, and for what, it is asked. */
  get headers(): Record<string, string> {
    if (this.workspace === null) return {};
    const place = places.find(this.workspace);
    const purpose = place ? places.purposeOf(place) : "";
    return { "X-Intramural-Workspace": this.workspace, ...(purpose ? { "X-Intramural-Purpose": purpose } : {}) };
  }

  /** Reads a stored conversation. */
  async load(): Promise<void> {
    if (this.id === null) return;
    this.status = "loading";
    this.error = null;
    try {
      this.#show(await this.#stored());
    } catch (thrown) {
      this.error = asApiError(thrown);
    } finally {
      this.status = "idle";
    }
    void this.#follow();
  }

  #stored(): Promise<Chat> {
    return this.api.get<Chat>(`/chats/${segment(this.id ?? "")}`);
  }

  /** An answer that was read without an ending is written in another window, or was stopped this very moment. */
  async #follow(): Promise<void> {
    const unfinished = () => !this.busy && this.messages.at(-1)?.outcome === "writing";
    for (const pause_ms of FOLLOW_PAUSES_MS) {
      if (!unfinished()) return;
      await new Promise((resume) => setTimeout(resume, pause_ms));
      if (!unfinished() || !this.visible) continue;
      const chat = await this.#stored().catch(() => null);
      if (chat && unfinished() && chat.messages.at(-1)?.outcome) this.#show(chat);
    }
    const last = this.messages.at(-1);
    if (last && unfinished()) last.outcome = "cancelled";
  }

  send(text: string): Promise<void> {
    this.messages.push(asked(text));
    return this.#answer({ content: text, replace_from: null });
  }

  /** Replaces one's own message and everything after it. */
  async edit(message: Message, text: string): Promise<void> {
    const id = message.id ?? (await this.#idOf(message.content));
    this.#cutFrom(message);
    this.messages.push(asked(text));
    return this.#answer({ content: text, replace_from: id });
  }

  /** Writes an answer once more; what came after it goes. */
  regenerate(message: Message): Promise<void> {
    if (!this.temporary && message.id === null) return this.#again();
    this.#cutFrom(message);
    return this.#answer({ content: null, replace_from: message.id });
  }

  /** Tries the last answer once more after it failed. */
  async retry(): Promise<void> {
    const last = this.messages.at(-1);
    if (last?.role !== "assistant" || this.busy) return;
    if (this.temporary || last.id === null) return this.#again();
    return this.regenerate(last);
  }

  stop(): void {
    this.#stop?.abort();
  }

  #cutFrom(message: Message): void {
    const at = this.messages.findIndex((other) => other.key === message.key);
    if (at >= 0) this.messages.splice(at);
  }

  /** The last request ended before the server named its messages: it may or may not have kept the question. */
  async #again(): Promise<void> {
    let request = this.#request ?? { content: null, replace_from: null };
    this.messages.pop();
    if (request.content !== null && request.replace_from === null)
      request = { ...request, replace_from: await this.#idOf(request.content) };
    return this.#answer(request);
  }

  /** The server's id of the newest stored question, if it is this one and the page was never told. */
  async #idOf(content: string): Promise<string | null> {
    if (this.temporary || this.id === null) return null;
    const chat = await this.api.get<Chat>(`/chats/${segment(this.id)}`).catch(() => null);
    const kept = chat?.messages.findLast((message) => message.role === "user");
    if (!kept || kept.content !== content) return null;
    return this.messages.some((message) => message.id === kept.id) ? null : kept.id;
  }

  async #answer(request: TurnRequest): Promise<void> {
    this.#request = request;
    this.messages.push(blank("assistant", { model: this.model, outcome: "writing" }));
    const answer = this.messages.at(-1) as Message; // the reactive copy
    const stop = new AbortController();
    this.#stop = stop;
    this.#saidUpTo = 0;
    this.status = "waiting";
    this.position = null;
    this.#say(words.message.announceWriting);
    if (this.id !== null) running.set(this.id, this);
    try {
      await this.#stream(request, answer, stop.signal);
    } catch (thrown) {
      this.#flush(answer);
      if (stop.signal.aborted && (isAbort(thrown) || !(thrown instanceof ApiError))) answer.outcome = "cancelled";
      else {
        answer.outcome = "failed";
        answer.error = thrown instanceof ApiError ? thrown : cutOff(answer, thrown);
      }
    } finally {
      this.#flush(answer);
      this.#frame?.cancel();
      this.#frame = null;
      this.#stop = null;
      this.status = "idle";
      this.position = null;
      if (this.id !== null) {
        running.delete(this.id);
        chats.touch(this.#entry());
      }
      this.#sayTheEnd(answer);
      if (shelf.find(this.model)?.state !== "ready") void shelf.refresh();
    }
  }

  async #stream(request: TurnRequest, answer: Message, signal: AbortSignal): Promise<void> {
    const body = this.temporary
      ? await this.api.stream("/v1/chat/completions", this.#completionRequest(), signal, this.headers)
      : await this.#turn(request, signal);
    let firstAt = 0;
    let done = false;
    for await (const frame of frames(body)) {
      signal.throwIfAborted();
      if (this.#read(frame, answer)) {
        done = true;
        break;
      }
      if (firstAt === 0 && this.status === "writing") firstAt = performance.now();
    }
    signal.throwIfAborted();
    if (!done && answer.outcome === "writing") throw cutOff(answer, null);
    answer.seconds = firstAt === 0 ? null : (performance.now() - firstAt) / 1000;
    if (answer.outcome === "writing") answer.outcome = "finished";
  }

  async #turn(request: TurnRequest, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    if (this.id === null) {
      this.title = titleOf(request.content ?? "");
      const chat = await this.api.post<ChatEntry>("/chats", { model: this.model, title: this.title }, this.headers);
      this.id = chat.id;
      this.title = chat.title || this.title;
      running.set(chat.id, this);
      chats.touch(this.#entry());
    }
    signal.throwIfAborted();
    return this.api.stream(`/chats/${segment(this.id)}/turns`, { ...request, model: this.model }, signal, this.headers);
  }

  #completionRequest(): object {
    const messages = this.messages
      .filter((message) => message.content !== "")
      .map(({ role, content }) => ({ role, content }));
    return { model: this.model, messages, stream: true, stream_options: { include_usage: true } };
  }

  /** Takes one frame in; true when it was the last. */
  #read(frame: Frame, answer: Message): boolean {
    if (frame.kind === "comment") {
      const waiting = /^waiting (\d+)(?:, about (\d+) s)?/.exec(frame.text);
      if (waiting && this.status === "waiting") {
        this.position = Number(waiting[1]);
        this.wait_s = Number(waiting[2] ?? 0);
      }
      return false;
    }
    if (frame.data === "[DONE]") return true;
    const data = parsedOrNull<Chunk & { user_message_id?: string; assistant_message_id?: string; request_id?: string }>(
      frame.data,
    );
    if (data === null) return false;
    if (frame.event === "error" || data.error) throw errorOf(502, data);
    if (frame.event === "turn") {
      const question = this.messages.at(-2);
      if (question?.role === "user" && data.user_message_id) question.id = data.user_message_id;
      answer.id = data.assistant_message_id ?? null;
      answer.requestId = data.request_id ?? null;
      return false;
    }
    this.#take(data, answer);
    return false;
  }

  #take(chunk: Chunk, answer: Message): void {
    if (chunk.usage) answer.usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    const text = choice.delta?.content ?? "";
    const reasoning = choice.delta?.reasoning_content ?? "";
    if (text !== "" || reasoning !== "") {
      this.status = "writing";
      this.#pending += text;
      this.#pendingReasoning += reasoning;
      this.#frame ??= nextFrame(this.#pause_ms, () => void this.#draw(answer));
    }
    if (choice.finish_reason === "length") answer.outcome = "length";
    else if (choice.finish_reason === "content_filter") answer.outcome = "filtered";
  }

  /** Shows what has come, and rests the longer the more that cost: the same processor may be running the model. */
  async #draw(answer: Message): Promise<void> {
    this.#frame = null;
    const began = performance.now();
    this.#flush(answer);
    await tick();
    this.#pause_ms = Math.min(LONGEST_PAUSE_MS, (performance.now() - began) * REST_PER_WORK);
  }

  /** Many tokens may arrive within one picture; the page is changed once for all of them. */
  #flush(answer: Message): void {
    if (this.#pendingReasoning !== "") answer.reasoning += this.#pendingReasoning;
    if (this.#pending !== "") answer.content += this.#pending;
    this.#pending = "";
    this.#pendingReasoning = "";
    // Said by whole paragraphs: a screen reader that is interrupted at every token says nothing at all.
    const end = answer.content.lastIndexOf("\n\n");
    if (end > this.#saidUpTo) {
      this.#say(spoken(answer.content.slice(this.#saidUpTo, end)));
      this.#saidUpTo = end;
    }
  }

  #sayTheEnd(answer: Message): void {
    const rest = spoken(answer.content.slice(this.#saidUpTo));
    if (answer.outcome === "cancelled") this.#say(words.message.announceStopped);
    else if (answer.outcome !== "failed") this.#say(`${rest} ${words.message.announceDone}`.trim());
  }

  #say(text: string): void {
    if (this.visible && text !== "") notices.say(text);
  }

  #entry(): ChatEntry {
    const now = Date.now();
    const known = chats.items.find((chat) => chat.id === this.id);
    return {
      id: this.id ?? "",
      title: known?.title ?? this.title,
      model: this.model,
      workspace_id: this.workspace,
      created_ms: known?.created_ms ?? now,
      updated_ms: now,
    };
  }

  #show(chat: Chat): void {
    this.title = chat.title;
    if (chat.model !== "") this.model = chat.model;
    this.workspace = chat.workspace_id ?? null;
    this.messages = chat.messages.filter((message) => message.role !== "system").map(stored);
  }
}

/** Conversations whose answer is still being written, also while another one is on screen. */
export const running = new Map<string, Conversation>();

/** The conversation of an address: the one that is being written, or read anew. */
export function opened(id: string): Conversation {
  const known = running.get(id);
  if (known) return known;
  const conversation = new Conversation(api, false, shelf.initial, id);
  void conversation.load();
  return conversation;
}

/** A new one, in the workspace that was chosen last. */
export function begun(temporary: boolean): Conversation {
  const conversation = new Conversation(api, temporary, shelf.initial);
  conversation.workspace = places.preferred;
  return conversation;
}

/** Nothing of one person may be left for the next. */
export function forgetConversations(): void {
  for (const conversation of running.values()) conversation.stop();
  running.clear();
}

/** The first words of a message, as the name of a conversation. */
export function titleOf(text: string): string {
  const line = text.trim().split("\n", 1)[0]?.replace(/\s+/g, " ").trim() ?? "";
  if (line.length <= TITLE_LENGTH) return line || words.chats.untitled;
  const cut = line.slice(0, TITLE_LENGTH);
  const space = cut.lastIndexOf(" ");
  return `${cut.slice(0, space > TITLE_LENGTH / 2 ? space : TITLE_LENGTH).trimEnd()}…`;
}

/** Markdown as it should be read aloud: without its marks. */
export function spoken(markdown: string): string {
  return markdown
    .replace(/```\S*\n?/g, "")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^[ \t]*(?:#{1,6}|[-*+>]|\d+\.)[ \t]+/gm, "")
    .replace(/[*_`~]{1,3}/g, "")
    .trim();
}

function blank(role: "user" | "assistant", given: Partial<Message> = {}): Message {
  return {
    key: nextKey++,
    id: null,
    role,
    content: "",
    reasoning: "",
    model: null,
    outcome: null,
    error: null,
    usage: null,
    seconds: null,
    requestId: null,
    createdMs: Date.now(),
    ...given,
  };
}

const asked = (content: string): Message => blank("user", { content });

function stored(message: StoredMessage): Message {
  return blank(message.role === "user" ? "user" : "assistant", {
    id: message.id,
    content: message.content,
    model: message.model,
    outcome: message.role === "user" ? null : ((message.outcome as Outcome | null) ?? "writing"),
    requestId: message.request_id,
    createdMs: message.created_ms,
  });
}

/** The error of a stream that ended before its end: lost on the way, or never reached the server. */
function cutOff(answer: Message, thrown: unknown): ApiError {
  if (answer.content === "" && answer.id === null && thrown !== null) return asApiError(thrown);
  return new ApiError(0, "cut_off", words.errors.cutOff, words.errors.cutOffHint);
}

/** Calls before the next picture after `pause_ms`. A hidden tab has no pictures: there a clock does it. */
function nextFrame(pause_ms: number, call: () => void): { cancel(): void } {
  let frame = 0;
  let timer = setTimeout(() => {
    // A tab that is hidden in between would wait until it is shown: the clock is the second string.
    timer = setTimeout(() => run(), 250);
    if (!document.hidden && typeof requestAnimationFrame === "function") frame = requestAnimationFrame(() => run());
  }, pause_ms);
  const cancel = () => {
    clearTimeout(timer);
    if (frame !== 0) cancelAnimationFrame(frame);
  };
  const run = () => {
    cancel();
    call();
  };
  return { cancel };
}
