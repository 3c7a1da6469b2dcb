import { describe, expect, it, vi } from "vitest";
import { Api } from "../../src/lib/api";
import { ChatList } from "../../src/lib/chats.svelte";
import { Conversation, spoken, titleOf } from "../../src/lib/conversation.svelte";
import { agent, ago, byDay, bytes, parameters } from "../../src/lib/format";
import { placeOf } from "../../src/lib/router.svelte";
import { words } from "../../src/lib/words";

const encoder = new TextEncoder();
const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const text = (content: string) => data({ choices: [{ delta: { content } }] });
const TURN = `event: turn\n${data({ user_message_id: "msg_u", assistant_message_id: "msg_a", request_id: "req_1" })}`;
const USAGE = data({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
const DONE = "data: [DONE]\n\n";

interface Asked {
  method: string;
  path: string;
  body: Record<string, unknown>;
}

type Reply = (asked: Asked, signal: AbortSignal | undefined) => Response;

/** An Api whose server is a function. */
function served(reply: Reply): { api: Api; asked: Asked[] } {
  const asked: Asked[] = [];
  const api = new Api("/intramural/v1", async (address, init) => {
    const one = {
      method: init?.method ?? "GET",
      path: String(address),
      body: init?.body ? (JSON.parse(String(init.body)) as Record<string, unknown>) : {},
    };
    asked.push(one);
    return reply(one, init?.signal ?? undefined);
  });
  return { api, asked };
}

function streamed(pieces: string[], signal?: AbortSignal, end = true): Response {
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(encoder.encode(piece));
        if (end) controller.close();
        signal?.addEventListener("abort", () => controller.error(new DOMException("stop", "AbortError")));
      },
    }),
  );
}

const chat = { id: "chat_1", title: "Hello", model: "tiny", created_ms: 1, updated_ms: 1 };

/** Answers with these streams, one after the other; makes a chat first. */
function talking(...streams: (string[] | ((signal?: AbortSignal) => Response))[]): { api: Api; asked: Asked[] } {
  const left = [...streams];
  return served((asked, signal) => {
    if (asked.path.endsWith("/turns") || asked.path.endsWith("/completions")) {
      const next = left.shift() ?? [];
      return typeof next === "function" ? next(signal) : streamed(next, signal);
    }
    if (asked.method === "POST") return Response.json(chat, { status: 201 });
    return Response.json({ ...chat, messages: [] });
  });
}

const GOOD = [TURN, text("Hel"), text("lo."), data({ choices: [{ delta: {}, finish_reason: "stop" }] }), USAGE, DONE];

