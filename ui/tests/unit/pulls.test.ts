import { afterEach, describe, expect, it, vi } from "vitest";
import { Api } from "../../src/lib/api";
import { Market } from "../../src/lib/catalogue.svelte";
import { notices } from "../../src/lib/notices.svelte";
import { Pulls, shortly } from "../../src/lib/pulls.svelte";
import type { Pull } from "../../src/lib/types";

const encoder = new TextEncoder();

const pull = (id: string, given: Partial<Pull> = {}): Pull => ({
  id,
  source: `hf:somebody/${id}`,
  name: null,
  model: null,
  state: "running",
  step: "fetching",
  done_bytes: 0,
  total_bytes: 100,
  bytes_per_s: null,
  left_s: null,
  code: null,
  message: null,
  hint: null,
  requested_by: "ada",
  created_ms: 1,
  ended_ms: null,
  ...given,
});

interface Stream {
  id: string;
  open: boolean;
  tell(pull: Pull): void;
  end(): void;
  lose(): void;
}

/** A server that holds pulls; streams are moved by the test. */
function server(given: Pull[] = []) {
  const held = [...given];
  const asked: string[] = [];
  const streams: Stream[] = [];
  let refusing: Response | null = null;
  const api = new Api("/intramural/v1", async (address, init) => {
    const path = String(address).replace("/intramural/v1", "");
    const method = init?.method ?? "GET";
    asked.push(`${method} ${path}`);
    if (refusing) return refusing.clone();
    const [, , id = "", act = ""] = path.split("/");
    const at = held.findIndex((one) => one.id === id);
    if (path === "/pulls" && method === "GET") return Response.json({ pulls: held });
    if (path === "/pulls") {
      const made = pull("new", JSON.parse(String(init?.body)) as Partial<Pull>);
      held.unshift(made);
      return Response.json(made, { status: 201 });
    }
    if (act === "events") {
      const stream: Stream = { id, open: true, tell() {}, end() {}, lose() {} };
      streams.push(stream);
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const shut = (how: () => void) => () => {
            if (!stream.open) return;
            stream.open = false;
            how();
          };
          stream.tell = (one) => {
            const where = held.findIndex((other) => other.id === one.id);
            held[where] = one;
            controller.enqueue(encoder.encode(`data: ${JSON.stringify(one)}\n\n`));
          };
          stream.end = shut(() => controller.close());
          stream.lose = shut(() => controller.error(new TypeError("network")));
          init?.signal?.addEventListener(
            "abort",
            shut(() => controller.error(new DOMException("stop", "AbortError"))),
          );
        },
      });
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    }
    if (method === "DELETE") {
      held.splice(at, 1);
      return new Response(null, { status: 204 });
    }
    const state = ({ pause: "paused", resume: "running", cancel: "cancelled" } as const)[act as "pause"];
    held[at] = { ...(held[at] as Pull), state, ended_ms: act === "cancel" ? 2 : null };
    return Response.json(held[at]);
  });
  return {
    api,
    held,
    asked,
    streams,
    refuse(response: Response | null) {
      refusing = response;
    },
  };
}

let store: Pulls | undefined;
function opened(api: Api, look_ms = 20): Pulls {
  store = new Pulls(api, look_ms);
  return store;
}
afterEach(() => store?.forget());

