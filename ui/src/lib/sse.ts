/** Server-sent events without I/O: bytes in, frames out. Any split of the bytes gives the same frames. */

export type Frame = { kind: "event"; event: string; data: string } | { kind: "comment"; text: string };

export class SseParser {
  #decoder = new TextDecoder();
  #rest = "";
  #afterCr = false;
  #event = "";
  #data: string[] = [];

  /** Feeds bytes; returns the frames they complete. */
  push(bytes: Uint8Array): Frame[] {
    return this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** The connection ended: an unfinished event is dropped, as the standard says. */
  end(): void {
    this.#rest = "";
    this.#event = "";
    this.#data = [];
  }

  #take(text: string): Frame[] {
    const frames: Frame[] = [];
    let start = 0;
    // A line ends with LF, CR or CRLF; a CR at the very end of a piece may be half of a CRLF.
    if (this.#afterCr && text.startsWith("\n")) start = 1;
    if (text !== "") this.#afterCr = false;
    for (let at = start; at < text.length; at++) {
      const char = text.charCodeAt(at);
      if (char !== 10 && char !== 13) continue;
      this.#line(this.#rest + text.slice(start, at), frames);
      this.#rest = "";
      if (char === 13) {
        if (at + 1 === text.length) this.#afterCr = true;
        else if (text.charCodeAt(at + 1) === 10) at++;
      }
      start = at + 1;
    }
    this.#rest += text.slice(start);
    return frames;
  }

  #line(line: string, frames: Frame[]): void {
    if (line === "") {
      if (this.#data.length > 0)
        frames.push({ kind: "event", event: this.#event || "message", data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      return;
    }
    if (line.startsWith(":")) {
      frames.push({ kind: "comment", text: line.slice(1).trim() });
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
  }
}

/** Reads a response body as frames, until it ends or the reader leaves (which closes the connection). */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const parser = new SseParser();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The value of a JSON text, or null where it is none. */
export function parsedOrNull<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