describe("a conversation", () => {
  it("makes a chat, sends the turn and keeps what comes", async () => {
    const { api, asked } = talking(GOOD);
    const talk = new Conversation(api, false, "tiny");
    await talk.send("Hello there");
    expect(asked.map((one) => `${one.method} ${one.path}`)).toEqual([
      "POST /intramural/v1/chats",
      "POST /intramural/v1/chats/chat_1/turns",
    ]);
    expect(asked[1]?.body).toEqual({ content: "Hello there", replace_from: null, model: "tiny" });
    expect(talk.id).toBe("chat_1");
    expect(talk.messages).toMatchObject([
      { role: "user", content: "Hello there", id: "msg_u" },
      {
        role: "assistant",
        content: "Hello.",
        id: "msg_a",
        outcome: "finished",
        requestId: "req_1",
        usage: { completion_tokens: 2 },
      },
    ]);
    expect(talk.status).toBe("idle");
  });

  it("that is read while its answer is still being written shows the answer when it has ended", async () => {
    vi.useFakeTimers();
    const message = (role: string, content: string, outcome: string | null) => ({
      id: `msg_${role}`,
      role,
      content,
      model: null,
      outcome,
      request_id: null,
      created_ms: 1,
    });
    const stored = [
      [message("user", "Hi", null), message("assistant", "", null)],
      [message("user", "Hi", null), message("assistant", "", null)],
      [message("user", "Hi", null), message("assistant", "Hel", "cancelled")],
    ];
    const { api, asked } = served(() => Response.json({ ...chat, messages: stored[Math.min(asked.length, 3) - 1] }));
    const talk = new Conversation(api, false, "tiny", "chat_1");
    talk.visible = true;
    await talk.load();
    expect(talk.messages[1]).toMatchObject({ content: "", outcome: "writing" });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(talk.messages[1]).toMatchObject({ content: "Hel", outcome: "cancelled" });
    expect(asked).toHaveLength(3);
    vi.useRealTimers();
  });

  it("edits: everything from the message on is replaced", async () => {
    const { api, asked } = talking(GOOD, GOOD);
    const talk = new Conversation(api, false, "tiny");
    await talk.send("first");
    const mine = talk.messages[0];
    if (!mine) throw new Error("no message");
    await talk.edit(mine, "second");
    expect(asked.at(-1)?.body).toMatchObject({ content: "second", replace_from: "msg_u" });
    expect(talk.messages.map((message) => message.content)).toEqual(["second", "Hello."]);
  });

  it("regenerates an answer by its id", async () => {
    const { api, asked } = talking(GOOD, GOOD);
    const talk = new Conversation(api, false, "tiny");
    await talk.send("first");
    const answer = talk.messages[1];
    if (!answer) throw new Error("no answer");
    await talk.regenerate(answer);
    expect(asked.at(-1)?.body).toMatchObject({ content: null, replace_from: "msg_a" });
    expect(talk.messages).toHaveLength(2);
  });

  it("stops: what was written stays, marked as stopped", async () => {
    const { api } = talking((signal) => streamed([TURN, text("Half")], signal, false));
    const talk = new Conversation(api, false, "tiny");
    const sending = talk.send("go on");
    await vi.waitFor(() => expect(talk.messages[1]?.content).toBe("Half"));
    talk.stop();
    await sending;
    expect(talk.messages[1]).toMatchObject({ content: "Half", outcome: "cancelled", error: null });
    expect(talk.busy).toBe(false);
  });

  it("shows its place in the queue, and about how long it will be", async () => {
    const notes = [": waiting 3\n\n", ": waiting 2, about 42 s\n\n"];
    const { api } = talking((signal) => streamed([TURN, ...notes], signal, false));
    const talk = new Conversation(api, false, "tiny");
    const sending = talk.send("queue");
    await vi.waitFor(() => expect(talk.position).toBe(2));
    expect(talk.status).toBe("waiting");
    expect(talk.wait_s).toBe(42);
    expect(words.message.waiting(2, talk.wait_s)).toBe("Number 2 in the queue, about 45 seconds");
    talk.stop();
    await sending;
    expect(talk.position).toBeNull();
  });

  it.each([
    [1, 0, "Number 1 in the queue"],
    [0, 0, "Waiting for a free place…"],
    [1, 1, "Number 1 in the queue, about 1 second"],
    [9, 100, "Number 9 in the queue, about 2 minutes"],
  ])("words place %d and %d s", (position, seconds, expected) => {
    expect(words.message.waiting(position, seconds)).toBe(expected);
  });

  it("keeps what came before an error, and retries the answer", async () => {
    const failing = [
      TURN,
      text("So far"),
      `event: error\n${data({ error: { code: "worker_died", message: "It died.", hint: "Again." } })}`,
      DONE,
    ];
    const { api, asked } = talking(failing, GOOD);
    const talk = new Conversation(api, false, "tiny");
    await talk.send("first");
    expect(talk.messages[1]).toMatchObject({
      content: "So far",
      outcome: "failed",
      error: { code: "worker_died", hint: "Again." },
    });
    await talk.retry();
    expect(asked.at(-1)?.body).toMatchObject({ content: null, replace_from: "msg_a" });
    expect(talk.messages).toMatchObject([{ content: "first" }, { content: "Hello.", outcome: "finished" }]);
  });

  it("says so when the connection is lost in mid-answer", async () => {
    const { api } = talking([TURN, text("So far")]);
    const talk = new Conversation(api, false, "tiny");
    await talk.send("first");
    expect(talk.messages[1]).toMatchObject({ content: "So far", outcome: "failed", error: { code: "cut_off" } });
  });

  it("is refused before the turn: the retry does not ask twice", async () => {
    let refused = false;
    let kept = false;
    const { api, asked } = served((one) => {
      if (one.path.endsWith("/turns") && !refused) {
        refused = true;
        kept = true;
        return Response.json({ error: { code: "queue_full", message: "Full.", hint: "Wait." } }, { status: 503 });
      }
      if (one.path.endsWith("/turns")) return streamed(GOOD);
      if (one.method === "POST") return Response.json(chat, { status: 201 });
      return Response.json({ ...chat, messages: kept ? [{ id: "msg_kept", role: "user", content: "first" }] : [] });
    });
    const talk = new Conversation(api, false, "tiny");
    await talk.send("first");
    expect(talk.messages[1]).toMatchObject({ outcome: "failed", error: { code: "queue_full" } });
    await talk.retry();
    expect(asked.at(-1)?.body).toMatchObject({ content: "first", replace_from: "msg_kept" });
    expect(talk.messages).toHaveLength(2);
  });

  it("temporary: everything goes along each time, nothing is stored", async () => {
    const { api, asked } = talking([text("One."), DONE], [text("Two."), DONE]);
    const talk = new Conversation(api, true, "tiny");
    await talk.send("first");
    await talk.send("second");
    expect(asked.map((one) => one.path)).toEqual(["/v1/chat/completions", "/v1/chat/completions"]);
    expect(asked[1]?.body).toMatchObject({
      model: "tiny",
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: "user", content: "first" },
        { role: "assistant", content: "One." },
        { role: "user", content: "second" },
      ],
    });
    expect(talk.id).toBeNull();
  });

  it("takes reasoning, length limits and OpenAI's own error frames", async () => {
    const { api } = talking(
      [
        TURN,
        data({ choices: [{ delta: { reasoning_content: "Hm." } }] }),
        text("A"),
        data({ choices: [{ delta: {}, finish_reason: "length" }] }),
        DONE,
      ],
      [TURN, data({ error: { message: "No.", type: "server_error" } })],
    );
    const talk = new Conversation(api, false, "tiny");
    await talk.send("one");
    expect(talk.messages[1]).toMatchObject({ reasoning: "Hm.", content: "A", outcome: "length" });
    await talk.send("two");
    expect(talk.messages[3]).toMatchObject({ outcome: "failed", error: { message: "No." } });
  });
});

