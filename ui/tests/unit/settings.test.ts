import { describe, expect, it } from "vitest";
import { firstOfAdministration, HEADINGS, ROOMS, roomsOf } from "../../src/lib/settings";

const names = (permissions: string[]): string[] => roomsOf(permissions).map((room) => room.name);

describe("the rooms of the settings", () => {
  it("are those that one may see", () => {
    expect(names([])).toEqual([]);
    expect(names(["me.read", "usage.read"])).toEqual(["account", "usage"]);
    expect(names(["people.read.managed"])).toContain("people");
    expect(names(["ages.read", "consents.read", "notices.read"])).toEqual([]); // everybody has these for themselves
    expect(names(["ages.read.managed"])).toEqual(["consents"]);
    expect(names(["notices.read.all", "people.import"])).toEqual(["lists", "notices"]);
    expect(names(["people.read.all"])).not.toContain("people"); // it always comes with `people.read`
  });

  it("have names of their own, a heading, and a screen or a place elsewhere", () => {
    expect(new Set(ROOMS.map((room) => room.name)).size).toBe(ROOMS.length);
    for (const room of ROOMS) {
      expect(HEADINGS).toContain(room.heading);
      expect(room.page === undefined).toBe(room.href !== undefined);
    }
  });

  it("offer administration to whoever has a room of it, and not for what everybody sees", () => {
    expect(firstOfAdministration(roomsOf(["me.read", "keys.read", "usage.read", "models.read"]))).toBeUndefined();
    expect(firstOfAdministration(roomsOf(["me.read", "audit.read"]))?.name).toBe("audit");
    expect(firstOfAdministration(roomsOf(["me.read", "audit.read", "people.read"]))?.name).toBe("people");
  });
});
