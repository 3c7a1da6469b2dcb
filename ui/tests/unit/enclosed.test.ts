import { File as NodeFile } from "node:buffer";
import { describe, expect, it } from "vitest";
import { joined, MOST_BYTES, parted, read } from "../../src/lib/enclosed";

/** That of jsdom cannot be read. */
const file = (name: string, bytes: string | Uint8Array): File => new NodeFile([bytes], name) as unknown as File;

describe("files that are sent with a message", () => {
  it("are read as text, with a name that is harmless", async () => {
    expect(await read(file("notes.txt", "a\r\nb"))).toEqual({ name: "notes.txt", text: "a\nb" });
    expect((await read(file("\u202egnp\nexe", "x"))).name).toBe("\\u202egnp\\u000aexe");
  });

  it("are refused where they are no text, or too large", async () => {
    await expect(read(file("photo.png", new Uint8Array([0x89, 0x50, 0xff, 0xfe])))).rejects.toMatchObject({
      code: "file_no_text",
    });
    await expect(read(file("zero.bin", "a\0b"))).rejects.toMatchObject({ code: "file_no_text" });
    await expect(read(file("big.txt", "x".repeat(MOST_BYTES + 1)))).rejects.toMatchObject({ code: "file_too_large" });
  });

  it("come apart again as they were joined, whatever is in them", () => {
    const files = [
      { name: "a.md", text: "````\nfence\n````\n" },
      { name: "b.txt", text: "one line\n" },
      { name: "c: d.csv", text: "\n\nFile x:\n```\ny\n```\n" },
      { name: "empty", text: "" },
    ];
    for (const text of ["", "Read this.", "Look:\n```\ncode\n```\n\nFile it."])
      expect(parted(joined(text, files))).toEqual({ text, files });
    expect(parted("no file")).toEqual({ text: "no file", files: [] });
  });

  it("of a hostile message are looked for in no time", () => {
    const message = "\n\nFile ```:\n```\n".repeat(3000);
    expect(parted(message).files.length).toBeLessThan(3001);
  });
});