describe("the list of conversations", () => {
  const entry = (id: string, updated_ms: number) => ({ id, title: id, model: "m", created_ms: 0, updated_ms });

  it("asks for the next page by the oldest time", async () => {
    const first = Array.from({ length: 60 }, (_, at) => entry(`c${at}`, 1000 - at));
    const { api, asked } = served((one) =>
      Response.json({ chats: one.path.includes("before_ms") ? [entry("c59", 941), entry("old", 5)] : first }),
    );
    const list = new ChatList(api);
    await list.refresh();
    expect(list.more).toBe(true);
    await list.older();
    expect(asked.at(-1)?.path).toContain("before_ms=941");
    expect(list.items).toHaveLength(61);
    expect(list.more).toBe(false);
  });

  it("searches once for several quick letters", async () => {
    const { api, asked } = served(() => Response.json({ chats: [] }));
    const list = new ChatList(api, 5);
    for (const query of ["p", "ph", "photo"]) list.search(query);
    await vi.waitFor(() => expect(list.loaded).toBe(true));
    expect(asked.map((one) => one.path)).toEqual(["/intramural/v1/chats?query=photo&limit=60"]);
  });

  it("puts what was just written in on top, and forgets everything at sign-out", async () => {
    const { api } = served(() => Response.json({ chats: [entry("a", 2), entry("b", 1)] }));
    const list = new ChatList(api);
    await list.refresh();
    list.touch(entry("b", 1), 9);
    expect(list.items.map((one) => one.id)).toEqual(["b", "a"]);
    list.forget();
    expect(list.items).toEqual([]);
  });
});

describe("words for people", () => {
  it("names a conversation after its first words", () => {
    expect(titleOf("  Hello\nworld ")).toBe("Hello");
    expect(titleOf("word ".repeat(40)).length).toBeLessThanOrEqual(61);
    expect(titleOf("x".repeat(200))).toBe(`${"x".repeat(60)}…`);
  });

  it("reads markdown aloud without its marks", () => {
    expect(spoken("## Title\n\n- **one** [link](https://x.org)\n\n```js\ncode\n```")).toBe("Title\n\none link\n\ncode");
  });

  it("groups by day", () => {
    const now = new Date(2026, 5, 15, 9).getTime();
    const at = (days: number) => ({ id: String(days), updated_ms: now - days * 86_400_000 });
    expect(byDay([at(0), at(1), at(3), at(12), at(60)], now).map((group) => group.label)).toEqual([
      "Today",
      "Yesterday",
      "Previous 7 days",
      "Previous 30 days",
      "April 2026",
    ]);
  });

  it("writes sizes, times and programs", () => {
    expect([bytes(0), bytes(999), bytes(98_000_000), bytes(2_497_281_120)]).toEqual([
      "0 B",
      "999 B",
      "98 MB",
      "2.5 GB",
    ]);
    expect([parameters(134_515_008), parameters(4_022_468_096)]).toEqual(["135 M", "4 B"]);
    expect(ago(0, 3 * 3_600_000)).toBe("3 hours ago");
    expect(agent("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")).toBe("Firefox on Linux");
    expect(agent("")).toBe("Unknown program");
  });

  it("reads the address", () => {
    expect(placeOf("#/c/chat_1")).toMatchObject({ path: ["c", "chat_1"] });
    expect(placeOf("#/setup?token=a%2Bb").query.get("token")).toBe("a+b");
    expect(placeOf("#/%E0%A4%A").path).toEqual(["%E0%A4%A"]);
  });
});
