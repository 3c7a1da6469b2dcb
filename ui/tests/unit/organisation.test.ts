import { describe, expect, it } from "vitest";
import { errorOf } from "../../src/lib/api";
import { bySubject, permissionOf } from "../../src/lib/permissions";
import { grown, listed, placesFor, pruned } from "../../src/lib/tree";

const group = (id: string, name: string, parent_id: string | null = null) => ({ id, name, parent_id });
const shown = (some: ReturnType<typeof grown<ReturnType<typeof group>>>): string[] =>
  listed(some).map(({ group, depth }) => `${"  ".repeat(depth)}${group.name}`);

describe("groups", () => {
  const groups = [
    group("m", "7b Maths", "g7"),
    group("school", "School"),
    group("g8", "Grade 8", "school"),
    group("g7", "Grade 7", "school"),
    group("ward", "Ward 3", "not to be seen"),
  ];

  it("lie within each other, by name; what lies in nothing that is seen is outermost", () => {
    expect(shown(grown(groups))).toEqual(["School", "  Grade 7", "    7b Maths", "  Grade 8", "Ward 3"]);
  });

  it("are found with the way to them", () => {
    expect(shown(pruned(grown(groups), "MATHS"))).toEqual(["School", "  Grade 7", "    7b Maths"]);
    expect(shown(pruned(grown(groups), "nothing"))).toEqual([]);
    expect(shown(pruned(grown(groups), " "))).toHaveLength(5);
  });

  it("may be put anywhere but into themselves or what is within", () => {
    expect(placesFor(grown(groups), "g7").map(({ group }) => group.name)).toEqual(["School", "Grade 8", "Ward 3"]);
  });

  it("of five hundred are sorted at once, and none twice", () => {
    const many = Array.from({ length: 500 }, (_, at) =>
      group(`g${at}`, `Group ${at}`, at === 0 ? null : `g${at >> 1}`),
    );
    expect(new Set(shown(grown(many))).size).toBe(500);
  });
});

describe("permissions", () => {
  it("say what, and with whom", () => {
    expect(permissionOf("people.read.managed")).toEqual({
      name: "people.read.managed",
      action: "people.read",
      whose: ".managed",
    });
    expect(permissionOf("me.read").whose).toBe("");
  });

  it("are put together by what they are about, and none is lost", () => {
    const sorted = bySubject(["audit.read", "people.read", "unheard.of", "people.change"], (each) => each);
    expect(sorted).toEqual([
      { label: "People", items: ["people.read", "people.change"] },
      { label: "The log", items: ["audit.read"] },
      { label: "unheard", items: ["unheard.of"] },
    ]);
  });
});

describe("a refusal", () => {
  it("brings the question with it", () => {
    const asked = { action: "audit.read", thing: "all", workspace: "", purpose: "" };
    expect(errorOf(403, { error: { code: "role_missing", message: "No.", hint: "Ask.", asked } }).asked).toEqual(asked);
    expect(errorOf(403, { error: { code: "csrf", message: "No." } }).asked).toBeNull();
  });
});
