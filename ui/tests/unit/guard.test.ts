import { describe, expect, it } from "vitest";
import { sentences } from "../../src/lib/guard";
import type { GuardCheck } from "../../src/lib/types";

const found = (called: string, action: string) => ({
  kind: "x",
  called,
  start: 0,
  end: 3,
  score: 1,
  recogniser: "r",
  action,
});
const checked = (...all: ReturnType<typeof found>[]): GuardCheck => ({
  label: "phi",
  claim: "",
  actions: {},
  not_looked_for: [],
  reader: "",
  found: all,
  redacted: "",
});

describe("what the guard says beside the text", () => {
  it("counts by class and says what becomes of it, the gravest last", () => {
    const said = sentences(
      checked(found("card number", "block"), found("date", "redact"), found("date", "redact"), found("place", "warn")),
    );
    expect(said).toHaveLength(3);
    expect(said[0]).toContain("place. It is sent as it is");
    expect(said[1]).toContain("date (2). The model is given marks");
    expect(said[2]).toContain("card number. It will be refused");
  });

  it("says nothing where nothing is found", () => {
    expect(sentences(checked())).toEqual([]);
  });
});
