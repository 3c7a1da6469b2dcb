import { describe, expect, it } from "vitest";
import { date, month, tokens } from "../../src/lib/format";
import { isHeld } from "../../src/lib/held";
import {
  bits,
  EVERYTHING,
  type Filter,
  filterOf,
  fitsHere,
  matches,
  narrowings,
  offered,
  ordered,
  origin,
  queryOf,
  share,
  standing,
  stepAt,
  suggestions,
  talks,
} from "../../src/lib/market";
import type { Entry, FitVerdict, Pull, Variant } from "../../src/lib/types";

const variant = (given: Partial<Variant> & { verdict?: FitVerdict; rate?: number | null } = {}): Variant => ({
  id: "v",
  quantisation: "Q4_K_M",
  size_bytes: 5e9,
  source: "hf:a/b",
  format: "gguf",
  size_known: true,
  files: [],
  pinned: true,
  servable: true,
  installed: null,
  fit: {
    verdict: given.verdict ?? "comfortable",
    because: "",
    memory_bytes: 6e9,
    context_tokens: 8192,
    tokens_per_s: given.rate === undefined ? 10 : given.rate,
  },
  ...given,
});

const entry = (id: string, given: Partial<Entry> = {}): Entry => ({
  id,
  name: id,
  publisher: "Somebody",
  family: "Family",
  summary: "Explains and drafts.",
  tasks: ["chat"],
  modalities: ["text"],
  parameters: 8e9,
  active_parameters: 8e9,
  context_tokens: 8192,
  released: "2025-04",
  licence: { id: "apache-2.0", words: "", schools: "yes", hospitals: "conditions", business: "no" },
  variants: [variant()],
  ...given,
});

const only = (given: Partial<Filter>): Filter => ({ ...EVERYTHING, ...given });

describe("what is offered first", () => {
  it("prefers what runs, then what fits; of equals the catalogue's first", () => {
    const comfortable = variant({ id: "a" });
    const second = variant({ id: "b" });
    const tight = variant({ id: "c", verdict: "tight" });
    const keepOnly = variant({ id: "d", servable: false });
    expect(offered(entry("x", { variants: [keepOnly, tight, comfortable, second] }))?.id).toBe("a");
    expect(offered(entry("x", { variants: [keepOnly, tight] }))?.id).toBe("c");
    expect(offered(entry("x", { variants: [] }))).toBeUndefined();
  });

  it("does not call fitting what cannot run", () => {
    expect(fitsHere(variant({ servable: false }))).toBe(false);
    expect(fitsHere(variant({ verdict: "no" }))).toBe(false);
    expect(fitsHere(variant({ verdict: "tight" }))).toBe(true);
    expect(fitsHere(undefined)).toBe(false);
  });
});

describe("the filter", () => {
  it.each([
    ["task", only({ task: "code" }), false],
    ["task", only({ task: "chat" }), true],
    ["a use that is barred", only({ use: "business" }), false],
    ["a use with conditions", only({ use: "hospitals" }), true],
    ["size", only({ size: "medium" }), true],
    ["size", only({ size: "small" }), false],
    ["publisher", only({ publisher: "Nobody" }), false],
    ["words in any order, any case", only({ text: "  DRAFTS somebody " }), true],
    ["one word that is nowhere", only({ text: "drafts zebra" }), false],
    ["fit", only({ fits: true }), true],
  ])("%s", (_what, filter, expected) => {
    expect(matches(entry("qwen"), filter)).toBe(expected);
  });

  it("leaves out what does not fit, or has nothing to get", () => {
    expect(matches(entry("x", { variants: [variant({ verdict: "no" })] }), only({ fits: true }))).toBe(false);
    expect(matches(entry("x", { variants: [] }), only({ size: "small" }))).toBe(false);
  });

  it("goes into the address and comes back", () => {
    const filter: Filter = {
      text: "a & b",
      task: "vision",
      fits: true,
      use: "schools",
      size: "huge",
      publisher: "Mistral AI",
      order: "fastest",
    };
    expect(filterOf(new URLSearchParams(queryOf(filter)))).toEqual(filter);
    expect(queryOf(EVERYTHING)).toBe("");
    expect(narrowings(filter)).toBe(4);
    expect(narrowings(EVERYTHING)).toBe(0);
  });

  it("passes over what it does not know", () => {
    expect(filterOf(new URLSearchParams("task=dance&size=9&order=by+luck&use=pirates&fits=1"))).toEqual(EVERYTHING);
  });
});

