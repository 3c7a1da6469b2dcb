import { describe, expect, it } from "vitest";
import { Api } from "../../src/lib/api";
import { Listing } from "../../src/lib/lists.svelte";
import { inOrder, missing, Standings } from "../../src/lib/standing.svelte";

const PLAN = {
  state: "planned",
  people: 2,
  groups: 1,
  members: 2,
  changes: { "person.created": 2, "member.joined": 2 },
  steps: [],
  missing: [],
  missing_count: 0,
  known: 0,
  unlisted_groups: 0,
  left_out: {},
  too_many: null,
};
const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const TEXT = "id,username\n1,mia\n";
const FILE = new File([TEXT], "people.csv", { type: "text/csv" });
FILE.arrayBuffer = async () => Uint8Array.from(TEXT, (letter) => letter.charCodeAt(0)).buffer; // jsdom has none

/** A listing whose server answers with these; what it was sent is kept. */
function made(...answers: ((signal: AbortSignal) => Response)[]): {
  list: Listing;
  sent: [URL, RequestInit][];
  api: Api;
} {
  const sent: [URL, RequestInit][] = [];
  const api = new Api("http://here/intramural/v1", async (address, init = {}) => {
    sent.push([new URL(String(address)), init]);
    const answer = answers.shift();
    if (!answer) throw new TypeError("fetch failed");
    return answer(init.signal as AbortSignal);
  });
  const list = new Listing(api);
  list.file = FILE;
  return { list, sent, api };
}

const streamed = (...events: unknown[]): Response => new Response(events.map(event).join(""));

