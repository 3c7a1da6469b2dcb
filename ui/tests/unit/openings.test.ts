import { expect, test } from "vitest";
import { called, downloads, type Opening, type OpeningState, older, said, steps } from "../../src/lib/openings";

const opening = (state: OpeningState, mine: boolean): Opening => ({
  id: "opening_1",
  state,
  asker: "ada",
  person: "tea",
  workspace: null,
  purpose: "legal",
  reason: "because a court says so",
  minutes: 60,
  approver: null,
  asked_ms: 0,
  ends_ms: 100,
  opened_ms: null,
  closed_ms: null,
  why: null,
  mine,
});
const administrator = (permission: string): boolean =>
  ["breakglass.ask", "breakglass.list", "breakglass.approve", "breakglass.close"].includes(permission);
const officer = (permission: string): boolean => permission === "breakglass.ask";

test("nobody agrees to what they have asked for, and nobody else looks", () => {
  expect(steps(opening("requested", true), administrator, 1)).toEqual(["close"]);
  expect(steps(opening("requested", false), administrator, 1)).toEqual(["approve", "refuse"]);
  expect(steps(opening("approved", true), administrator, 1)).toEqual(["open", "close"]);
  expect(steps(opening("approved", false), administrator, 1)).toEqual(["refuse"]);
  expect(steps(opening("open", true), administrator, 1)).toEqual(["look", "close"]);
  expect(steps(opening("open", false), administrator, 1)).toEqual(["close"]);
});

test("who may only ask does that with their own", () => {
  expect(steps(opening("approved", true), officer, 1)).toEqual(["open", "close"]);
  expect(steps(opening("open", true), officer, 1)).toEqual(["look", "close"]);
  for (const state of ["requested", "approved", "open"] as const)
    expect(steps(opening(state, false), officer, 1)).toEqual([]);
});

test("nothing is left to do with one that is over, by its state or by the clock", () => {
  for (const state of ["closed", "refused", "expired"] as const)
    expect(steps(opening(state, true), administrator, 1)).toEqual([]);
  for (const state of ["requested", "approved", "open"] as const)
    expect(steps(opening(state, true), administrator, 100)).toEqual([]);
});

test("what programs keep is shown as people read it, and what is no message as it is", () => {
  const call = { type: "function_call", name: "look_up", arguments: "{}" };
  const items = [
    {
      type: "message",
      role: "user",
      content: [
        { type: "input_text", text: "one" },
        { type: "input_image", file_id: "f" },
      ],
    },
    { type: "message", role: "assistant", content: "two" },
    call,
  ];
  expect(said(items).map(({ role, text }) => [role, text])).toEqual([
    ["user", 'one\n{"type":"input_image","file_id":"f"}'],
    ["assistant", "two"],
    ["function_call", JSON.stringify(call)],
  ]);
});

test("a list goes on from its last one, and a batch gives what was asked and what was answered", () => {
  const batch = { id: "batch_1", endpoint: "/v1/embeddings", total: 2, created_ms: 1 };
  expect(older("batches", batch)).toEqual({ before: "batch_1" });
  expect(older("chats", { id: "chat_1", created_ms: 1, updated_ms: 5 })).toEqual({ before_ms: "5" });
  expect(downloads("batches", batch).map((each) => each.save)).toEqual([
    "batch_1-input.jsonl",
    "batch_1-results.jsonl",
  ]);
  expect(downloads("files", { id: "file_1", name: "a.txt", created_ms: 1 })).toEqual([
    { part: "content", save: "a.txt" },
  ]);
  expect(downloads("responses", { id: "resp_1", model: "m", created_ms: 1 })).toEqual([]);
  expect([called(batch), called({ id: "x", created_ms: 1 })]).toEqual(["/v1/embeddings", "x"]);
});