describe("pulls", () => {
  it("asks for a source and follows it to the end", async () => {
    const { api, asked, streams } = server();
    const pulls = opened(api);
    const shelved = vi.fn();
    pulls.onShelved = shelved;
    await pulls.start("hf:somebody/new", "mine");
    expect(pulls.of("hf:somebody/new")).toMatchObject({ state: "running", name: "mine" });
    await vi.waitFor(() => expect(streams).toHaveLength(1));
    streams[0]?.tell(pull("new", { done_bytes: 50 }));
    await vi.waitFor(() => expect(pulls.progress).toBe(0.5));
    streams[0]?.tell(pull("new", { name: "mine", done_bytes: 100, state: "shelved", model: "mine:q4", ended_ms: 9 }));
    streams[0]?.end();
    await vi.waitFor(() => expect(shelved).toHaveBeenCalledTimes(1));
    expect(pulls.underWay).toEqual([]);
    expect(pulls.progress).toBeNull();
    expect(notices.shown.at(-1)?.text).toBe("mine is ready to use.");
    expect(asked.filter((one) => one.endsWith("/events"))).toHaveLength(1);
  });

  it("a server that answers with another spelling of the source is still found by what was asked", async () => {
    const { api, held } = server();
    const pulls = opened(api);
    const made = await pulls.start("HF:Somebody/New");
    held[0] = { ...made, source: "hf:somebody/new@main" };
    await pulls.refresh();
    expect(pulls.of("HF:Somebody/New")?.id).toBe("new");
  });

  it("listens to two at most and looks at the rest", async () => {
    const { api, asked, streams } = server(["a", "b", "c", "d"].map((id) => pull(id)));
    const pulls = opened(api);
    await pulls.refresh();
    await vi.waitFor(() => expect(asked.filter((one) => one === "GET /pulls").length).toBeGreaterThan(2));
    expect(streams.filter((stream) => stream.open)).toHaveLength(2);
  });

  it("a lost stream is no lost pull: it looks again and listens again", async () => {
    const { api, streams } = server([pull("a")]);
    const pulls = opened(api);
    await pulls.refresh();
    await vi.waitFor(() => expect(streams).toHaveLength(1));
    streams[0]?.lose();
    await vi.waitFor(() => expect(streams).toHaveLength(2));
    streams[1]?.tell(pull("a", { done_bytes: 70 }));
    await vi.waitFor(() => expect(pulls.items[0]?.done_bytes).toBe(70));
    expect(pulls.error).toBeNull();
  });

  it("pauses, which ends the stream, and resumes, which opens one", async () => {
    const { api, streams } = server([pull("a")]);
    const pulls = opened(api);
    await pulls.refresh();
    await vi.waitFor(() => expect(streams).toHaveLength(1));
    await pulls.act("a", "pause");
    expect(pulls.items[0]?.state).toBe("paused");
    await vi.waitFor(() => expect(streams[0]?.open).toBe(false));
    await pulls.act("a", "resume");
    await vi.waitFor(() => expect(streams).toHaveLength(2));
    await pulls.act("a", "cancel");
    expect(pulls.items[0]?.state).toBe("cancelled");
    await pulls.dismiss("a");
    expect(pulls.items).toEqual([]);
  });

  it("shows nothing of what was done before the page was opened, but what went wrong", async () => {
    const { api } = server([
      pull("a", { state: "shelved" }),
      pull("b", { state: "refused" }),
      pull("c", { state: "paused" }),
    ]);
    const pulls = opened(api, 60_000);
    await pulls.refresh();
    expect(pulls.shown.map((one) => one.id)).toEqual(["b", "c"]);
    await pulls.act("c", "cancel");
    expect(pulls.shown.map((one) => one.id)).toEqual(["b", "c"]);
  });

  it("says steps and quarters, not every percent", async () => {
    const { api, streams } = server([pull("a", { step: "resolving", total_bytes: null })]);
    const pulls = opened(api);
    await pulls.refresh();
    await vi.waitFor(() => expect(streams).toHaveLength(1));
    const said: string[] = [];
    const say = vi.spyOn(notices, "say").mockImplementation((text) => said.push(text));
    for (let percent = 0; percent <= 100; percent += 5) streams[0]?.tell(pull("a", { done_bytes: percent }));
    streams[0]?.tell(pull("a", { step: "verifying", done_bytes: 100 }));
    await vi.waitFor(() => expect(said.at(-1)).toBe("a: checking every byte"));
    say.mockRestore();
    expect(said).toEqual([
      "a: fetching",
      "a: 25% of 100 B",
      "a: 50% of 100 B",
      "a: 75% of 100 B",
      "a: 100% of 100 B",
      "a: checking every byte",
    ]);
  });

  it("a role without the right sees none, and no error", async () => {
    const { api, refuse } = server();
    refuse(Response.json({ error: { code: "role_missing", message: "No." } }, { status: 403 }));
    const pulls = opened(api);
    await pulls.refresh();
    expect(pulls).toMatchObject({ forbidden: true, error: null, items: [] });
  });

  it("a source that is refused at once is an error of the asking", async () => {
    const { api, refuse } = server();
    const pulls = opened(api);
    refuse(
      Response.json(
        { error: { code: "source_not_allowed", message: "Not from there.", hint: "Ask." } },
        { status: 403 },
      ),
    );
    await expect(pulls.start("https://elsewhere/x")).rejects.toMatchObject({
      code: "source_not_allowed",
      hint: "Ask.",
    });
    expect(pulls.items).toEqual([]);
  });

  it("forgets everything and listens to nothing when somebody leaves", async () => {
    const { api, asked, streams } = server([pull("a"), pull("b"), pull("c")]);
    const pulls = opened(api);
    await pulls.refresh();
    await vi.waitFor(() => expect(streams).toHaveLength(2));
    pulls.forget();
    expect(pulls.items).toEqual([]);
    await vi.waitFor(() => expect(streams.every((stream) => !stream.open)).toBe(true));
    const before = asked.length;
    await new Promise((done) => setTimeout(done, 60));
    expect(asked.length).toBe(before);
  });

  it("is called by the end of its source where nothing better is known", () => {
    expect(shortly("hf:Qwen/Qwen3-8B-GGUF")).toBe("Qwen3-8B-GGUF");
    expect(shortly("ollama:qwen3:8b")).toBe("ollama:qwen3:8b");
  });
});

describe("the catalogue", () => {
  const answer = (body: unknown, status = 200) =>
    new Market(new Api("/x", async () => Response.json(body, { status })));

  it("is read, and found in by id", async () => {
    const market = answer({ entries: [{ id: "a" }] });
    await market.refresh();
    expect(market.find("a")).toMatchObject({ id: "a" });
    expect(market.find("b")).toBeUndefined();
  });

  it("tells a role that may not see it from a failure", async () => {
    const closed = answer({ error: { code: "role_missing", message: "No." } }, 403);
    await closed.refresh();
    expect(closed).toMatchObject({ forbidden: true, error: null });
    const broken = answer({ error: { code: "broken", message: "Oh." } }, 500);
    await broken.refresh();
    expect(broken).toMatchObject({ forbidden: false, error: { code: "broken" } });
  });
});
