import { describe, expect, it } from "vitest";
import { type Api, ApiError } from "../../src/lib/api";
import { FirstPasswords } from "../../src/lib/first.svelte";
import { madeUp } from "../../src/lib/passwords";

/** A server with people who wait; the one called `bad` cannot be given anything. */
function server(names: string[]) {
  const given = new Map<string, string>();
  const api = {
    get: async (_: string, { limit }: { limit: number }) => {
      const waiting = names.filter((name) => !given.has(name)).map((name) => ({ id: `p/${name}`, username: name }));
      return { people: waiting.slice(0, limit), total: waiting.length, next: null };
    },
    patch: async (path: string, { password }: { password: string }) => {
      const name = decodeURIComponent(path.split("/")[2] ?? "").slice(2);
      if (name === "bad") throw new ApiError(403, "beyond_you", "Not this one.");
      given.set(name, password);
    },
  };
  return { given, api: api as unknown as Api };
}

describe("first passwords", () => {
  it("are made for everybody who waits, each another, and told as a list", async () => {
    const { given, api } = server(["mia", "noah", "tea"]);
    const first = new FirstPasswords(api);
    await first.count();
    expect(first.waiting).toBe(3);
    await first.make();
    expect([first.made.length, first.waiting, first.error]).toEqual([3, 0, null]);
    expect(new Set(given.values()).size).toBe(3);
    expect(first.list.split("\r\n")).toEqual(["username,password", ...[...given].map((one) => one.join(","))]);
    first.forget();
    expect(first.made).toEqual([]);
  });

  it("that were made before one failed are there to be saved", async () => {
    const first = new FirstPasswords(server(["mia", "bad", "tea"]).api);
    await first.count();
    await first.make();
    expect(first.made.map((one) => one.username)).toEqual(["mia"]);
    expect([first.error?.code, first.waiting, first.working]).toEqual(["beyond_you", 2, false]);
  });

  it("are made until somebody stops it", async () => {
    const { given, api } = server(["mia", "noah", "tea"]);
    const first = new FirstPasswords(api);
    await first.count();
    const making = first.make();
    first.stop();
    await making;
    expect([given.size, first.made.length, first.waiting]).toEqual([1, 1, 2]);
  });

  it("have no characters that look like others, and are not the same twice", () => {
    const some = Array.from({ length: 200 }, () => madeUp(3, 4));
    for (const one of some) expect(one).toMatch(/^[a-hj-kmnp-z2-9]{4}(-[a-hj-kmnp-z2-9]{4}){2}$/);
    expect(new Set(some).size).toBe(200);
  });
});