describe("a list", () => {
  it("is looked at first, and sent as it is with what was chosen", async () => {
    const { list, sent, api } = made(() => streamed(PLAN));
    api.csrf = "token-1";
    list.choices = { source: " sis ", disable_missing: true, adopt: false, roles: "parent=member\n\n aide=manager " };
    await list.check();
    expect([list.stage, list.changes, list.plan?.people]).toEqual(["planned", 4, 2]);
    const [[address, init] = [new URL("http://none"), {}]] = sent;
    expect(init.headers).toMatchObject({ "X-CSRF-Token": "token-1", "Content-Type": "application/octet-stream" });
    expect((init.body as Blob).size).toBe(TEXT.length);
    expect(address.searchParams.get("dry_run")).toBe("true");
    expect(address.searchParams.get("source")).toBe("sis");
    expect(address.searchParams.get("disable_missing")).toBe("true");
    expect(address.searchParams.get("file")).toBe("people.csv");
    expect(address.searchParams.getAll("role")).toEqual(["parent=member", "aide=manager"]);
  });

  it("is taken in with what is done told on the way", async () => {
    const { list, sent } = made(
      () => streamed(PLAN),
      () => streamed(PLAN, { state: "applying", done: 3, total: 4 }, { state: "done", done: 4, total: 4 }),
    );
    await list.check();
    await list.take(true);
    expect([list.stage, list.progress]).toEqual(["done", { done: 4, total: 4 }]);
    expect(sent[1]?.[1].body).toBe(sent[0]?.[1].body); // what was looked at is what is taken in
    expect(sent[1]?.[0].searchParams.get("yes")).toBe("true");
    expect(sent[1]?.[0].searchParams.has("dry_run")).toBe(false);
  });

  it("that has mistakes says them line by line", async () => {
    const problems = [{ file: "people.csv", line: 3, code: "formula", message: "It begins with '='." }];
    const { list } = made(() =>
      Response.json({ error: { code: "roster_refused", message: "No.", problems } }, { status: 400 }),
    );
    await list.check();
    expect([list.stage, list.plan, list.error?.problems]).toEqual(["failed", null, problems]);
    list.changed();
    expect([list.stage, list.error]).toEqual(["choosing", null]);
  });

  it("that broke off is not called done, and what was done is told", async () => {
    const { list } = made(() => streamed(PLAN, { state: "applying", done: 3, total: 4 }));
    await list.take(false);
    expect([list.stage, list.error?.code, list.progress?.done]).toEqual(["failed", "network", 3]);
    const second = made(() => streamed(PLAN));
    await second.list.take(false);
    expect([second.list.stage, second.list.error?.code]).toEqual(["failed", "network"]);
    const nothing = made(() => streamed({ ...PLAN, changes: {} }));
    await nothing.list.take(false);
    expect(nothing.list.stage).toBe("done");
  });

  it("that meets an error on the way says it", async () => {
    const error = { code: "external_id_taken", message: "Somebody else has it.", hint: "" };
    const { list } = made(() => streamed(PLAN, { state: "applying", done: 3, total: 4 }, { error }));
    await list.take(false);
    expect([list.stage, list.error?.message]).toEqual(["failed", "Somebody else has it."]);
  });

  it("can be stopped, and cannot be changed or sent again meanwhile", async () => {
    const { list, sent } = made((signal) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(event(PLAN) + event({ state: "applying", done: 1, total: 4 })));
          signal.addEventListener("abort", () => controller.error(new DOMException("left", "AbortError")));
        },
      });
      return new Response(body);
    });
    const taken = list.take(false);
    await expect.poll(() => list.progress?.done).toBe(1);
    list.changed();
    await list.check();
    expect([list.stage, sent.length]).toEqual(["taking", 1]);
    list.stop();
    await taken;
    expect([list.stage, list.progress, list.error]).toEqual(["stopped", { done: 1, total: 4 }, null]);
    list.forget();
    expect([list.stage, list.file, list.plan]).toEqual(["choosing", null, null]);
  });

  it("is read anew when it is looked at again, and a file that was changed meanwhile is to be chosen again", async () => {
    const { list, sent } = made(
      () => streamed(PLAN),
      () => streamed(PLAN),
    );
    await list.check();
    await list.check();
    expect(sent[1]?.[1].body).not.toBe(sent[0]?.[1].body);
    const changed = new File([TEXT], "people.csv");
    changed.arrayBuffer = () => Promise.reject(new DOMException("changed", "NotReadableError"));
    list.file = changed;
    await list.check();
    expect([list.stage, list.error?.code, sent.length]).toEqual(["failed", "file_changed", 2]);
  });

  it("that is forgotten while it is under way leaves nothing behind", async () => {
    const { list } = made(
      (signal) =>
        new Response(
          new ReadableStream({
            start: (controller) =>
              signal.addEventListener("abort", () => controller.error(new DOMException("left", "AbortError"))),
          }),
        ),
    );
    const taken = list.take(false);
    await expect.poll(() => list.stage).toBe("taking");
    list.forget();
    await taken;
    expect([list.stage, list.file, list.error]).toEqual(["choosing", null, null]);
  });
});

describe("who lacks a consent", () => {
  const one = { person_id: "p", username: "mia", age: "13-15", shut_out: false, consents: ["use"] };

  it("lacks what is needed and not consented to", () => {
    expect(missing({ ...one, needed: ["use", "keep"] })).toEqual(["keep"]);
    expect(missing({ ...one, needed: [] })).toEqual([]);
    expect(inOrder(["audio", "keep", "use"])).toEqual(["use", "keep", "audio"]);
  });

  it("is asked for by age, and whoever lacks one first", async () => {
    const asked: string[] = [];
    const api = new Api("http://here/intramural/v1", async (address) => {
      const url = new URL(String(address));
      asked.push(url.pathname + url.search);
      return Response.json({ people: [one], total: 1, next: null });
    });
    const people = new Standings(50, api, 0);
    await people.refresh();
    people.lacking = false;
    people.age = "13-15";
    await people.refresh();
    expect(asked).toEqual([
      "/intramural/v1/ages?lacking=true&limit=50",
      "/intramural/v1/ages?lacking=false&age=13-15&limit=50",
    ]);
    expect(people.people).toEqual([one]);
  });
});
