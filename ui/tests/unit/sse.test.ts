import { describe, expect, it } from "vitest";
import { type Frame, frames, SseParser } from "../../src/lib/sse";

const encoder = new TextEncoder();

/** The frames of a text that arrives in pieces of `size` bytes. */
function parsed(text: string, size: number): Frame[] {
  const bytes = encoder.encode(text);
  const parser = new SseParser();
  const found: Frame[] = [];
  for (let at = 0; at < bytes.length; at += size) found.push(...parser.push(bytes.slice(at, at + size)));
  return found;
}

const STREAM = [
  ": waiting 2\n\n",
  'event: turn\ndata: {"assistant_message_id":"msg_1"}\n\n',
  'data: {"choices":[{"delta":{"content":"Grüße, 世界 👋🏽"}}]}\n\n',
  "data: one\ndata: two\n\n",
  "data:no space\n\n",
  "id: 7\nretry: 10\nnonsense\ndata: after fields it does not know\n\n",
  "event: empty\n\n",
  "data: [DONE]\n\n",
].join("");

const EXPECTED: Frame[] = [
  { kind: "comment", text: "waiting 2" },
  { kind: "event", event: "turn", data: '{"assistant_message_id":"msg_1"}' },
  { kind: "event", event: "message", data: '{"choices":[{"delta":{"content":"Grüße, 世界 👋🏽"}}]}' },
  { kind: "event", event: "message", data: "one\ntwo" },
  { kind: "event", event: "message", data: "no space" },
  { kind: "event", event: "message", data: "after fields it does not know" },
  { kind: "event", event: "message", data: "[DONE]" },
];

describe("SseParser", () => {
  const size = encoder.encode(STREAM).length;

  it("gives the same frames for every size of pieces", () => {
    for (let pieces = 1; pieces <= size; pieces++) expect(parsed(STREAM, pieces)).toEqual(EXPECTED);
  });

  it("gives the same frames for every single split", () => {
    const bytes = encoder.encode(STREAM);
    for (let at = 0; at <= size; at++) {
      const parser = new SseParser();
      expect([...parser.push(bytes.slice(0, at)), ...parser.push(bytes.slice(at))]).toEqual(EXPECTED);
    }
  });

  it.each(["\r\n", "\r"])("takes other line ends, split anywhere: %j", (end) => {
    const text = STREAM.replaceAll("\n", end);
    const expected = EXPECTED.map((frame) => frame);
    for (const pieces of [1, 2, 3, 7, 1000]) expect(parsed(text, pieces)).toEqual(expected);
  });

  it("drops an event that was never finished", () => {
    expect(parsed("data: half", 3)).toEqual([]);
    expect(parsed("data: half\n", 3)).toEqual([]);
  });

  it("passes over an empty piece between a CR and its LF", () => {
    const parser = new SseParser();
    const found = [encoder.encode("data: x\r"), new Uint8Array(), encoder.encode("\n\r\n")].flatMap((piece) =>
      parser.push(piece),
    );
    expect(found).toEqual([{ kind: "event", event: "message", data: "x" }]);
  });
});

function bodyOf(pieces: string[], onCancel = () => {}): ReadableStream<Uint8Array> {
  const left = [...pieces];
  return new ReadableStream({
    pull(controller) {
      const next = left.shift();
      if (next === undefined) controller.close();
      else controller.enqueue(encoder.encode(next));
    },
    cancel: onCancel,
  });
}

describe("reading a body", () => {
  it("yields frames as they come", async () => {
    const found: Frame[] = [];
    for await (const frame of frames(bodyOf(["data: a\n", "\ndata", ": b\n\n"]))) found.push(frame);
    expect(found.map((frame) => frame.kind === "event" && frame.data)).toEqual(["a", "b"]);
  });

  it("closes the connection when the reader leaves", async () => {
    let cancelled = false;
    const body = bodyOf(["data: a\n\n", "data: b\n\n"], () => {
      cancelled = true;
    });
    for await (const _frame of frames(body)) break;
    expect(cancelled).toBe(true);
  });
});