describe("suggestions and order", () => {
  const big = entry("big", { parameters: 30e9, variants: [variant({ verdict: "tight" })] });
  const slow = entry("slow", { parameters: 20e9, variants: [variant({ rate: 1 })] });
  const good = entry("good", { parameters: 8e9 });
  const small = entry("small", {
    parameters: 1e9,
    released: "2026-01",
    variants: [variant({ size_bytes: 1e9, rate: 60 })],
  });
  const huge = entry("huge", {
    parameters: 400e9,
    variants: [variant({ verdict: "no", size_bytes: 2e11, rate: null })],
  });
  const coder = entry("coder", { tasks: ["code", "chat"], parameters: 9e9 });
  const all = [huge, big, slow, small, good, coder];

  it("suggests the most capable that fits comfortably and is quick enough, for what it is mainly for", () => {
    expect([...suggestions(all)]).toEqual([
      ["good", ["chat"]],
      ["coder", ["code"]],
    ]);
    expect(suggestions([huge]).size).toBe(0);
  });

  it("puts the suggested first and what does not fit last", () => {
    const names = ordered(all, "suggested", suggestions(all)).map((one) => one.id);
    expect(names.slice(0, 2)).toEqual(["coder", "good"]);
    expect(names.at(-1)).toBe("huge");
  });

  it("sorts by month, size and speed", () => {
    expect(ordered(all, "newest", new Map())[0]?.id).toBe("small");
    expect(ordered(all, "smallest", new Map())[0]?.id).toBe("small");
    expect(ordered(all, "fastest", new Map())[0]?.id).toBe("small");
    expect(ordered(all, "smallest", new Map()).at(-1)?.id).toBe("huge");
  });

  it("knows what a model on the shelf came from", () => {
    const here = variant({ installed: "qwen3:8b" });
    expect(origin([good, entry("x", { variants: [here] })], "qwen3:8b")?.entry.id).toBe("x");
    expect(origin([good], "qwen3:8b")).toBeNull();
  });

  it("opens chats only with what talks", () => {
    expect(talks(entry("x", { tasks: ["embedding"] }))).toBe(false);
    expect(talks(entry("x", { tasks: ["vision"] }))).toBe(true);
    expect(talks(undefined)).toBe(true);
  });
});

describe("small things", () => {
  const pull = (given: Partial<Pull>): Pull =>
    ({ state: "running", step: "fetching", done_bytes: 0, total_bytes: null, ...given }) as Pull;

  it("counts bits a weight", () => {
    expect(["Q4_K_M", "IQ2_XXS", "F16", "BF16", "MXFP4", "Q8_0", "what"].map(bits)).toEqual([4, 2, 16, 16, 4, 8, 0]);
  });

  it("knows how far a pull is", () => {
    expect(share(pull({}))).toBeNull();
    expect(share(pull({ done_bytes: 5, total_bytes: 10 }))).toBe(0.5);
    expect(share(pull({ done_bytes: 12, total_bytes: 10 }))).toBe(1);
    expect(stepAt(pull({ step: "inspecting" }))).toBe(3);
    expect(stepAt(pull({ step: "something new" }))).toBe(-1);
    expect(stepAt(pull({ state: "shelved", step: "shelved" }))).toBe(5);
  });

  it("knows where a pull stands that the server only says has ended", () => {
    const seen = pull({ step: "inspecting" });
    expect(standing(pull({ state: "refused", step: "refused" }), seen).step).toBe("inspecting");
    expect(standing(pull({ state: "refused", step: "refused" }), undefined).step).toBe("refused");
    const part = { state: "paused", step: "stopped", done_bytes: 5, total_bytes: 10 } as const;
    expect(standing(pull(part), undefined).step).toBe("fetching");
    expect(standing(pull({ ...part, done_bytes: 10 }), undefined).step).toBe("verifying");
    expect(standing(pull({ ...part, total_bytes: null }), undefined).step).toBe("resolving");
  });

  it("holds back until somebody releases", () => {
    const finding = { code: "x", message: "y", line: null };
    expect(isHeld({ quarantine: [finding], released: null })).toBe(true);
    expect(isHeld({ quarantine: [finding], released: { by: "ada", reason: "looked", at_ms: 1 } })).toBe(false);
    expect(isHeld({ quarantine: null, released: null })).toBe(false);
    expect(isHeld({} as never)).toBe(false);
    expect(isHeld(undefined)).toBe(false);
  });

  it("writes contexts, months and days", () => {
    expect([448, 2048, 40960, 131_072, 1_000_000, 10_485_760].map(tokens)).toEqual([
      "448",
      "2k",
      "40k",
      "128k",
      "1M",
      "10M",
    ]);
    expect([month("2025-04"), month("2025"), date("2026-11-01"), date("soon")]).toEqual([
      "Apr 2025",
      "2025",
      "Nov 1, 2026",
      "soon",
    ]);
  });
});
