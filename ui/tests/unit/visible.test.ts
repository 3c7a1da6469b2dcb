import { describe, expect, it } from "vitest";
import { shownFact, visible } from "../../src/lib/visible";

describe("text from outside", () => {
  it.each([
    ["a new line", "one\r\ntwo", "one\\u000d\\u000atwo"],
    ["a terminal's colours", "\u001b[31mred\u009b1m", "\\u001b[31mred\\u009b1m"],
    ["another direction", "\u202Egnp.exe\u2066\u061c", "\\u202egnp.exe\\u2066\\u061c"],
    ["nothing to be seen", "ad\u200bmin\ufeff\u00ad\u3164", "ad\\u200bmin\\ufeff\\u00ad\\u3164"],
    ["a line separator", "a\u2028b\u2029", "a\\u2028b\\u2029"],
    ["tags", "x\u{e0041}", "x\\ue0041"],
    ["half a character", "\ud800x", "\\ud800x"],
  ])("with %s is shown as what it is", (_, text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  it("of every script is left as it is, and markup too: the page inserts text only", () => {
    for (const text of ["Zoë Łukasz 名前 مريم नमस्ते 😀", "<script>alert(1)</script>"]) expect(visible(text)).toBe(text);
  });

  it("that is very long is cut, with its length", () => {
    const shown = visible("x".repeat(1_000_000));
    expect(shown.length).toBeLessThan(4_100);
    expect(shown.endsWith("… [1,000,000]")).toBe(true);
  });

  it("is what a fact is shown as", () => {
    expect(shownFact({ a: ["\n", 1] })).toBe('{"a":["\\n",1]}');
    expect(shownFact("\n")).toBe("\\u000a");
    expect(shownFact(null)).toBe("null");
    expect(shownFact(undefined)).toBe("");
    expect(shownFact("\u202e")).toBe("\\u202e");
  });
});
