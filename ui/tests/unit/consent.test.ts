import { describe, expect, it } from "vitest";
import { audienceOf, audienceText, labelledFile, labelledText, writers } from "../../src/lib/consent";

const said = (role: string, model: string | null = null) => ({ role, model });

describe("the label that an AI wrote it", () => {
  it("is a line of its own under what is copied", () => {
    expect(labelledText("The Nile.\n", ["tiny:1b"], "Hill School")).toBe(
      "The Nile.\n\nWritten with AI (tiny:1b), at Hill School. It can be wrong; check what matters.\n",
    );
    expect(labelledText("x", ["a", "b"], "")).toContain("Written with AI (a, b). ");
  });

  it("names each who wrote once, and nobody else", () => {
    const messages = [
      said("user", "no"),
      said("assistant", "a"),
      said("assistant", "b"),
      said("assistant", "a"),
      said("assistant"),
    ];
    expect(writers(messages)).toEqual(["a", "b"]);
  });

  it("stands before a saved conversation for programs, and below it for people", () => {
    const file = labelledFile("# Rivers\n\nThe Nile.\n", ['a"b'], "");
    expect(file.startsWith("---\ndigital_source_type: http://cv.iptc.org/")).toBe(true);
    expect(file).toContain('  - "a\\"b"\n---\n\n# Rivers');
    expect(file.trimEnd().endsWith("*")).toBe(true);
  });

  it("is not said of what no model wrote", () => {
    expect(labelledFile("# Rivers\n", [], "Hill School")).toBe("# Rivers\n");
  });
});

describe("whom a notice is for", () => {
  it.each([
    ["everyone", "everyone", ""],
    ["role:help desk", "role", "help desk"],
    ["group:group_01k", "group", "group_01k"],
    ["age:13-15", "age", "13-15"],
    ["role:a:b", "role", "a:b"],
  ])("%s is taken apart and put together again", (text, kind, which) => {
    expect(audienceOf(text)).toEqual({ kind, which });
    expect(audienceText(audienceOf(text))).toBe(text);
  });

  it("is shown as it is where its kind is not known", () => {
    expect(audienceOf("planet:earth").which).toBe("planet:earth");
  });
});
