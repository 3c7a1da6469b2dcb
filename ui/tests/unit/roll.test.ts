import { describe, expect, it } from "vitest";
import { Api } from "../../src/lib/api";
import { Names } from "../../src/lib/names.svelte";
import { Places } from "../../src/lib/places.svelte";
import { Roll } from "../../src/lib/roll.svelte";

const EVERYBODY = Array.from({ length: 130 }, (_, at) => ({ id: `person_${at}`, username: `p${at}`, role: "member" }));

/** A server with so many people; what it was asked is kept. */
function served(): { api: Api; asked: URLSearchParams[] } {
  const asked: URLSearchParams[] = [];
  const api = new Api("http://here/intramural/v1", async (address) => {
    const query = new URL(String(address)).searchParams;
    asked.push(query);
    const ids = query.getAll("id");
    const found = EVERYBODY.filter(
      (one) => one.username.includes(query.get("query") ?? "") && (ids.length === 0 || ids.includes(one.id)),
    );
    const from = Number(query.get("after") ?? 0);
    const to = from + Number(query.get("limit") ?? found.length);
    return Response.json({
      people: found.slice(from, to),
      total: found.length,
      next: to < found.length ? String(to) : null,
    });
  });
  return { api, asked };
}

describe("people", () => {
  it("come in pages, and a search begins anew", async () => {
    const { api, asked } = served();
    const roll = new Roll("person", 50, api, 0);
    await roll.refresh();
    expect([roll.people.length, roll.total, roll.more]).toEqual([50, 130, true]);
    await roll.showMore();
    await roll.showMore();
    expect([roll.people.length, roll.more]).toEqual([130, false]);
    expect(new Set(roll.people.map((one) => one.id)).size).toBe(130);
    await roll.showMore();
    expect(asked).toHaveLength(3);
    roll.search("p12");
    expect(roll.fresh).toBe(false); // what is there was found for something else
    await expect.poll(() => roll.people.map((one) => one.username).join(" ")).toMatch(/^p12 p120 .* p129$/);
    expect(roll.fresh).toBe(true);
    expect(asked.at(-1)?.get("kind")).toBe("person");
  });

  it("that are shown stay shown when they are read anew", async () => {
    const { api } = served();
    const roll = new Roll(null, 50, api, 0);
    await roll.refresh();
    await roll.showMore();
    await roll.refresh();
    expect(roll.people).toHaveLength(100);
  });
});

describe("names", () => {
  it("are asked for by the hundred, each once, and those of nobody stay identifiers", async () => {
    const { api, asked } = served();
    const names = new Names(api);
    await names.want([...EVERYBODY.map((one) => one.id), "person_0", "person_gone", "group_1", ""]);
    expect(asked.map((query) => query.getAll("id").length)).toEqual([100, 31]);
    expect([names.of("person_129"), names.of("person_gone"), names.of("group_1")]).toEqual([
      "p129",
      "person_gone",
      "group_1",
    ]);
    await names.want(["person_5", "person_gone"]);
    expect(asked).toHaveLength(2);
    names.forget();
    expect(names.of("person_5")).toBe("person_5");
  });
});

describe("workspaces", () => {
  const place = (id: string, purposes: string[]) => ({
    id,
    name: id,
    label: "public" as const,
    models: null,
    purposes,
  });

  it("with one purpose are asked for that, with several for what was chosen", async () => {
    const list = [place("one", ["care"]), place("two", ["a", "b"]), place("none", [])];
    const places = new Places(new Api("http://here", async () => Response.json({ workspaces: list })));
    await places.refresh();
    expect(places.list.map((each) => places.purposeOf(each))).toEqual(["care", "", ""]);
    places.purposes.two = "b";
    expect(places.list.map((each) => places.purposeOf(each))).toEqual(["care", "b", ""]);
    places.forget();
    expect([places.list, places.preferred]).toEqual([[], null]);
  });

  it("that cannot be had are none", async () => {
    const places = new Places(new Api("http://here", async () => new Response("", { status: 500 })));
    await places.refresh();
    expect([places.list, places.loaded]).toEqual([[], true]);
  });
});
