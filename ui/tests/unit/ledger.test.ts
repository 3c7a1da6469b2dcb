import { describe, expect, it } from "vitest";
import { Api } from "../../src/lib/api";
import { Leaving } from "../../src/lib/ledger.svelte";

/** A server with a log of so many lines, each of them about a connection; what it was asked is kept. */
function served(count: number) {
  const log = { count, asked: [] as URLSearchParams[], broken: false };
  const api = new Api("http://here/intramural/v1", async (address) => {
    const query = new URL(String(address)).searchParams;
    log.asked.push(query);
    if (log.broken) return Response.json({ error: { code: "x", message: "Broken." } }, { status: 500 });
    const limit = Number(query.get("limit"));
    const below = Number(query.get("before") ?? log.count);
    const above = Number(query.get("after") ?? -1);
    const wanted = Array.from({ length: log.count }, (_, at) => log.count - 1 - at).filter(
      (at) => at < below && at > above && (query.get("purpose") !== "media" || at % 10 === 0),
    );
    const entries = wanted.slice(0, limit).map((position) => ({ position }));
    const older = wanted.length > limit ? (entries.at(-1)?.position ?? null) : null;
    return Response.json({ entries, older, newest: log.count - 1 });
  });
  return { log, ledger: new Leaving(api) };
}

const positions = (ledger: Leaving) => ledger.lines.map((line) => line.position);

describe("the ledger", () => {
  it("shows what comes, above what was there, and older lines on demand", async () => {
    const { log, ledger } = served(120);
    await ledger.look();
    expect([ledger.lines.length, ledger.below, ledger.came]).toEqual([50, 70, 0]);
    log.count = 123;
    await ledger.look();
    expect(positions(ledger).slice(0, 4)).toEqual([122, 121, 120, 119]);
    expect([ledger.came, ledger.since]).toEqual([3, 119]);
    await ledger.look();
    expect(ledger.came).toBe(3); // nothing came: nothing is said anew
    await ledger.older();
    await ledger.older();
    expect([ledger.lines.length, ledger.below]).toEqual([123, null]);
    expect(new Set(positions(ledger)).size).toBe(123);
    const asked = log.asked.length;
    await ledger.older();
    expect(log.asked.length).toBe(asked);
  });

  it("is narrowed by the server, also in what comes", async () => {
    const { log, ledger } = served(40);
    ledger.narrowed = { host: " models ", purpose: "media", outcome: "refused" };
    await ledger.load();
    expect(Object.fromEntries(log.asked[0] ?? [])).toEqual({
      limit: "50",
      host: "models",
      purpose: "media",
      outcome: "refused",
    });
    expect(positions(ledger)).toEqual([30, 20, 10, 0]);
    log.count = 52;
    await ledger.look();
    expect(positions(ledger)).toEqual([50, 40, 30, 20, 10, 0]);
    expect(log.asked.at(-1)?.get("after")).toBe("39");
    expect(ledger.isNarrowed).toBe(true);
  });

  it("is read anew where more came than a look brings", async () => {
    const { log, ledger } = served(10);
    await ledger.load();
    log.count = 1000;
    await ledger.look();
    expect([positions(ledger)[0], ledger.lines.length, ledger.below]).toEqual([999, 50, 950]);
  });

  it("keeps what it showed where a look fails, says so, and goes on", async () => {
    const { log, ledger } = served(10);
    await ledger.load();
    log.broken = true;
    await ledger.look();
    expect([ledger.lines.length, ledger.error?.status]).toEqual([10, 500]);
    log.broken = false;
    log.count = 11;
    await ledger.look();
    expect([ledger.lines.length, ledger.error]).toEqual([11, null]);
  });
});
